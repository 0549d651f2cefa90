"""Magpie for real: the embedded model writes instructions of its world from the bare beginning of its template."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alignery.config.methods import line_model
from alignery.config.preset import load
from alignery.pipeline.runs.refreshing import run_refresh
from nano.grammar import parse
from warehouse import Lake

pytestmark = pytest.mark.long


def test_nano_writes_instructions_of_its_world_in_the_users_place(tmp_path: Path) -> None:
    nano = load("nano-magpie")
    few = nano.line.configs["magpie"].model_copy(update={"accept": 40})
    line = line_model(nano.registry).model_validate(nano.line.model_dump() | {"magpie": few})
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(nano.model_copy(update={"line": line}), lake)).state == "finished"
        texts = [
            row["text"]
            for row in lake.rows("SELECT text FROM instructions WHERE origin = 'magpie' AND state = 'accepted'")
        ]
        answered = lake.rows(
            "SELECT count(*) AS n FROM responses JOIN instructions i ON i.id = instruction_id WHERE i.origin = 'magpie'"
        )
    assert len(texts) >= 40
    assert sum(parse(text) is not None for text in texts) > 0.9 * len(texts), "of its grammar, and not a way out of it"
    assert answered[0]["n"] >= 36
