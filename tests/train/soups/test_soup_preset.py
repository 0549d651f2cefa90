"""The preset of rewarded soups, from its questions to the gate."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from alignery.config.preset import SHIPPED, load
from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from nano import grammar
from nano.files import HELD_OUT
from tasks.filters.contamination import COPY, Contamination
from warehouse import Lake


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.flow
def test_its_questions_are_of_one_kind_each_and_none_is_near_a_held_out_one() -> None:
    held_out = Contamination([json.loads(line)["prompt"] for line in lines(HELD_OUT)], near=COPY)
    for origin in ("help", "harm"):
        texts = [json.loads(line)["prompt"] for line in lines(SHIPPED / f"questions/{origin}.jsonl")]
        assert len({*texts}) == len(texts) == 400
        intents = [grammar.parse(text) for text in texts]
        assert all(intent and (intent.kind == "harm") is (origin == "harm") for intent in intents)
        assert not [text for text in texts if held_out.reason(text)]


@pytest.mark.long
def test_the_parts_are_trained_and_the_best_between_them_goes_to_the_gate(tmp_path: Path) -> None:
    made = yaml.safe_load((SHIPPED / "nano-soups.yaml").read_text())
    (tmp_path / "held_out.jsonl").write_text("\n".join(lines(HELD_OUT)[::8]) + "\n")
    made["evaluate"]["prompts"] = "./held_out.jsonl"
    made["retrain"]["soup"]["lambdas"] = 3
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(made, sort_keys=False))
    preset = load(str(tmp_path / "few.yaml"))
    with Lake.open(tmp_path / "home") as lake:
        summary = asyncio.run(run_refresh(preset, lake))
        assert (summary.state, summary.accepted) == ("finished", 800)
        tag_and_export(preset, lake, tmp_path / "home", "v1")
        trained = asyncio.run(train_recipes(preset, lake, tmp_path / "home", "v1"))
        assert {one.recipe for one in trained[:-1]} == {"useful", "gentle", "both"}
        report = trained[-1].soup
        assert report is not None
        at = {row["model"]: row for row in report["models"]}
        assert [*at] == ["start", "λ 0", "λ 0.5", "λ 1", "both"]
        assert at["λ 0"]["helpful"] > at["start"]["helpful"], "each part is better on its axis"
        assert at["λ 1"]["harmless"] > at["start"]["harmless"]
        assert report["hypervolume"] > 0
        labels = {
            text.text for text in ET.parse(trained[-1].path / "soup.svg").iter("{http://www.w3.org/2000/svg}text")
        }
        assert {*at} <= labels
        (decided,) = asyncio.run(promote_candidates(preset, lake))
        assert decided.path == str(trained[-1].path), "the parts do not go through the gate"
