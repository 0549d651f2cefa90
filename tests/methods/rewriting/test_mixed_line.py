"""The presets of BPO and of hindsight, from instructions to models: a rewriter, votes, tags and a mixture."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from alignery.config.methods import line_model, retrain_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.evaluation import evaluate_models
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from tasks.methods.registry import installed
from warehouse import Lake

pytestmark = pytest.mark.long

FEW = {"batch_size": 8, "gradient_accumulation": 1, "max_length": 384, "threads": 1, "epochs": 1, "learning_rate": 3e-4}


def smaller(name: str, recipes: dict[str, Any]) -> Preset:
    nano = load(name)
    few = nano.line.self_instruct.model_copy(update={"accept": 60})
    line = line_model(nano.registry).model_validate(nano.line.model_dump() | {"self_instruct": few})
    return nano.model_copy(update={"line": line, "retrain": retrain_model(installed()).model_validate(recipes)})


def test_a_rewriter_is_trained_and_judged_in_front_of_the_model_that_it_leaves_as_it_is(tmp_path: Path) -> None:
    preset = smaller("nano-bpo", {"rewriter": FEW})
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        rows = lake.rows("SELECT * FROM optimized")
        assert len(rows) > 10
        assert all(row["optimized_prompt"].startswith(row["prompt"][:-1]) for row in rows), "nano adds a hint"
        assert tag_and_export(preset, lake, tmp_path, "v1").rows["optimized"] == len(rows)
        (model,) = asyncio.run(train_recipes(preset, lake, tmp_path, "v1"))
        found = {one.label: one for one in asyncio.run(evaluate_models(preset, lake))}
        assert found.keys() == {"base", "rewriter"}
        assert found["rewriter"].path == str(model.path)
        helpful = {label: one.axes["helpful"][0] for label, one in found.items()}
        assert helpful["rewriter"] > helpful["base"]
        assert asyncio.run(run_refresh(preset, lake)).sent == 0


def test_votes_tags_and_a_mixture_are_published_and_learnt(tmp_path: Path) -> None:
    mix = {"sft": {"by": "method", "temperature": 2, "forms": {"few": 0.2, "chain": 0.2, "inverted": 0.1}, "shots": 2}}
    pairs = FEW | {"view": "preferences"}
    preset = smaller(
        "nano-hindsight", {"hindsight": pairs, "tagged": pairs, "chain_of_thought": FEW, "sft": FEW, "mix": mix}
    )
    with Lake.open(tmp_path) as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        states = {row["state"]: row["n"] for row in lake.rows("SELECT state, count(*) AS n FROM votes GROUP BY state")}
        assert states["accepted"] > 10, states
        tag_and_export(preset, lake, tmp_path, "v1")
        models = {one.recipe: one for one in asyncio.run(train_recipes(preset, lake, tmp_path, "v1"))}
        assert models.keys() == {"hindsight", "tagged", "chain_of_thought", "sft"}
        (folder,) = (tmp_path / "exports").glob("v1-sft-mix-*")
        mixture = json.loads((folder / "manifest.json").read_text())["shapes"]["sft"]["mixture"]
        assert {one["form"] for one in mixture["forms"] if one["rows"]} == {"zero", "few", "chain", "inverted"}
        assert {part["part"] for part in mixture["parts"]} == {"constitutional", "self_align"}
        assert json.loads((models["sft"].path / "report.json").read_text())["rows"] == sum(
            part["rows"] for part in mixture["parts"]
        )
        again = asyncio.run(train_recipes(preset, lake, tmp_path, "v1"))
        assert not any(one.new for one in again), "a mixture is part of what a model is known by"
