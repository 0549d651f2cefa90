"""The preset of samples, from instructions to models: drawn, marked, published, trained on, and scored by a reward; and
its rounds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from alignery.config.methods import line_model, retrain_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.rounds import run_rounds
from alignery.pipeline.runs.training import train_recipes
from tasks.engines import parse_spec
from tasks.methods.registry import installed
from warehouse import Lake
from warehouse.query import status

pytestmark = pytest.mark.long

FEW = {"batch_size": 8, "gradient_accumulation": 1, "max_length": 256, "threads": 1, "epochs": 1, "learning_rate": 1e-3}
COMPARE = {"sampling": {"temperature": 1.0, "max_tokens": 64}}


def changed(preset: Preset, recipes: dict[str, object] | None = None, **line: object) -> Preset:
    whole = line_model(preset.registry).model_validate(preset.line.model_dump() | line)
    retrain = retrain_model(installed()).model_validate(recipes) if recipes else preset.retrain
    return preset.model_copy(update={"line": whole, "retrain": retrain})


def test_samples_are_ranked_published_and_learnt_and_a_trained_reward_scores_them(tmp_path: Path) -> None:
    nano = load("nano-samples")
    few = nano.line.self_instruct.model_copy(update={"accept": 48})
    recipes = {"raft": FEW, "rrhf": FEW, "dpo_norm": FEW, "reward": FEW}
    preset = changed(
        nano, recipes, self_instruct=few, samples={"k": 3, "sampling": {"max_tokens": 64}}, compare=COMPARE
    )
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        (row,) = lake.rows("SELECT * FROM policies")
        assert row["samples"] == 3 * 48
        assert row["worst_score"] < row["mean_score"] < row["best_score"]
        published = tag_and_export(preset, lake, tmp_path, "v1")
        assert {"ranked", "best", "best_random"} <= {path.name for path in (published.path / "data").iterdir()}
        models = {one.recipe: one.path for one in asyncio.run(train_recipes(preset, lake, tmp_path, "v1"))}
        assert {*models} == {*recipes}

        reward = parse_spec({"engine": "reward", "model": str(models["reward"]), "threads": 1})
        scored = changed(preset, score={"reward": True, "aspects": []})
        scored = scored.model_copy(update={"models": {**scored.models, "reward": reward}})
        summary = asyncio.run(run_refresh(scored, lake))
        assert summary.state == "finished"
        (count,) = lake.rows("SELECT count(*) AS n FROM sample_scores WHERE scorer = 'reward'")
        assert count["n"] == 3 * 48
        assert {row["scorer"] for row in lake.rows("SELECT scorer FROM ranked")} == {"reward"}
        asked = lake.rows("SELECT DISTINCT model FROM attempts WHERE step = 'score.reward'")
        assert [row["model"] for row in asked] == [reward.identity()]


def test_two_rounds_of_raft_on_nano_go_on_from_each_others_models(tmp_path: Path) -> None:
    """RAFT (3): also where each round's adapter is put on the weights that the last one was merged into."""
    nano = load("nano-samples")
    few = nano.line.self_instruct.model_copy(update={"accept": 24})
    recipes = {"raft": FEW | {"lora": {"r": 8}, "learning_rate": 5e-3}, "start_from": {"raft": "current"}}
    preset = changed(nano, recipes, self_instruct=few, samples={"k": 2, "sampling": {"max_tokens": 64}})
    preset = preset.model_copy(update={"evaluate": None})
    with Lake.open(tmp_path) as lake:
        done = asyncio.run(run_rounds(preset, lake, tmp_path, 2))
        assert done.why == "all 2 rounds are done"
        first, second = status.models(lake)
        assert [first["base_path"], second["base_path"]] == [preset.spec("generator").model, first["path"]]
        assert second["base_id"] == first["id"]
        report = json.loads((Path(second["path"]) / "report.json").read_text())
        assert report["base_model"] == first["path"]
        assert report["moved"] > 0
        drew = [one.reward.policy for one in done.rounds if one.reward]
        assert drew == [preset.spec("generator").identity(), first["id"]]
        written = {row["model"] for row in lake.rows("SELECT model FROM attempts WHERE step = 'samples.sample'")}
        assert written == {*drew}
