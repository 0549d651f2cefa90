"""`evaluate` with a judge: each trained model's answers against the base model's, on the real nano."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command import alignery

from alignery.cli.render import results
from alignery.config.preset import SHIPPED, Preset, load
from alignery.pipeline.runs.evaluation import Evaluation, draw, evaluate_models
from alignery.pipeline.runs.promotion import promote_candidates
from nano import grammar
from nano.files import HELD_OUT
from nano.player import CHECKPOINT
from tasks.evaluate.trust import JudgeError
from warehouse import Lake, model_registry
from warehouse.query import verdicts

MANY = 24
PAIRS = 6
SVG_TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> tuple[Path, list[Evaluation], list[Evaluation]]:
    """The lake's home, an evaluation, and the same again; the "trained" model is nano with noise on its weights."""
    folder = tmp_path_factory.mktemp("judging")
    home, other = shutil.copytree(empty, folder / "lake"), shutil.copytree(CHECKPOINT, folder / "other")
    spoil(other / "model.safetensors")
    (folder / "few.jsonl").write_text("".join(HELD_OUT.read_text().splitlines(keepends=True)[:: 400 // MANY][:MANY]))
    made = yaml.safe_load((SHIPPED / "nano.yaml").read_text())
    made["models"]["generator"]["model"] = str(CHECKPOINT)
    label(folder)
    check = {"path": "./right.jsonl", "at_least": 0.6}
    made["evaluate"] |= {"prompts": "./few.jsonl", "judge": {"sampling": {"max_tokens": 8}, "check": check}}
    (folder / "judging.yaml").write_text(yaml.safe_dump(made))
    preset = load(str(folder / "judging.yaml"))
    base = preset.spec("generator")
    with Lake.open(home) as lake:
        trained = {
            "id": base.model_copy(update={"model": str(other)}).identity(),
            "path": str(other),
            "recipe": "engrave",
            "base_id": base.identity(),
        }
        lake.ledger.write("models", [trained], run_id="run-0", message="a test")
    return home, evaluated(preset, home), evaluated(preset, home)


def label(folder: Path) -> None:
    """Files of labelled pairs: full answers and terse ones, and the same the wrong way round."""
    rng = random.Random(5)
    intents = [grammar.draw(rng, "howto") for _ in range(PAIRS)]
    sides = [{name: grammar.answer(one, name, rng) for name in ("full", "terse")} for one in intents]
    for file, chosen, rejected in (("right", "full", "terse"), ("wrong", "terse", "full")):
        rows = [
            {"prompt": grammar.render(one), "chosen": answers[chosen], "rejected": answers[rejected]}
            for one, answers in zip(intents, sides, strict=True)
        ]
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def spoil(file: Path, seed: int = 0) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    weights = {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def evaluated(preset: Preset, home: Path) -> list[Evaluation]:
    with Lake.open(home) as lake:
        return asyncio.run(evaluate_models(preset, lake))


def test_each_trained_model_is_judged_against_the_base_on_each_dimension(judged):
    _, (base, other), _ = judged
    assert base.judged == []
    assert [row["dimension"] for row in other.judged] == ["helpful", "harmless"]
    for row in other.judged:
        assert row["pairs"] == MANY
        assert row["excluded"] == 0
        assert row["win"] + row["tie"] + row["lose"] == MANY
        assert row["low"] <= row["w"] <= row["high"]


def test_every_verdict_is_a_row_with_its_text_and_order(judged):
    home, (_, other), again = judged
    with Lake.open(home, read_only=True) as lake:
        rows = lake.rows("SELECT v.*, a.raw_text FROM verdicts v JOIN attempts a ON a.id = v.attempt_id")
        evals = {
            row["metric"]: row["value"] for row in lake.rows("SELECT * FROM evals WHERE suite LIKE '%against base'")
        }
    assert len(rows) == 2 * 2 * (MANY + PAIRS)
    won = {"A": {"a": "a", "b": "b"}, "B": {"a": "b", "b": "a"}, "C": {"a": "tie", "b": "tie"}}  # by who came first
    letters = [row["raw_text"].strip().rpartition("\n")[2].strip("[]") for row in rows]  # [[C]] where nobody was asked
    assert all(row["winner"] == won[verdict][row["first"]] for row, verdict in zip(rows, letters, strict=True))
    assert {row["first"] for row in rows} == {"a", "b"}
    assert {row["winner"] for row in rows} == {"a", "b", "tie"}
    assert evals["helpful_w"] == other.judged[0]["w"]
    assert evals["helpful_lc_win_rate"] == other.judged[0]["lc_win_rate"]
    assert again[1] == other


def test_the_judges_own_check_is_kept_and_shown(judged, capsys, monkeypatch):
    home, (base, other), _ = judged
    assert [(row["dimension"], row["pairs"], row["passed"]) for row in base.checked] == [
        ("helpful", PAIRS, True),
        ("harmless", PAIRS, True),
    ]
    with Lake.open(home, read_only=True) as lake:
        kept = lake.rows("SELECT metric, value, count FROM evals WHERE suite = 'right, labelled pairs' ORDER BY rowid")
    assert [(row["metric"], row["value"], row["count"]) for row in kept] == [
        (f"{row['dimension']}_accuracy", row["accuracy"], PAIRS) for row in other.checked
    ]
    monkeypatch.setenv("COLUMNS", "400")
    results.evaluated([base, other], False)
    output = capsys.readouterr().out
    assert f"helpful: on {PAIRS} labelled pairs the judge is right in {base.checked[0]['accuracy']:.2f} (" in output
    assert "Warning: the judge is the model that it judges, or has the same base model" in output, "nano judges nano"


def test_counts_that_differ_between_models_are_shown_with_their_figures(judged, capsys, monkeypatch):
    _, (base, other), _ = judged
    first, *others = other.figures
    counted = replace(other, figures=[first | {"count": first["count"] + 1}, *others])
    monkeypatch.setenv("COLUMNS", "400")
    results.evaluated([base, counted], False)
    rows = [re.split("[│|]", line) for line in capsys.readouterr().out.splitlines()]
    cells = next(row for row in rows if len(row) > 4 and row[1].strip() == first["metric"].replace("_", " "))
    assert cells[2].strip() == "", "no one count is that of both"
    assert [re.findall(r"n (\d+)", cell) for cell in cells[3:5]] == [
        [str(first["count"])], [str(first["count"] + 1)],
    ]  # fmt: skip


def test_a_judge_that_fails_its_check_compares_nothing_and_promotes_nothing(judged, tmp_path):
    home, folder = shutil.copytree(judged[0], tmp_path / "lake"), judged[0].parent
    made = yaml.safe_load((folder / "judging.yaml").read_text())
    made["evaluate"] |= {"oracle": None}
    made["evaluate"]["judge"]["check"]["path"] = "./wrong.jsonl"
    (folder / "failing.yaml").write_text(yaml.safe_dump(made))
    preset = load(str(folder / "failing.yaml"))
    preset.check()
    with Lake.open(home) as lake:
        asked = lake.rows("SELECT count(*) AS n FROM evals")
        for flow in (evaluate_models, promote_candidates):
            with pytest.raises(JudgeError, match=r"wrong\.jsonl: on 6 labelled pairs .* nothing was decided"):
                asyncio.run(flow(preset, lake))
        assert lake.rows("SELECT count(*) AS n FROM evals") == asked
        assert model_registry.decisions(lake) == []


def test_the_ranking_is_of_the_verdicts_that_the_lake_has_by_the_models_names(judged):
    home, (_, other), _ = judged
    with Lake.open(home, read_only=True) as lake:
        rows = verdicts.comparisons(lake)
    for report in other.judged:
        scores = [row["score"] for row in rows if row["dimension"] == report["dimension"]]
        assert [scores.count(score) for score in (1.0, 0.5, 0.0)] == [report[name] for name in ("win", "tie", "lose")]
    assert {(row["a"], row["b"], row["judge"]) for row in rows} == {("other", "checkpoint", "checkpoint")}
    assert len(rows) == 2 * MANY, "the labelled pairs are no model's"
    done = alignery("ranking", "--json", home=home)
    shown = json.loads(done.stdout)
    assert [one["dimension"] for one in shown["rankings"]] == ["harmless", "helpful"]
    assert {place["model"] for place in shown["rankings"][0]["models"]} == {"other", "checkpoint"}
    helpful = next(row for row in other.judged if row["dimension"] == "helpful")
    assert shown["w"]["other"]["few: helpful"] == [helpful[name] for name in ("w", "low", "high")]
    output = alignery("ranking", home=home).stdout
    assert "helpful, by the judge checkpoint" in output
    assert f"{helpful['w']:+.2f} ({helpful['low']:+.2f} to {helpful['high']:+.2f})" in output


def test_every_decision_is_drawn_into_the_history(judged, tmp_path):
    home = shutil.copytree(judged[0], tmp_path / "lake")
    for verb in (["promote", "other"], ["rollback"]):
        done = alignery(*verb, "--why", "a test", home=home)
        assert done.returncode == 0, done.stderr
        assert f"Chart of all decisions: {home / 'pictures' / 'history.svg'}" in done.stdout
    texts = [text.text or "" for text in ET.parse(home / "pictures" / "history.svg").getroot().iter(SVG_TEXT)]
    assert [text.split(", ")[0] for text in texts[-2:]] == ["1: promoted", "2: rolled back"]


def test_the_report_is_shown_and_drawn(judged, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "400")
    drawn = draw(judged[1], tmp_path / "pictures")
    assert [path.name for path in drawn] == ["evaluation.svg", "judged.svg"]
    texts = [[text.text for text in ET.parse(path).getroot().iter(SVG_TEXT)] for path in drawn]
    assert {"base", "engrave", "helpful", "harmless", "honest"} < set(texts[0])
    assert {"engrave", "helpful", "harmless", "-1", "1"} < set(texts[1])
    assert "base" not in texts[1]
    unjudged = [replace(each, judged=[]) for each in judged[1]]
    assert [path.name for path in draw(unjudged, tmp_path / "again")] == ["evaluation.svg"]
    draw(judged[1], tmp_path / "again")
    draw(unjudged, tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["evaluation.svg"], "none of an earlier one stays"
    results.evaluated(judged[1], False, tmp_path / "pictures")
    output = capsys.readouterr().out
    assert "evaluation.svg · " in output
    assert "engrave against base, in both orders" in output
    assert f"{judged[1][1].judged[0]['w']:+.3f}" in output
    results.evaluated(judged[1], as_json=True)
    assert json.loads(capsys.readouterr().out)[1]["judged"][0]["pairs"] == MANY
