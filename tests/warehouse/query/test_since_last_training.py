"""What a tag brought since the last one that trained a model, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from lake_rows import attempt, commit, fill, instruction

from warehouse import Lake, LakeUsageError
from warehouse.export.publish import publish
from warehouse.query.since_last_training import TagDelta, tag_delta


def tag(lake: Lake, tmp_path: Path) -> str:
    return publish(lake, None, tmp_path / "exports", models={}, run_id="r").tag


def train(lake: Lake, name: str) -> None:
    row = {"id": f"m-{name}", "path": f"/models/{name}", "recipe": "sft", "tag": name}
    lake.ledger.write("models", [row], run_id="r", message="trained")


def refuse(lake: Lake, key: str) -> None:
    """One unparsed reply, two near-duplicates and a blacklisted candidate; a retried try and a test answer beside."""
    duplicate = {"state": "rejected", "reason": "near-duplicate: ROUGE-L"}
    commit(
        lake,
        attempts=[
            attempt(f"{key}-u", state="unparsed", reason="no list"),
            attempt(f"{key}-r", state="unparsed", reason="no list", final=False),
            attempt(f"{key}-e", step="evaluate.answer", state="failed", reason="gone"),
        ],
        instructions=[
            instruction(f"{key}-d1", key="w", **duplicate),
            instruction(f"{key}-d2", key="w", **duplicate),
            instruction(f"{key}-b", key="w", state="rejected", reason="blacklisted"),
        ],
    )


def test_all_is_new_before_the_first_training_and_only_what_came_since_after_it(lake: Lake, tmp_path: Path) -> None:
    fill(lake, 12, revised="a kinder answer")
    assert tag(lake, tmp_path) == "v1"
    found = tag_delta(lake)
    assert (found.tag, found.since, found.accepted, found.candidates, found.duplicates) == ("v1", None, 12, 12, 0)
    assert (found.refused, found.reject_rate, found.duplicate_rate) == (0, 0.0, 0.0)

    train(lake, "v1")
    fill(lake, 3, start=50, revised="kinder still")
    refuse(lake, "n")
    tag(lake, tmp_path)
    # 3 × (instruction, answer, critique, revision, correction) are finished, the reply of four candidates' and one that
    # could not be read.
    expected = TagDelta("v2", "v1", accepted=3, finished=17, refused=1, candidates=6, duplicates=2)
    assert tag_delta(lake) == tag_delta(lake, "v2") == expected
    assert expected.duplicate_rate == pytest.approx(1 / 3)
    assert tag_delta(lake, "v1") == found, "a tag's figures stay, whatever came later"


def test_a_tag_that_is_not_published_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeUsageError, match="got the tag 'v9', expected a published one: "):
        tag_delta(lake, "v9")
