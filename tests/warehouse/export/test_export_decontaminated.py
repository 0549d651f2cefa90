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


def test_the_card_says_how_many_test_prompts_have_a_near_duplicate_to_train_on(filled, tmp_path):
    compared = []

    def nearest(tested, trained):
        compared.append((set(tested), set(trained)))
        return [0.71, *[0.7] * (len(tested) - 1)]

    done = out(filled, "sft", tmp_path / "sft", selection=Selection(nearest=nearest), held_out=0.5)
    ((tested, trained),) = compared
    accepted = filled.rows("SELECT DISTINCT text FROM instructions WHERE state = 'accepted'")
    assert tested | trained == {row["text"] for row in accepted}
    assert tested.isdisjoint(trained)
    assert len(tested) > 1
    splits = sides(done)
    assert splits["test"] <= tested
    assert splits["train"] <= trained
    facts = json.loads((done.path / "manifest.json").read_text())
    assert facts["neighbours"] == {"tested": len(tested), "near": 1}
    card = (done.path / "README.md").read_text()
    assert f"Of {len(tested)} instructions of the test split, 1 ({1 / len(tested):.0%}) have a near-duplicate" in card
    plain = out(filled, "sft", tmp_path / "plain", held_out=0.5)
    assert "near-duplicate" not in (plain.path / "README.md").read_text()
