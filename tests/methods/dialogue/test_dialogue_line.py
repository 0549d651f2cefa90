"""The preset of dialogues, from instructions to a model: self-chat, published for two trainers, and learnt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alignery.config.methods import line_model
from alignery.config.preset import load
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from warehouse import Lake

pytestmark = pytest.mark.long


def test_dialogues_are_written_published_and_learnt(tmp_path: Path) -> None:
    nano = load("nano-dialogue")
    few = nano.line.self_instruct.model_copy(update={"accept": 24})
    line = line_model(nano.registry).model_validate(nano.line.model_dump() | {"self_instruct": few})
    with Lake.open(tmp_path) as lake:
        preset = nano.model_copy(update={"line": line})
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        rows = lake.rows("SELECT exchanges, messages FROM dialogues")
        assert len(rows) > 12
        assert max(row["exchanges"] for row in rows) == 3
        assert all(len(row["messages"]) == 2 * row["exchanges"] for row in rows)
        assert asyncio.run(run_refresh(preset, lake)).sent == 0, "a dialogue that has ended is not gone on with"
        published = tag_and_export(preset, lake, tmp_path, "v1")
        (shared,) = (published.path / "data" / "dialogues_sharegpt").glob("train-*.parquet")
        first = pq.read_table(shared)["conversations"][0].as_py()
        assert [turn["from"] for turn in first[:2]] == ["human", "gpt"]
        (model,) = asyncio.run(train_recipes(preset, lake, tmp_path, "v1"))
        assert model.recipe == "dialogue"
