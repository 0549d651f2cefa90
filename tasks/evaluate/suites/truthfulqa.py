"""TruthfulQA's own files as a suite of the kind `choice`: `TruthfulQA.csv` and `mc_task.json` of its repository.

Source: arXiv 2109.07958, github.com/sylinrl/TruthfulQA. The best answer comes first, as MC1 wants it; answers of the
table are parted at ";" and closed by a full stop, as the repository's code does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from alignery.hashing import digest
from alignery.textfiles import parse_json, read_text
from alignery.validation import Filled, validated
from tasks.evaluate.held_out import HeldOutError

Line = dict[str, Any]
FILES = (".csv", ".json")  # how their names end


class _Row(BaseModel):
    """A row of the table; it has further columns."""

    category: Filled = Field(alias="Category")
    question: Filled = Field(alias="Question")
    best: Filled = Field(alias="Best Answer")
    right: str = Field(alias="Correct Answers")
    wrong: Filled = Field(alias="Incorrect Answers")


class _Task(BaseModel):
    """An entry of mc_task.json: answers, and 1 for the true ones; of `mc1_targets` one is."""

    question: Filled
    mc1_targets: dict[Filled, int]
    mc2_targets: dict[Filled, int]


def lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Its questions as lines of the kind `choice`, each with its number.

    Raises:
        HeldOutError: a row without one of the columns, or an entry without one of the fields.
        TextFileError: no file, or one that is not what its name says.
    """
    if path.suffix == ".csv":
        table = csv.DictReader(io.StringIO(read_text(path), newline=""))
        for row in table:
            found = validated(_Row, row, f"{path}: line {table.line_num}", HeldOutError)
            right, wrong = _parted(f"{found.best};{found.right}"), _parted(found.wrong)
            yield table.line_num, _line(found.category, found.question, right, wrong)
        return
    entries = parse_json(read_text(path), str(path))
    if not isinstance(entries, list):
        raise HeldOutError(f"{path}: expected a list of questions with mc1_targets and mc2_targets; give mc_task.json")
    for number, entry in enumerate(entries, 1):
        task = validated(_Task, entry, f"{path}: question {number}", HeldOutError)
        # MC1's answers first: the true one of them is the best.
        both = [*task.mc1_targets.items(), *task.mc2_targets.items()]
        right, wrong = ([answer for answer, true in both if bool(true) is truth] for truth in (True, False))
        yield number, _line("truthfulqa", task.question, right, wrong)


def _line(kind: str, question: str, right: list[str], wrong: list[str]) -> Line:
    answers = {"right": list(dict.fromkeys(right)), "wrong": list(dict.fromkeys(wrong))}
    return {"id": digest(question)[:12], "kind": kind, "prompt": question, **answers}


def _parted(answers: str) -> list[str]:
    return [f"{answer.removesuffix('.')}." for each in answers.split(";") if (answer := each.strip())]
