"""An evaluation prompt that is named after its rows were published: what is published next is without it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alignery.config.preset import load
from alignery.config.schema import EvaluationSet, PresetError
from alignery.pipeline.refresh import clean
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.training import TrainingStopped, _data, _stopped
from warehouse import Lake, LakeUsageError
from warehouse.query import status


@pytest.fixture
def lake(empty, tmp_path):
    def row(id, **fields):
        return {"id": id, "parents": [], "work_key": id, "created_at": datetime(2026, 1, 1, tzinfo=UTC)} | fields

    asked = {"topic": "t", "origin": "seed", "state": "accepted"}
    records = {"instructions": [], "responses": []}
    for n in range(30):
        records["instructions"].append(row(f"i{n}", text=f"Where do owls live, case {n}?", **asked))
        records["responses"].append(row(f"b{n}", text="In a tree.", kind="principled", instruction_id=f"i{n}"))
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as found:
        found.ledger.append(records, [], run_id="run", step="test.step", fingerprint="f")
        yield found


@pytest.mark.flow
def test_a_late_evaluation_prompt_is_in_no_new_publication_and_stops_a_training_on_an_old_one(lake, tmp_path):
    import pyarrow.dataset as ds

    nano = load("nano")
    before = nano.model_copy(update={"retrain": type(nano.retrain).model_validate({"sft": {}})})
    first = tag_and_export(before, lake, lake.home, None)
    assert not tag_and_export(before, lake, lake.home, None).created
    prompts = [row[0]["content"] for row in ds.dataset(first.data("sft")).to_table()["messages"].to_pylist()]
    named = tmp_path / "named.jsonl"
    named.write_text("\n".join(f'{{"prompt": "{prompt}"}}' for prompt in prompts[:5]))
    line = before.line.model_copy(update={"decontaminate": (EvaluationSet(path=named),)})
    line = type(line).model_validate(line.model_dump())
    preset = before.model_copy(update={"line": line})

    def published(tag):
        return next(row for row in status.tags(lake) if row["name"] == tag)

    with pytest.raises(
        LakeUsageError, match=r"5 rows to train on have prompts of evaluation sets .* `alignery publish`"
    ):
        _data(preset, lake, lake.home, published(first.tag), "sft", clean(preset))
    second = tag_and_export(preset, lake, lake.home, None)
    assert (second.tag, second.rows["sft"]) == ("v2", first.rows["sft"] - 5)
    assert _data(preset, lake, lake.home, published("v2"), "sft", clean(preset)) == second.data("sft")
    assert not tag_and_export(preset, lake, lake.home, None).created
    with pytest.raises(LakeUsageError, match=r"the tag v1 exists .* holds other rows"):
        tag_and_export(preset, lake, lake.home, "v1")


def test_a_near_copy_of_a_late_evaluation_prompt_is_left_out_too(lake, tmp_path):
    import pyarrow.dataset as ds

    def prompts(done):
        rows = ds.dataset(done.data("sft")).to_table()["messages"].to_pylist()
        return {row[0]["content"] for row in rows}

    named = tmp_path / "named.jsonl"
    named.write_text('{"prompt": "Where do most owls live, case 0?"}')
    nano = load("nano")
    before = nano.model_copy(update={"retrain": type(nano.retrain).model_validate({"sft": {}})})
    near = before.line.self_instruct.model_copy(update={"rouge_l": 0.9})
    line = before.line.model_copy(update={"decontaminate": (EvaluationSet(path=named),), "self_instruct": near})
    whole = prompts(tag_and_export(before, lake, lake.home, None))
    done = tag_and_export(before.model_copy(update={"line": line}), lake, lake.home, None)
    assert prompts(done) == whole - {"Where do owls live, case 0?"} < whole


def test_the_sentence_of_a_training_process_is_the_commands_own():
    mistake, failed, killed = (
        _stopped("dpo", Path("view"), code, words)
        for code, words in ((1, "error: model: no"), (1, "failed: the loss was nan"), (-9, ""))
    )
    assert (type(mistake), mistake.exit_code, str(mistake)) == (PresetError, 2, "training dpo on view: model: no")
    assert (type(failed), failed.exit_code) == (TrainingStopped, 1)
    assert str(failed) == "training dpo on view: the loss was nan"
    assert "the process was ended by signal 9" in str(killed)
