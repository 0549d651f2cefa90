"""The whole line of a soup on nano: prompts of two origins, revisions, a model for each, what is between, the gate."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.training import train_recipes
from bench.training import soups
from warehouse import Lake

pytestmark = pytest.mark.long


def test_two_models_of_one_start_are_trained_interpolated_and_judged(tmp_path: Path) -> None:
    few: dict[str, int] = {}  # the bench's own settings
    soups.write(tmp_path, 400, 98)  # some 100 pairs an axis: enough to learn it, and not yet too many
    report = soups.made(tmp_path, 0, 3, few)
    assert [row["model"] for row in report["models"]] == ["start", "λ 0", "λ 0.5", "λ 1", "both"]
    at = {row["model"]: row for row in report["models"]}
    assert at["λ 1"]["harmless"] > at["λ 0"]["harmless"], "each part is for its axis"
    assert report["hypervolume"] >= at["λ 0.5"]["helpful"] * at["λ 0.5"]["harmless"]
    assert "| λ 0.5 |" in soups.table([report])
    preset = soups.preset(tmp_path, 0, 3, few)
    with Lake.open(tmp_path / "seed-0") as lake:
        views = {
            row["recipe"]: json.loads(row["config"]).get("mix")
            for row in lake.rows("SELECT recipe, config FROM models")
        }
        assert views["help"]["only"] == ["help"]
        assert "only" not in views["both"]
        again = asyncio.run(train_recipes(preset, lake, tmp_path / "seed-0", "v1"))
        assert not any(one.new for one in again), "the same work is known"
        (decided,) = asyncio.run(promote_candidates(preset, lake))
        assert decided.path == str(again[-1].path), "the soup alone goes through the gate"
