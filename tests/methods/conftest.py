"""A row of a chain, and a run that cannot hang: what the tests of all methods need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from steps import run

from prompts import Library
from tasks.engines import Engine
from tasks.step import Outcome, Row, Step

Ask = Callable[[Step, Sequence[Row], Engine], Outcome]
INSTRUCTION = {"instruction_id": "i1", "instruction": "How do I water a cactus in winter?", "topic": "the home"}


@pytest.fixture
def ask() -> Ask:
    def asked(step: Step, rows: Sequence[Row], engine: Engine) -> Outcome:
        return asyncio.run(run(step, rows, engine))

    return asked


@pytest.fixture
def instruction() -> Row:
    return dict(INSTRUCTION)


@pytest.fixture
def answered() -> Row:
    """An instruction row that has its base answer."""
    base = {"response_id": "r1", "response": "Every day.", "target_id": "r1", "target": "Every day."}
    return INSTRUCTION | base


@pytest.fixture
def constitution(tmp_path: Path) -> Callable[[dict[str, str]], Library]:
    """A library whose constitution has these principles (id → text of both requests)."""

    def written(texts: dict[str, str]) -> Library:
        file = tmp_path / "constitutional" / "constitution.yaml"
        file.parent.mkdir(exist_ok=True)
        principles = [
            {"id": id, "critique": f"Critique {text}", "revision": f"Revise {text}"} for id, text in texts.items()
        ]
        file.write_text(yaml.safe_dump({"principles": principles}))
        return Library(overlay=tmp_path)

    return written
