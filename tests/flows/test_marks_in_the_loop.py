"""Sixty marks on rows change an export, a publication and what is trained on; sixty on models' answers change a
decision of the gate, on the real nano."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import alignery
from lake_rows import fill

from alignery.config.preset import Preset, load
from alignery.config.schema import Publish, PublishMarks
from alignery.pipeline.marks import Mark, add_all, agreement, queue
from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.publication import tag_and_export
from nano.files import HELD_OUT
from nano.player import CHECKPOINT
from tasks.engines import Sampling
from tasks.evaluate.judge import Config
from tasks.review.weigh import People
from tasks.train.dataset import read_corrections
from warehouse import Lake
from warehouse.query.trained_on import models

pytestmark = pytest.mark.flow
MANY = 60


@pytest.fixture
def preset(tmp_path: Path) -> Preset:
    """nano's, with sixty held-out prompts, whose answers nano itself judges on one dimension."""
    made = load("nano")
    few = tmp_path / "held_out.jsonl"
    few.write_text("".join(HELD_OUT.read_text().splitlines(keepends=True)[:: 400 // MANY][:MANY]))
    judge = Config(dimensions=("helpful",), sampling=Sampling(max_tokens=8))
    assert made.evaluate is not None
    evaluate = made.evaluate.model_copy(update={"oracle": None, "prompts": few, "judge": judge})
    return made.model_copy(update={"evaluate": evaluate})


@pytest.fixture
def lake(preset: Preset, empty: Path, tmp_path: Path) -> Iterator[Lake]:
    """A lake with a model that was trained from nano: nano with a little noise on its weights."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(CHECKPOINT, tmp_path / "noisy")
    torch.manual_seed(0)
    weights = load_file(folder / "model.safetensors")
    noisy = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in weights.items()}
    save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
    base = preset.spec("generator")
    row = {"id": base.model_copy(update={"model": str(folder)}).identity(), "path": str(folder), "recipe": "sft"}
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        lake.ledger.write("models", [row | {"base_id": base.identity()}], run_id="r", message="trained")
        yield lake


def decided(preset: Preset, lake: Lake, people: People | None) -> tuple[str, list[str]]:
    gate = preset.gate.model_copy(update={"marks": people})
    (one,) = asyncio.run(promote_candidates(preset.model_copy(update={"gate": gate}), lake))
    return one.state, one.reasons


def test_marks_change_a_decision_and_the_judges_agreement_is_a_figure(preset: Preset, lake: Lake) -> None:
    state, reasons = decided(preset, lake, None)
    assert state == "kept", reasons
    assert agreement(lake)["judges"] == []
    items = queue(lake, "answers", "random", MANY, by="ada")
    assert len(items) == MANY
    # Ada prefers the candidate's answer, and calls every third pair a tie.
    marks = {item["target_id"]: "first" if n % 3 else "tie" for n, item in enumerate(items)}
    add_all(lake, [
        Mark(item["target_id"], "ada", marks[item["target_id"]], other_id=item["other_id"], shown_left=item["left"])
        for item in items
    ])  # fmt: skip
    assert queue(lake, "answers", "random", MANY, by="ada") == []
    (judge,) = agreement(lake)["judges"]
    assert (judge["dimension"], judge["pairs"]) == ("helpful", MANY)
    words = {"a": "first", "b": "second", "tie": "tie"}
    alike = [words[row["winner"]] == marks[row["a_id"]] for row in lake.rows("SELECT a_id, winner FROM judged_pairs")]
    assert judge["agree"] == pytest.approx(sum(alike) / MANY)
    assert 0 < judge["low"] < judge["agree"] < judge["high"] < 0.95
    # A floor that the judge does not reach holds back what people prefer, with the sentence that says why; without
    # one, people's word in place of the judge's promotes it.
    state, reasons = decided(preset, lake, People(weight=1, floor=0.95))
    assert (state, reasons[0][:48]) == ("kept", "not promoted: the judge agrees with people on he")
    state, reasons = decided(preset, lake, People(weight=1))
    assert (state, reasons[0]) == ("promoted", "promoted: better on helpful, worse on none")
    assert "people's verdicts on 60 prompts count in it, with a weight of 1" in reasons


def marked(lake: Lake) -> None:
    """Twice as many corrections as Ada marks: two of three right, one wrong and edited; Bob calls two of hers wrong
    that she holds right, and one that she edited."""
    fill(lake, 2 * MANY)
    rows = queue(lake, "qac", "random", MANY, by="ada")
    add_all(lake, [
        Mark(row["target_id"], "ada", *(("right",) if n % 3 else ("wrong", None, None, f"edit {n}")))
        for n, row in enumerate(rows)
    ])  # fmt: skip
    add_all(lake, [Mark(row["target_id"], "bob", "wrong") for row in rows[1:4]])


def test_marks_change_what_is_published_and_trained_on(home: Path) -> None:
    ways = {"all": None, "right": Publish(reviewed=True), "thrice": Publish(marks=PublishMarks(weight=3))}
    read = {}
    with Lake.open(home, schema=load("nano").lake_schema) as lake:
        marked(lake)
        for name, publish in ways.items():
            made = load("nano").model_copy(update={"publish": publish})
            publication = tag_and_export(made, lake, home, name)
            read[name] = Counter(row["question"] for row in read_corrections(publication.data("qac")))
            edits = {
                row["correction"] for row in read_corrections(publication.data("qac")) if "edit" in row["correction"]
            }
            assert len(edits) == (0 if publish is None else pytest.approx(MANY / 3, abs=6)), "some are held out"
        model = {"id": "m", "path": "m", "recipe": "aligner", "view": "qac", "tag": "thrice", "base_id": "b"}
        lake.ledger.write("models", [model], run_id="r", message="trained")
        (trained,) = models(lake)
        snapshot = publication.snapshot_id
    everything, right, thrice = (set(read[name]) for name in ways)
    assert set(read["right"].values()) == {1}
    assert right < thrice < everything
    assert len(everything - thrice) <= 2, "what Bob calls wrong and nobody edited"
    assert {read["thrice"][question] for question in right} == {3}
    assert {read["thrice"][question] for question in thrice - right} == {1}
    with Lake.open(home, schema=load("nano").lake_schema, snapshot=snapshot) as pinned:
        assert {row["question"] for row in pinned.rows(trained["rows"])} == thrice, "the rows that trained the model"


def test_marks_change_an_export(home: Path, tmp_path: Path) -> None:
    with Lake.open(home) as lake:
        marked(lake)
        snapshot = str(lake.snapshot())
    command = ("export", snapshot, "--format", "qac", "--held-out", "0", "--json")
    counts = []
    for name, more in (("all", ()), ("reviewed", ("--reviewed",))):
        done = alignery(*command, *more, "--out", str(tmp_path / name), home=home)
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout)["rows"]["qac"]["train"])
    # Of sixty, two that Bob calls wrong are out; the third of those is an edit, which is kept.
    assert counts == [2 * MANY, MANY - 2]
