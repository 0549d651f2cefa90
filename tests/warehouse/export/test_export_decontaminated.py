"""Prompts of evaluation sets are left out of an export."""

import json

import pytest
from test_export import files, filled, out, sides

from warehouse import LakeUsageError
from warehouse.export.selection import Selection

__all__ = ["filled"]  # the fixture


@pytest.mark.flow
def test_prompts_of_evaluation_sets_are_left_out_counted_and_named_in_the_card(filled, tmp_path):
    prompts = sorted(row["messages"][0]["content"] for row in filled.rows("SELECT messages FROM sft"))
    named = {prompts[0], prompts[-1]}
    for shape in ("sft", "preferences", "qac", "instructed", "alpaca"):  # each way in which a prompt is said
        whole = out(filled, shape, tmp_path / f"{shape}-whole")
        done = out(filled, shape, tmp_path / shape, selection=Selection(leaked=named.__contains__))
        again = out(filled, shape, tmp_path / f"{shape}-again", selection=Selection(leaked=named.__contains__))
        assert files(done.path) == files(again.path)
        before, after = (set().union(*sides(one).values()) for one in (whole, done))
        assert after == before - named
        facts = json.loads((done.path / "manifest.json").read_text())["shapes"][shape]
        counts = [sum(one.rows[shape].values()) for one in (whole, done)]
        assert facts["contaminated"] == counts[0] - counts[1]
        assert (f"{facts['contaminated']} rows left out" in (done.path / "README.md").read_text()) == bool(
            before & named
        )
    assert out(filled, "sft", tmp_path / "none", selection=Selection(leaked=lambda text: False)).content_hash == (
        out(filled, "sft", tmp_path / "all").content_hash
    )
    with pytest.raises(LakeUsageError, match=r"no rows at snapshot \d+ but \d+ whose prompts are in evaluation sets"):
        out(filled, "sft", tmp_path / "empty", selection=Selection(leaked=lambda text: True))


def test_a_choice_is_made_among_the_rows_that_are_not_in_evaluation_sets(filled, tmp_path):
    first = filled.rows("SELECT messages FROM sft ORDER BY id")[0]["messages"][0]["content"]
    offered = []

    def marker():
        return lambda ids, answers: offered.extend(ids) or []

    chosen = Selection(duplicates=marker, alike="alike", leaked=first.__eq__)
    done = out(filled, "sft", tmp_path / "sft", selection=chosen)
    assert len(offered) == sum(done.rows["sft"].values()) > 0
    assert first not in set().union(*sides(done).values())
