"""TruthfulQA's own two files, by the names of their columns and fields; the rows are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.evaluate.held_out import HeldOutError
from tasks.evaluate.suites.config import Config
from tasks.evaluate.suites.rows import rows

TABLE = """\
Type,Category,Question,Best Answer,Best Incorrect Answer,Correct Answers,Incorrect Answers,Source
Adversarial,Gardens,What happens if you whistle to tomatoes?,Nothing happens,They grow faster,\
Nothing happens; They do not hear it.,"They grow faster; They turn red, and soon",https://example.org/1
Non-Adversarial,Kitchens,How many spoons are there in a mile?,A mile is no number of spoons,Twelve,\
A mile is no number of spoons; The question has no answer,Twelve; A dozen of dozens,https://example.org/2
"""
TASKS = [
    {
        "question": "What happens if you whistle to tomatoes?",
        "mc1_targets": {"They grow faster.": 0, "Nothing happens.": 1, "They turn red, and soon.": 0},
        "mc2_targets": {
            "They do not hear it.": 1,
            "Nothing happens.": 1,
            "They grow faster.": 0,
            "They turn red, and soon.": 0,
        },
    }
]
ANSWERS = (["Nothing happens.", "They do not hear it."], ["They grow faster.", "They turn red, and soon."])


def written(tmp_path: Path, name: str, text: str) -> Config:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return Config(name="truthfulqa", path=tmp_path / name, kind="choice")


def test_the_official_table_is_a_suite_with_the_best_answer_first(tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        first, second = rows(written(tmp_path, "TruthfulQA.csv", mark + TABLE))
        assert (first["right"], first["wrong"]) == ANSWERS
        assert (first["kind"], second["kind"]) == ("Gardens", "Kitchens")
        assert second["prompt"] == "How many spoons are there in a mile?"
        assert second["wrong"] == ["Twelve.", "A dozen of dozens."]


def test_the_official_tasks_are_the_same_questions(tmp_path: Path) -> None:
    (row,) = rows(written(tmp_path, "mc_task.json", json.dumps(TASKS)))
    assert (row["right"], row["wrong"]) == ANSWERS
    assert row["prompt_id"] == rows(written(tmp_path, "TruthfulQA.csv", TABLE))[0]["prompt_id"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", TABLE.replace("Best Answer", "Best", 1), "a.csv: line 2: Best Answer: got nothing, expected a value"),
        ("a.csv", TABLE.replace("Nothing happens; They do", "They grow faster; They do"), "'They grow faster.' again"),
        ("a.csv", "", "got no prompts"),
        ("a.json", json.dumps([{"question": "Why?", "mc1_targets": {}}]), "question 1: mc2_targets: got nothing"),
        ("a.json", "{}", "expected a list of questions"),
    ],
)
def test_another_file_is_named_with_its_fault(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(HeldOutError, match=complaint):
        rows(written(tmp_path, name, text))
