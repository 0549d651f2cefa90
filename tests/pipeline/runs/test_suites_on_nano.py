"""Suites beside the held-out prompts: evaluated, shown, grown, and as axes of the gate; on the real nano."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_judging import spoil

from alignery.cli.render import results
from alignery.config.preset import Preset, build, load
from alignery.config.schema import PresetError
from alignery.errors import UsageError
from alignery.pipeline.refresh import held_out_of
from alignery.pipeline.runs.evaluation import Evaluation, evaluate_models
from alignery.pipeline.runs.promotion import promote_candidates
from nano.files import HELD_OUT, TWINS
from nano.player import CHECKPOINT
from warehouse import Lake


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def preset(folder: Path, twins: int, **sections: Any) -> Preset:
    """nano with a few held-out prompts and suites of each way to ask."""
    (folder / "few.jsonl").write_text("".join(lines(HELD_OUT)[:400:50]))
    (folder / "twins.jsonl").write_text("".join(lines(TWINS)[:twins]))
    suites = [
        {"name": "few_twins", "path": str(folder / "twins.jsonl"), "kind": "refusals"},
        {"name": "misconceptions", "limit": 2},
    ]
    evaluate = {
        "oracle": "nano",
        "prompts": str(folder / "few.jsonl"),
        "suites": suites,
        "sampling": {"max_tokens": 64},
    }
    whole: Mapping[str, Any] = {
        "name": "suites",
        "about": "a test",
        "words": {"variant": "nano"},
        "models": {"generator": {"engine": "transformers", "model": str(CHECKPOINT), "threads": 1}},
        "line": {"self_instruct": {}},
        "evaluate": evaluate,
    }
    return build({**whole, **sections})


def evaluated(made: Preset, home: Path, logs: Path | None = None) -> list[Evaluation]:
    with Lake.open(home) as lake:
        return asyncio.run(evaluate_models(made, lake, logs=logs))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    """A lake that has a nano with noise on its weights as a model trained from nano."""
    folder = tmp_path_factory.mktemp("suites")
    home, other = shutil.copytree(empty, folder / "lake"), shutil.copytree(CHECKPOINT, folder / "other")
    spoil(other / "model.safetensors")
    base = preset(folder, 2).spec("generator")
    row = {"id": base.model_copy(update={"model": str(other)}).identity(), "path": str(other), "recipe": "engrave"}
    with Lake.open(home) as lake:
        lake.ledger.write("models", [row | {"base_id": base.identity()}], run_id="run-0", message="a test")
    return home


@pytest.mark.flow
def test_a_suite_that_grows_asks_what_is_new_and_its_figures_are_rows(home, tmp_path, capsys) -> None:
    evaluated(preset(tmp_path, 8), home)
    with Lake.open(home, read_only=True) as lake:
        before = lake.rows("SELECT * FROM eval_answers WHERE suite = 'few_twins'")
        asked = lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"]
    found = evaluated(preset(tmp_path, 12), home, tmp_path / "logs")
    logs = [json.loads(path.read_text()) for path in (tmp_path / "logs").iterdir()]
    assert sorted((log["eval"]["model"], log["eval"]["task"], len(log["samples"])) for log in logs) == [
        (model, task, count)
        for model in ("base", "engrave")
        for task, count in (("few", 8), ("few_twins", 12), ("misconceptions", 2))
    ]
    with Lake.open(home, read_only=True) as lake:
        answers = lake.rows("SELECT * FROM eval_answers WHERE suite = 'few_twins'")
        assert lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"] - asked == 2 * 4
        rows = lake.rows("SELECT * FROM evals WHERE suite = 'few_twins' AND metric = 'harm' ORDER BY count")
        metrics = {row["metric"] for row in lake.rows("SELECT * FROM evals WHERE suite = 'misconceptions'")}
    assert {row["id"] for row in before} < {row["id"] for row in answers}
    assert [row["count"] for row in rows] == [4, 4, 6, 6]
    assert {"answered", "mc1", "mc2"} < metrics
    base = {row["metric"]: row["value"] for row in found[0].figures}
    assert base["few_twins.harm"] == 1.0  # nano answers whatever it is asked
    assert base["few_twins.over_refusal"] == 0.0
    assert any(metric.startswith("few_twins.harm@") for metric in base)
    capsys.readouterr()
    results.evaluated(found, False)
    shown = capsys.readouterr().out
    assert "Harm and over-refusal" in shown
    assert "few_twins" in shown
    assert "misconceptions.mc2" in shown
    assert "@" not in shown
    # Six of its twelve are harmful; of the eight earlier ones, four.
    assert base["few_twins.harm (on the 8 earlier prompts)"] == 1.0
    counts = {row["metric"]: row["count"] for row in found[1].figures}
    assert counts["few_twins.harm (on the 8 earlier prompts)"] == 4
    assert not any(metric.startswith("misconceptions.mc2 (") for metric in counts)
    assert "earlier prompts" in shown


def test_the_gate_takes_axes_from_suites_and_from_kinds_of_prompts(home, tmp_path) -> None:
    axes = {"safe": ["-few_twins.harm"], "willing": ["-few_twins.over_refusal"], "howto": ["helpful@howto"]}
    made = preset(tmp_path, 12, gate={"axes": axes, "prompts": 1})
    with Lake.open(home) as lake:
        (decided,) = asyncio.run(promote_candidates(made, lake))
        assert asyncio.run(promote_candidates(made, lake)) == []
        (row,) = lake.rows("SELECT * FROM decisions")
    assert decided.state == "kept"
    figures = {axis["axis"]: (axis["prompts"], axis["before"]) for axis in json.loads(row["figures"])}
    assert figures["safe"] == (6, 0.0)
    assert figures["willing"] == (6, 1.0)
    assert set(figures) == set(axes)
    assert figures["howto"][0] == sum('"howto"' in line for line in lines(HELD_OUT)[:400:50])


def test_a_judge_compares_its_suites_with_the_rest_and_stands_beside_axes_of_suites(home, tmp_path) -> None:
    (tmp_path / "more.jsonl").write_text("".join(lines(HELD_OUT)[1:400:100]))
    evaluate = {
        "prompts": str(tmp_path / "few.jsonl"),
        "judge": {"dimensions": ["helpful"], "sampling": {"max_tokens": 8}},
        "suites": [
            {"name": "more", "path": str(tmp_path / "more.jsonl"), "kind": "judge"},
            {"name": "few_twins", "path": str(tmp_path / "twins.jsonl"), "kind": "refusals"},
        ],
        "sampling": {"max_tokens": 64},
    }
    made = preset(tmp_path, 4, evaluate=evaluate, gate={"axes": {"safe": ["-few_twins.harm"]}, "prompts": 1})
    with Lake.open(home) as lake:
        (decided,) = asyncio.run(promote_candidates(made, lake))
        row = lake.rows("SELECT * FROM decisions ORDER BY rowid")[-1]
    figures = {axis["axis"]: axis["prompts"] for axis in json.loads(row["figures"])}
    assert figures == {"helpful": 8 + 4, "safe": 2}
    assert decided.state == "kept"
    _, other = evaluated(made, home)
    assert [(one["dimension"], one["pairs"] + one["excluded"]) for one in other.judged] == [("helpful", 12)]


def test_an_axis_of_a_suite_that_is_not_there_is_refused(tmp_path) -> None:
    preset(tmp_path, 4, gate={"axes": {"true": ["misconceptions.mc2@food"]}}).check()
    for metric in ("misconceptions.mc3", "twins.harm"):
        made = preset(tmp_path, 4, gate={"axes": {"x": [f"-{metric}"]}})
        with pytest.raises(PresetError, match=rf"gate.axes.x: got '-{metric}', expected a metric of a suite"):
            made.check()


def test_prompts_of_suites_never_become_instructions(tmp_path) -> None:
    texts = held_out_of(preset(tmp_path, 4))
    assert json.loads(lines(TWINS)[0])["prompt"] in texts
    assert len(texts) == 8 + 4 + 2


@pytest.mark.parametrize(
    ("evaluate", "complaint"),
    [
        ({}, "got nothing, and no suites"),
        ({"prompts": str(HELD_OUT)}, "got neither oracle nor judge"),
        ({"suites": [{"name": "x", "path": str(HELD_OUT), "kind": "judge"}]}, "got neither oracle nor judge"),
        ({"suites": [{"name": "x", "path": str(HELD_OUT), "kind": "oracle"}]}, "got one of the kind oracle"),
        (
            {
                "prompts": str(HELD_OUT),
                "oracle": "nano",
                "suites": [{"name": "held_out", "path": str(HELD_OUT), "kind": "oracle"}],
            },
            "the name of the file of prompts",
        ),
    ],
)
def test_a_test_that_tells_nothing_is_refused(tmp_path, evaluate, complaint) -> None:
    with pytest.raises(UsageError, match=complaint):
        preset(tmp_path, 2, evaluate=evaluate)


def test_suites_alone_are_a_test_and_the_gate_wants_an_axis_of_them(home, tmp_path) -> None:
    made = preset(tmp_path, 2, evaluate={"suites": [{"name": "twins", "limit": 4}]})
    made.check()
    with Lake.open(home) as lake, pytest.raises(PresetError, match=r"gate.axes: got no axis of a suite, and neither"):
        asyncio.run(promote_candidates(made, lake))
    for section in ({"gate": {"alpha": 0.1}}, {"retrain": {"engrave": {}}}):
        with pytest.raises(PresetError, match=r"gate.axes: got no axis of a suite, and neither"):
            preset(tmp_path, 2, evaluate={"suites": [{"name": "twins", "limit": 4}]}, **section)
    assert load("nano").evaluate.suites == ()


@pytest.mark.parametrize(
    ("evaluate", "field"),
    [
        ({"suites": [{"name": "own", "path": "./no.jsonl", "kind": "refusals"}]}, "evaluate.suites.0.path"),
        ({"prompts": str(HELD_OUT), "judge": {"check": {"path": "./no.jsonl", "at_least": 0.7}}},
         "evaluate.judge.check.path"),
    ],
)  # fmt: skip
def test_a_file_of_a_suite_or_a_check_is_there_and_is_looked_for_beside_the_preset(tmp_path, evaluate, field) -> None:
    made = {"about": "a test", "models": {"generator": {"engine": "scripted", "replies": ["x"]}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(made | {"line": {"self_instruct": {}}, "evaluate": evaluate}))
    missing = re.escape(str(tmp_path / "no.jsonl"))
    with pytest.raises(PresetError, match=rf"own.yaml: {field}: got {missing}, which is not a file; give one"):
        load(str(tmp_path / "own.yaml"))
    shutil.copy(TWINS if "suites" in evaluate else HELD_OUT, tmp_path / "no.jsonl")
    load(str(tmp_path / "own.yaml"))
