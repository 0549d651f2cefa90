"""How far a judge is trusted: its check on labelled pairs, and with whom it shares a base model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.evaluate.held_out import HeldOutError
from tasks.evaluate.trust import JudgeError, accuracy, figures, load, require, shares_base
from tasks.step import Row

PAIR = {"prompt": "Where do owls live?", "chosen": "In trees.", "rejected": "In the sea."}


def labelled(folder: Path, *rows: Row) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_check_asks_each_pair_in_both_orders_of_its_dimension_or_of_all(tmp_path: Path) -> None:
    other = PAIR | {"prompt": "Where do bats live?", "dimension": "harmless"}
    asked = load(labelled(tmp_path, PAIR, other, PAIR), ["helpful", "harmless"])
    assert {name: [row["first"] for row in rows] for name, rows in asked.items()} == {
        "helpful": ["a", "b"],
        "harmless": ["a", "b"] * 2,
    }
    assert [asked["helpful"][0][side] for side in ("prompt", "a", "b")] == list(PAIR.values())
    # The same answers to two prompts are two pairs.
    assert len({(row["a_id"], row["b_id"]) for row in asked["harmless"]}) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([PAIR | {"rejected": "In trees."}], "line 1: rejected: got the same answer as chosen"),
        ([PAIR | {"dimension": "kind"}], "line 1: dimension: got 'kind', expected one of the judge's, .'helpful'"),
        ([PAIR | {"dimension": "helpful"}], "got no pairs for harmless, expected at least one"),
        ([{"prompt": "p", "chosen": "c"}], "line 1: rejected: got nothing"),
        ([PAIR | {"label": 1}], "line 1: label: no such key"),
        ([], "got no pairs for helpful"),
    ],
)
def test_a_wrong_file_of_pairs_is_named(tmp_path: Path, rows: list[Row], message: str) -> None:
    with pytest.raises(HeldOutError, match=message):
        load(labelled(tmp_path, *rows), ["helpful", "harmless"])


def test_accuracy_counts_both_orders_a_tie_as_half_and_what_was_not_read_against_the_judge(tmp_path: Path) -> None:
    pairs = [PAIR | {"prompt": f"Where do owls live, case {n}?"} for n in range(10)]
    asked = load(labelled(tmp_path, *pairs), ["helpful"])["helpful"]
    winners = "aa aa aa aa aa aa ab bb -- a-".replace(" ", "")
    verdicts = [row | {"winner": winner} for row, winner in zip(asked, winners, strict=True) if winner != "-"]
    found = accuracy(asked, verdicts, 0.7)
    assert (found["pairs"], found["accuracy"], found["passed"]) == (10, pytest.approx(0.7), True)
    assert found["low"] < 0.7 < found["high"]
    row = found | {"dimension": "helpful"}
    assert figures("known", [row]) == [
        {"suite": "known, labelled pairs", "metric": "helpful_accuracy", "value": found["accuracy"], "count": 10}
    ]
    require(Path("pairs.jsonl"), [row])
    low = accuracy(asked, verdicts, 0.71) | {"dimension": "helpful"}
    with pytest.raises(JudgeError, match=r"on 10 labelled pairs .* helpful answer in 0\.70 .* below .* 0\.71; nothing"):
        require(Path("pairs.jsonl"), [row, low])


def test_a_judge_shares_its_base_with_itself_that_base_and_what_was_trained_from_it() -> None:
    assert shares_base({"m"}, {"m"})
    assert shares_base({"base"}, {"dpo", "sft", "base"})
    assert shares_base({"sft", "base"}, {"dpo", "base"})
    assert not shares_base({"judge", "its base"}, {"dpo", "base"})
