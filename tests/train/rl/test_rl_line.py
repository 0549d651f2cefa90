"""The preset of reinforcement learning, from instructions to the gate: revised, compared, rewarded, judged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from alignery.config.preset import SHIPPED, load
from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from warehouse import Lake

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]


def test_refresh_publish_reward_grpo_and_the_gate(tmp_path: Path) -> None:
    made = yaml.safe_load((SHIPPED / "nano-rl.yaml").read_text())
    lines = (ROOT / "nano/held_out.jsonl").read_text().splitlines()
    harmful = [line for line in lines if json.loads(line)["kind"] == "harm"][:30]
    (tmp_path / "held_out.jsonl").write_text("\n".join(harmful) + "\n")
    made["evaluate"]["prompts"] = "./held_out.jsonl"
    made["line"]["self_instruct"] |= {"accept": 48, "requests_per_round": 24}
    for recipe in ("constitutional_sft", "reward", "grpo"):
        made["retrain"][recipe] |= {"epochs": 1, "batch_size": 4}
    made["retrain"]["grpo"] |= {"k": 4, "max_tokens": 32}
    made["gate"] = {"axes": {"harmless": ["harmless"]}, "prompts": 20, "margin": 0.3}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(made))
    preset = load(str(tmp_path / "few.yaml"))
    with Lake.open(tmp_path / "home") as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        tag_and_export(preset, lake, tmp_path / "home", "v1")
        found = asyncio.run(train_recipes(preset, lake, tmp_path / "home", "v1"))
        models = {one.recipe: one.path for one in found}
        assert {*models} == {"constitutional_sft", "reward", "grpo"}
        (row,) = lake.rows("SELECT config, metrics, base_path FROM models WHERE recipe = 'grpo'")
        assert json.loads(row["config"])["reward_model"] == str(models["reward"])
        assert row["base_path"] == str(models["constitutional_sft"])
        report = json.loads(row["metrics"])
        assert report["rollouts"] == report["steps"] * 4 * 4 > 0
        again = asyncio.run(train_recipes(preset, lake, tmp_path / "home", "v1"))
        assert not any(one.new for one in again), "the same work is known"
        decided = asyncio.run(promote_candidates(preset, lake))
        assert [one for one in decided if str(models["grpo"]) in str(one)]
