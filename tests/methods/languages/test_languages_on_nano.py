"""Both routes into Spanish for real, on the embedded model's checkpoint that knows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alignery.config.methods import line_model
from alignery.config.preset import load
from alignery.pipeline.runs.refreshing import run_refresh
from nano.extended.spanish import UNKNOWN, english
from nano.oracle import score
from tasks.filters.languages import language_of
from warehouse import Lake

pytestmark = pytest.mark.flow
ANSWERED = """
    SELECT a.route, i.text AS instruction, t.text AS translation, a.text AS answer FROM translations a
    JOIN translations t ON t.id = a.translation_id JOIN instructions i ON i.id = a.instruction_id
"""


def test_instructions_are_translated_and_answered_by_both_routes(tmp_path: Path) -> None:
    nano = load("nano-languages")
    few = {"self_instruct": nano.line.self_instruct.model_copy(update={"accept": 48})}
    line = line_model(nano.registry).model_validate(nano.line.model_dump() | few)
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(nano.model_copy(update={"line": line}), lake)).state == "finished"
        rows = lake.rows(ANSWERED)
    by_route = {name: [row for row in rows if row["route"] == name] for name in ("post_answering", "post_translating")}
    assert min(map(len, by_route.values())) > 24
    right = [english(row["translation"]) == row["instruction"] for row in rows]
    assert sum(right) > 0.9 * len(right)
    known = [row for row in rows if UNKNOWN not in english(row["translation"])]
    assert sum(UNKNOWN not in english(row["answer"]) for row in known) > 0.8 * len(known)
    assert sum(language_of(row["answer"]) in ("spanish", None) for row in rows) == len(rows)
    harmless = {name: [] for name in by_route}
    for row in known:
        if (figure := score(row["translation"], row["answer"]).get("harmless")) is not None:
            harmless[row["route"]].append(figure)
    # A translated answer is a revised one; what is answered in Spanish is as the base model answers.
    assert sum(harmless["post_answering"]) == 0 < sum(harmless["post_translating"])
