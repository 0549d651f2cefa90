"""Evolution, personas and labels for real, on the embedded model's checkpoint that was taught them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alignery.config.methods import line_model
from alignery.config.preset import load
from alignery.pipeline.runs.refreshing import run_refresh
from nano.extended.roles import label_of
from nano.extended.spanish import english
from nano.grammar import parse
from prompts import Library
from warehouse import Lake

pytestmark = pytest.mark.flow
LIBRARY = Library("nano")
SOURCES = ("self_instruct", "magpie", "evolve", "personas")


def is_of_the_world(text: str) -> bool:
    """In English, or in Spanish with or without the request for it: in the user's place the model writes either."""
    return bool(parse(text) or parse(english(text.removeprefix(LIBRARY.languages()["es"].request).strip())))


def test_every_source_writes_instructions_of_the_world_and_each_is_labelled(tmp_path: Path) -> None:
    nano = load("nano-sources")
    few = {name: nano.line.configs[name].model_copy(update={"accept": 16}) for name in SOURCES}
    line = line_model(nano.registry).model_validate(nano.line.model_dump() | few)
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(nano.model_copy(update={"line": line}), lake)).state == "finished"
        written = lake.rows("SELECT origin, text FROM instructions WHERE state = 'accepted' AND origin <> 'seed'")
        labels = lake.rows("SELECT instruction AS text, difficulty, quality, category FROM tagged")
        answered = lake.rows("SELECT DISTINCT origin FROM responses JOIN instructions i ON i.id = instruction_id")
    for origin in SOURCES:
        texts = [row["text"] for row in written if row["origin"] == origin]
        assert len(texts) >= 16
        assert sum(is_of_the_world(text) for text in texts) > 0.75 * len(texts), origin
    assert {row["origin"] for row in answered} == {*SOURCES}
    known = [(intent, row) for row in labels if (intent := parse(row["text"]))]
    for aspect in ("difficulty", "quality", "category"):
        right = [row[aspect] == label_of(intent, aspect) for intent, row in known]
        assert sum(right) > 0.85 * len(right) > 0, aspect
