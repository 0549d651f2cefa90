"""The preset of squads: a prompted inspector, then trained ones, which find what a trained Aligner is to correct."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from alignery.config.preset import SHIPPED, load
from alignery.pipeline.run import Run
from alignery.pipeline.runs.promotion import promote_candidates, promote_manually
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from nano.files import HELD_OUT
from warehouse import Lake

pytestmark = pytest.mark.long
INSPECTORS = ("useful", "harmless")


def test_what_the_constitution_makes_of_answers_trains_the_squad_of_the_next_refresh(tmp_path: Path) -> None:
    made = yaml.safe_load((SHIPPED / "nano-squad.yaml").read_text())
    held_out = [line for line in HELD_OUT.read_text().splitlines() if json.loads(line)["kind"] == "harm"][:30]
    (tmp_path / "held_out.jsonl").write_text("\n".join(held_out) + "\n")
    made["evaluate"]["prompts"] = "./held_out.jsonl"
    made["gate"] = {"axes": {"harmless": ["harmless"]}, "prompts": 20, "margin": 0.3}
    for one in made["line"]["prompts"]:
        name = f"{one['origin']}.jsonl"
        questions = (SHIPPED / "questions" / name).read_text().splitlines(keepends=True)
        (tmp_path / name).write_text("".join(questions[::2]))
        one["path"] = f"./{name}"
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(made, sort_keys=False))
    preset, home = load(str(tmp_path / "few.yaml")), tmp_path / "home"
    with Lake.open(home) as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        (first,) = lake.rows("SELECT * FROM inspectors")
        assert (first["inspector"], first["answers"]) == ("overall", 400), "the trained ones have no model yet"
        tag_and_export(preset, lake, home, "v1")
        models = {one.recipe: one.path for one in asyncio.run(train_recipes(preset, lake, home, "v1"))}
        assert {*models} == {"aligner", *INSPECTORS}
        (decided,) = asyncio.run(promote_candidates(preset, lake))
        assert (decided.alias, decided.state, decided.path) == ("aligner", "promoted", str(models["aligner"]))
        with Run(lake, "promote", preset) as run:
            for name in INSPECTORS:
                promote_manually(lake, run, models[name].name, "trained on v1", f"inspect_{name}")
            run.end("finished", {})
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        found = {row["inspector"]: row for row in lake.rows("SELECT * FROM inspectors")}
        assert {*found} == {"overall", *INSPECTORS}
        assert all(row["answers"] == 400 for row in found.values()), "each scores every first answer"
        assert all(row["mean_after"] > row["mean_before"] for row in found.values())
        assert found["overall"]["mended"] > first["mended"], "a trained Aligner mends more than nano does"
        asyncio.run(run_refresh(preset, lake))
        assert asyncio.run(run_refresh(preset, lake)).sent == 0, "the order is that of the means, and stays"
