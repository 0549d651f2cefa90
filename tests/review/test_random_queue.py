"""A random queue of a large lake is drawn from a part of it, and still ends only when everything was offered."""

from __future__ import annotations

import shutil

import pytest
from lake_rows import commit, instruction, response, revision

from alignery.hashing import digest
from alignery.pipeline.marks import Mark, add_all
from warehouse import Lake
from warehouse.errors import LakeUsageError
from warehouse.marks import queue as queues

COUNT = 48


@pytest.fixture
def large(empty, tmp_path, monkeypatch):
    """A lake that counts as large: each of its answers has a revision, and ids are hashes, as in any lake."""
    monkeypatch.setattr(queues, "_DRAWN_FROM", 3)
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


@pytest.mark.parametrize("kind", ["pairs", pytest.param("sft", marks=pytest.mark.flow)])
def test_a_draw_is_that_of_its_seed_however_many_rows_are_asked_for(large, kind):
    draws = {seed: draw(large, kind, COUNT + 1, seed=seed) for seed in (*range(8), -1, 2**70)}
    assert all(len(set(found)) == len(found) for found in draws.values())
    assert len({tuple(found[:2]) for found in draws.values()}) > 6
    for seed, found in list(draws.items())[::3]:
        assert [draw(large, kind, count, seed=seed) for count in (0, 1, 2, 7)] == [found[:n] for n in (0, 1, 2, 7)]


def test_a_draw_begins_with_a_range_of_ids(large):
    for seed in range(8):
        digit = digest(str(seed))[0]
        of_range = [id for id in (digest("instruction", n) for n in range(COUNT)) if id[0] == digit]
        assert sorted(draw(large, "pairs", COUNT, seed=seed)[: len(of_range)]) == sorted(of_range)


@pytest.mark.parametrize(("kind", "view"), [("pairs", "revised"), ("sft", "sft")])
def test_more_than_the_range_has_are_drawn_from_all(large, kind, view):
    rows = large.rows(f"SELECT instruction_id FROM {view} ORDER BY instruction_id")
    assert len(rows) > COUNT / 4
    assert sorted(draw(large, kind, COUNT + 1)) == [row["instruction_id"] for row in rows]


@pytest.mark.flow
def test_a_person_is_offered_every_pair_once_and_then_nothing(large):
    offered = []
    while found := queues.queue(large, "pairs", "random", 1 if offered else COUNT // 2, by="ada"):
        offered += [row["instruction_id"] for row in found]
        add_all(large, [Mark(row["target_id"], "ada", "first", other_id=row["other_id"]) for row in found])
        assert len(offered) <= COUNT
    assert len(set(offered)) == len(offered) == COUNT


def test_a_queue_of_what_no_row_has_is_an_error_after_all_parts_were_searched(large):
    with pytest.raises(LakeUsageError, match="there are no pairs of rudeness to queue by random"):
        draw(large, "pairs", 1, dimension="rudeness")


def test_rows_without_an_instruction_and_pairs_of_two_are_described(large):
    (one, other) = (digest("instruction", n) for n in range(2))
    empty = {"instruction_id": None, "dimension": None, "p": None, "spread": None}
    rows = [{"a_id": f"v-{one}", "b_id": None} | empty]
    assert [row["first"] for row in queues._with_texts(large, "sft", rows)] in ([f"better {one}"], [])
    pair = {"a_id": f"v-{one}", "b_id": f"v-{other}"} | empty | {"instruction_id": one}
    (found,) = queues._with_texts(large, "pairs", [pair])
    assert (found["first"], found["second"]) == (f"better {one}", f"better {other}")
