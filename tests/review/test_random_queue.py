"""A random queue of a large lake is drawn from a part of it, and still ends only when everything was offered."""

from __future__ import annotations

import shutil

import pytest
from lake_rows import commit, instruction, response, revision

from alignery.hashing import digest
from alignery.pipeline.marks import Mark, add
from warehouse import Lake
from warehouse.errors import LakeUsageError
from warehouse.marks import queue as queues

COUNT = 48


@pytest.fixture
def large(empty, tmp_path, monkeypatch):
    """A lake that counts as large: each of its answers has a revision, and ids are hashes, as in any lake."""
    monkeypatch.setattr(queues, "_DRAWN_FROM", 4)
    monkeypatch.setattr(queues, "_DRAWN_FROM_EACH", 1)
    ids = [digest("instruction", n) for n in range(COUNT)]
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        commit(
            lake,
            instructions=[instruction(id) for id in ids],
            responses=[response(f"r-{id}", id) for id in ids],
            revisions=[revision(f"v-{id}", id, f"r-{id}", f"better {id}") for id in ids],
        )
        yield lake


def draw(lake, kind, count, **settings):
    return [row["instruction_id"] for row in queues.queue(lake, kind, "random", count, **settings)]


@pytest.mark.parametrize("kind", ["pairs", "sft"])
def test_a_few_rows_are_drawn_from_a_range_of_ids(large, kind):
    draws = {seed: draw(large, kind, 2, seed=seed) for seed in range(8)}
    assert all(len(set(found)) == 2 for found in draws.values())
    assert draw(large, kind, 2, seed=3) == draws[3]
    assert len({tuple(found) for found in draws.values()}) > 4
    in_order = sorted(row["id"] for row in large.rows("SELECT id FROM instructions"))
    for found in draws.values():
        first, last = sorted(in_order.index(id) for id in found)
        assert last - first < COUNT / 2


@pytest.mark.parametrize(("kind", "view"), [("pairs", "revised"), ("sft", "sft")])
def test_more_than_the_range_has_are_drawn_from_all(large, kind, view):
    rows = large.rows(f"SELECT instruction_id FROM {view} ORDER BY instruction_id")
    assert len(rows) > COUNT / 4
    assert sorted(draw(large, kind, COUNT + 1)) == [row["instruction_id"] for row in rows]


def test_a_person_is_offered_every_pair_once_and_then_nothing(large):
    offered = []
    while found := queues.queue(large, "pairs", "random", 1, by="ada"):
        offered.append(found[0]["instruction_id"])
        add(large, Mark(found[0]["target_id"], "ada", "first", other_id=found[0]["other_id"]))
        assert len(offered) <= COUNT
    assert len(set(offered)) == len(offered) == COUNT


def test_a_queue_of_what_no_row_has_is_an_error_after_all_parts_were_searched(large):
    with pytest.raises(LakeUsageError, match="there are no pairs of rudeness to queue by random"):
        draw(large, "pairs", 1, dimension="rudeness")
