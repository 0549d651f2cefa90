"""A soup on real nano: every λ is asked, one becomes a candidate, the parts are none, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from test_judging import spoil

from alignery.cli.render import results
from alignery.config.preset import Preset, build
from alignery.pipeline.executor import run_inline
from alignery.pipeline.run import Run
from alignery.pipeline.runs import evaluation, promotion
from alignery.pipeline.runs.jobs import Spec
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.soups import SoupJob
from alignery.pipeline.runs.training import Trained, TrainingJob, train_recipes
from nano.files import HELD_OUT
from nano.player import CHECKPOINT
from tasks.evaluate import confirm
from tasks.step import Row
from tasks.train.config import TrainError
from tasks.train.dataset import read_preferences
from tasks.train.soups.interpolate import interpolate
from warehouse import Lake
from warehouse.query import trained_on

pytestmark = pytest.mark.flow

PUBLISHED = {"name": "v1", "content_hash": "h1"}


@dataclass
class Made:
    lake: Lake
    home: Path
    preset: Preset
    models: dict[str, Row]
    row: Row

    def job(self, preset: Preset | None = None, models: dict[str, Row] | None = None) -> SoupJob:
        preset = preset or self.preset
        assert preset.retrain is not None
        base: Any = preset.spec("generator")
        return SoupJob("soup", base, PUBLISHED, preset.retrain.soup, preset, self.lake, models or self.models)

    def asked(self) -> int:
        (row,) = self.lake.rows("SELECT count(*) AS n FROM attempts")
        return int(row["n"])


def preset_of(
    folder: Path, line: dict[str, Any] | None = None, mix: dict[str, Any] | None = None, **soup: Any
) -> Preset:
    retrain = {
        "mix": mix or {},
        "variants": {name: {"recipe": "dpo"} for name in ("help", "safe", "both")},
        "soup": {"of": {"helpful": "help", "harmless": "safe"}, "lambdas": 3, "baseline": "both"} | soup,
    }
    return build(
        {
            "name": "soups",
            "about": "a test",
            "words": {"variant": "nano"},
            "models": {"generator": {"engine": "transformers", "model": str(CHECKPOINT), "threads": 1}},
            "line": line or {"self_instruct": {}},
            "retrain": retrain,
            "evaluate": {"oracle": "nano", "prompts": str(folder / "few.jsonl"), "sampling": {"max_tokens": 48}},
            "gate": {"reserve": 0.3, "prompts": 1},
        }
    )


def model(base: Spec, place: Path, name: str, seed: int) -> Row:
    """A row of the table of models, of nano with noise on its weights."""
    shutil.copytree(CHECKPOINT, place)
    spoil(place / "model.safetensors", seed)
    (place / "report.json").write_text(json.dumps({"base_model": str(CHECKPOINT)}))
    identity = base.model_copy(update={"model": str(place)}).identity()
    return {"id": identity, "path": str(place), "recipe": name, "base_id": base.identity()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("soups")
    lines = HELD_OUT.read_text().splitlines(keepends=True)
    few = [line for kind in ("harm", "howto") for line in lines if json.loads(line)["kind"] == kind][:: 480 // 16]
    (folder / "few.jsonl").write_text("".join(few))
    preset, home = preset_of(folder), shutil.copytree(empty, folder / "home")
    base: Any = preset.spec("generator")
    names = ("help", "safe", "both")
    models = {name: model(base, folder / name, name, seed) for seed, name in enumerate(names)}
    with Lake.open(home) as lake:
        lake.ledger.write("models", [*models.values()], run_id="run-0", message="a test")
        found = Made(lake, home, preset, models, {})
        with Run(lake, "retrain", preset) as run:
            found.row = asyncio.run(found.job().done(lake, run, home, run_inline))
            run.end("finished", {})
        yield found


def test_every_share_is_asked_the_prompts_that_are_not_reserved_and_the_report_says_so(made: Made) -> None:
    report = json.loads(made.row["metrics"])
    assert [row["model"] for row in report["models"]] == ["start", "λ 0", "λ 0.5", "λ 1", "both"]
    assert [row["lambda"] for row in report["models"]] == [None, 0.0, 0.5, 1.0, None]
    assert report["of"] == {"helpful": "help", "harmless": "safe"}
    (chosen,) = [row for row in report["models"] if row["chosen"]]
    between = [row for row in report["models"] if row["lambda"] is not None]
    assert chosen["lambda"] == report["chosen"]
    assert chosen["least_gain"] == max(row["least_gain"] for row in between)
    assert all(row["helpful_low"] <= row["helpful"] <= row["helpful_high"] for row in between)
    assert 0 <= report["hypervolume_of_ends"] <= 1
    answers = made.lake.rows("SELECT prompt_id, prompt, text FROM eval_answers")
    prompts = {row["prompt_id"]: row for row in answers}
    assert len(answers) == 5 * len(prompts), "each of five models, once"
    assert all(confirm.split(list(prompts.values()), 0.3)), "some are reserved, and some are not"
    start = next(row for row in report["models"] if row["model"] == "start")
    assert start["least_gain"] == 0


def test_the_chosen_model_is_the_mean_of_the_parts_with_a_picture_and_nothing_else_is_left(made: Made) -> None:
    out, report = Path(made.row["path"]), json.loads(made.row["metrics"])
    places = [Path(made.models[name]["path"]) for name in ("help", "safe")]
    interpolate(places, [1 - report["chosen"], report["chosen"]], made.home / "again")
    same = load_file(made.home / "again/model.safetensors")
    assert all((one == same[name]).all() for name, one in load_file(out / "model.safetensors").items())
    picture = (out / "soup.svg").read_text()
    assert all(part in picture for part in ("<svg", "λ 0.5", "both"))
    assert json.loads((out / "report.json").read_text()) == report
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_same_again_is_known_and_another_choice_asks_nothing_of_the_same_shares(made: Made) -> None:
    rows = made.lake.rows("SELECT * FROM models")
    assert made.job().known(rows) is not None
    by_hand = made.job(preset_of(made.home.parent, choose=0.5))
    assert by_hand.known(rows) is None
    before = made.asked()
    with Run(made.lake, "retrain", made.preset) as run:
        row = asyncio.run(by_hand.done(made.lake, run, made.home, run_inline))
        run.end("finished", {})
    assert json.loads(row["metrics"])["chosen"] == 0.5
    assert made.asked() == before, "every λ was asked before"
    moved = made.models | {"safe": made.models["safe"] | {"id": "other"}}
    assert made.job(models=moved).known(made.lake.rows("SELECT * FROM models")) is None


def test_the_soup_is_a_candidate_and_its_parts_are_none(made: Made) -> None:
    base = made.preset.spec("generator").identity()
    found = {row["recipe"]: alias for alias, row in promotion._candidates(made.preset, made.lake, base)}
    assert found == {"soup": "generator"}
    labels = [label for label, _, _ in evaluation._chain(made.preset, made.lake)]
    assert (labels[0], {*labels[1:]}) == ("base", {"help", "safe", "both", "soup"})


def test_a_row_that_a_part_was_trained_on_leads_to_the_soup(made: Made) -> None:
    found = trained_on.models(made.lake)
    (part,) = [row for row in found if row["recipe"] == "safe"]
    assert {row["recipe"] for row in trained_on.upon(part, found)} == {"soup"}
    (baseline,) = [row for row in found if row["recipe"] == "both"]
    assert trained_on.upon(baseline, found) == []


def test_parts_of_different_starts_are_refused_before_anything_is_asked(made: Made, tmp_path: Path) -> None:
    place = shutil.copytree(made.models["safe"]["path"], tmp_path / "safe")
    (place / "report.json").write_text(json.dumps({"base_model": str(tmp_path)}))
    job = made.job(models=made.models | {"safe": made.models["safe"] | {"path": str(place)}})
    before = made.asked()
    with Run(made.lake, "retrain", made.preset) as run, pytest.raises(TrainError, match="different starts"):
        asyncio.run(job.make(tmp_path / "out", run, run_inline))
    assert made.asked() == before


def test_a_retraining_runs_each_variant_on_its_own_rows_then_the_soup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arguments of a training process; its result is a copy of nano with noise."""
    asked: dict[str, TrainingJob] = {}

    async def process(job: TrainingJob, out: Path, log: Path) -> None:
        asked[job.name] = job
        base: Any = job.base
        model(base, out, job.name, seed=len(asked))
        (out / "report.json").write_text(json.dumps({"base_model": str(CHECKPOINT), "seconds": 1.0}))

    monkeypatch.setattr(TrainingJob, "_process", process)
    for origin in ("help", "harm"):
        rows = [{"prompt": f"{origin} {n}?", "good": f"yes {n}", "bad": f"no {n}"} for n in range(12)]
        (tmp_path / f"{origin}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "few.jsonl").write_text("".join(HELD_OUT.read_text().splitlines(keepends=True)[::160]))
    pairs = {"chosen": "good", "rejected": "bad", "gate": False}
    brought = [{"path": str(tmp_path / f"{origin}.jsonl"), "origin": origin} | pairs for origin in ("help", "harm")]
    mix = {"help": {"by": "origin", "only": ["help"]}, "safe": {"by": "origin", "only": ["harm"]}}
    preset = preset_of(tmp_path, lambdas=2, baseline=None, line={"prompts": brought}, mix=mix)
    with Lake.open(tmp_path / "home") as lake:
        assert asyncio.run(run_refresh(preset, lake)).state == "finished"
        tag_and_export(preset, lake, tmp_path / "home", "v1")
        trained = asyncio.run(train_recipes(preset, lake, tmp_path / "home", "v1"))
        again = asyncio.run(train_recipes(preset, lake, tmp_path / "home", "v1"))
    assert [one.recipe for one in trained][-1] == "soup"
    assert {one.recipe for one in trained} == {"help", "safe", "both", "soup"}
    assert trained[-1].soup is not None
    assert not any(one.new for one in again)
    assert {job.recipe for job in asked.values()} == {"dpo"}
    origins = {
        name: {row["prompt"][0]["content"].partition(" ")[0] for row in read_preferences(job.data)}
        for name, job in asked.items()
    }
    assert origins == {"help": {"help"}, "safe": {"harm"}, "both": {"help", "harm"}}


def test_the_command_prints_each_share_with_its_interval(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(made.row["metrics"])
    results.trained([Trained("soup", Path(made.row["path"]), 1.0, True, report)], True, as_json=False)
    output = capsys.readouterr().out
    assert "made in 1 s" in output
    assert "λ 0.5" in output
    assert output.count("to the gate") == 1
    assert "Hypervolume" in output
