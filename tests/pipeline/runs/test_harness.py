"""Tasks of lm-evaluation-harness over local files, asked of the real nano: the figures are lm_eval's own."""

from __future__ import annotations

import asyncio
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from test_judging import spoil

from alignery.config.preset import Preset, build
from alignery.config.schema import PresetError
from alignery.pipeline.refresh import held_out_of
from alignery.pipeline.runs.evaluation import evaluate_models
from alignery.pipeline.runs.promotion import promote_candidates
from nano.player import CHECKPOINT
from tasks.evaluate.suites.config import Config
from tasks.evaluate.suites.harness import HarnessError, load
from warehouse import Lake

with_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: pip install 'alignery[lm-eval]'")
OPTIONS = [
    ("What is the colour of snow?", ["white", "black as coal", "green"], 0),
    ("Who cares for sick animals?", ["a baker", "a vet", "the man who mends roofs"], 1),
    ("What do bees make?", ["milk", "bread", "honey"], 2),
    ("Where do fish live?", ["in water", "in trees"], 0),
]
CHOICE: dict[str, Any] = {
    "task": "things",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{options}}",
    "doc_to_target": "answer",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
}
TAKE = {"function": "take_first"}
WRITTEN: dict[str, Any] = {
    "task": "words",
    "output_type": "generate_until",
    "doc_to_text": "Human: {{question}}\nAssistant:",
    "doc_to_target": "{{options[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 24, "do_sample": False},
    "filter_list": [
        {"name": "whole", "filter": [TAKE]},
        {"name": "word", "filter": [{"function": "regex", "regex_pattern": "(water|white|vet)"}, TAKE]},
    ],
    "metric_list": [
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_punctuation": True}
    ],
}  # fmt: skip


def tasks(folder: Path, *made: dict[str, Any], count: int = 4) -> Path:
    """A folder of tasks over one file of documents."""
    folder.mkdir(exist_ok=True)
    rows = [{"question": question, "options": given, "answer": right} for question, given, right in OPTIONS]
    (folder / "things.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": str(folder / "things.jsonl")}}
    for task in made:
        whole = data | {"test_split": "train"} | task
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(whole))
    return folder


def suite(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "lm_eval": {"task": name, "include_path": str(folder), "apply_chat_template": False} | more}


def preset(*suites: dict[str, Any], **sections: Any) -> Preset:
    nano = {"engine": "transformers", "model": str(CHECKPOINT), "threads": 1}
    whole: dict[str, Any] = {
        "name": "harness",
        "about": "a test",
        "words": {"variant": "nano"},
        "models": {"generator": nano},
        "line": {"self_instruct": {}},
        "evaluate": {"suites": list(suites)},
    }
    return build(whole | sections)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"name": "twins", "lm_eval": {"task": "arc_easy"}}, "the name of a suite that is there"),
        ({"name": "own", "lm_eval": {"task": "arc_easy"}, "kind": "letters"}, "kind: goes with a path"),
        ({"name": "own", "lm_eval": {"task": "arc_easy"}, "path": __file__, "kind": "letters"}, "got a path too"),
        ({"name": "own", "lm_eval": {"task": "x", "include_path": "/no/such"}}, "which is not a folder"),
        ({"name": "own", "path": __file__, "kind": "lm_eval"}, "kind"),
    ],
)
def test_an_entry_that_is_unclear_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Config.model_validate(given)


def test_a_suite_without_a_task_is_recorded_as_before_there_were_any() -> None:
    assert Config(name="twins", limit=2).model_dump(mode="json") == {
        **{"name": "twins", "path": None, "kind": None, "limit": 2}
    }


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm_eval is installed")
def test_without_lm_eval_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        HarnessError, match=r"things: lm_eval: got no lm_eval that can be imported .*alignery\[lm-eval\]"
    ):
        preset(suite(tasks(tmp_path / "own", CHOICE), "things")).check()


@with_lm_eval
def test_a_documents_row_has_its_words_what_is_sent_and_what_is_right(tmp_path: Path) -> None:
    folder = tasks(tmp_path / "own", CHOICE | {"fewshot_split": "train"}, WRITTEN)
    made = load(Config.model_validate(suite(folder, "things", num_fewshot=1) | {"limit": 2}))
    first, second = made.rows
    assert (first["prompt_id"], second["prompt_id"]) == ("things/things/0", "things/things/1")
    assert first["prompt"] == "Question: What is the colour of snow?\nAnswer:"
    assert first["context"].endswith(f"\n\n{first['prompt']}")
    assert first["context"].startswith("Question: ")
    assert first["context"].count("Question:") == 2
    assert (first["options"], first["answer"]) == ([" white", " black as coal", " green"], "white")
    assert made.better == {"acc": "higher", "acc_norm": "higher"}
    reply = json.dumps({"logs": [-2.0, -3.0, -9.0]})
    assert made.score(first, reply) == {"acc": 1.0, "acc_norm": 0.0}  # for its length the second is the likeliest
    assert made.score(first, "") == {"acc": 0.0, "acc_norm": 0.0}
    words = load(Config.model_validate(suite(folder, "words")))
    assert words.better == {"exact_match/whole": "higher", "exact_match/word": "higher"}
    assert words.score(words.rows[0], "It is white.") == {"exact_match/whole": 0.0, "exact_match/word": 1.0}
    assert words.score(words.rows[0], "") == {"exact_match/whole": 0.0, "exact_match/word": 0.0}
    texts = held_out_of(preset(suite(folder, "things"), suite(folder, "words")))
    assert len(texts) == 8
    assert "Human: What is the colour of snow?\nAssistant:" in texts


@with_lm_eval
def test_figures_are_those_of_lm_evals_own_evaluator_and_nothing_is_asked_twice(tmp_path: Path, empty: Path) -> None:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = tasks(tmp_path / "own", CHOICE | {"fewshot_split": "train", "num_fewshot": 2}, WRITTEN)
    with Lake.open(shutil.copytree(empty, tmp_path / "lake")) as lake:
        made = preset(suite(folder, "things"), suite(folder, "words"))
        (base,) = asyncio.run(evaluate_models(made, lake))
        answers = lake.rows("SELECT suite, text FROM eval_answers ORDER BY suite, prompt_id")
        attempts = lake.rows("SELECT count(*) AS n FROM attempts")
        assert asyncio.run(evaluate_models(made, lake)) == [base]
        assert lake.rows("SELECT count(*) AS n FROM attempts") == attempts
        evals = {(row["suite"], row["metric"]): row["value"] for row in lake.rows("SELECT * FROM evals")}
    theirs = simple_evaluate(
        HFLM(pretrained=str(CHECKPOINT), device="cpu", add_bos_token=True),
        tasks=["things", "words"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    for name, task in theirs["results"].items():
        for metric, value in task.items():
            label, _, kind = metric.partition(",")
            if kind and "stderr" not in label:
                assert evals[name, label if kind == "none" else f"{label}/{kind}"] == pytest.approx(value), metric
    logs = [json.loads(row["text"])["logs"] for row in answers if row["suite"] == "things"]
    for ours, sample in zip(logs, theirs["samples"]["things"], strict=True):
        assert ours == pytest.approx([reply[0][0] for reply in sample["resps"]], abs=1e-3)
    texts = [row["text"] for row in answers if row["suite"] == "words"]
    their_texts = [sample["resps"][0][0].removeprefix(" ") for sample in theirs["samples"]["words"]]
    assert their_texts == 2 * texts  # once for each filter


@with_lm_eval
def test_a_tasks_metrics_are_axes_of_the_gate_document_by_document(tmp_path: Path, empty: Path) -> None:
    folder, other = tasks(tmp_path / "own", CHOICE, WRITTEN), shutil.copytree(CHECKPOINT, tmp_path / "other")
    spoil(other / "model.safetensors")
    suites = [suite(folder, "things", apply_chat_template=True), suite(folder, "words")]
    axes = {"knows": ["things.acc_norm"], "says": ["words.exact_match/word", "words.exact_match/whole"]}
    made = preset(*suites, gate={"axes": axes, "prompts": 1})
    made.check()
    base = made.spec("generator")
    row = {"id": base.model_copy(update={"model": str(other)}).identity(), "path": str(other), "recipe": "engrave"}
    with Lake.open(shutil.copytree(empty, tmp_path / "lake")) as lake:
        lake.ledger.write("models", [row | {"base_id": base.identity()}], run_id="run-0", message="a test")
        (decided,) = asyncio.run(promote_candidates(made, lake))
        figures = json.loads(lake.rows("SELECT figures FROM decisions")[0]["figures"])
    assert decided.state == "kept"
    assert {axis["axis"]: axis["prompts"] for axis in figures} == {"knows": 4, "says": 4}
    with pytest.raises(PresetError, match=r"gate.axes.x: got 'things.f1', expected a metric of a suite"):
        preset(*suites, gate={"axes": {"x": ["things.f1"]}}).check()


@with_lm_eval
@pytest.mark.parametrize(
    ("task", "more", "complaint"),
    [
        ({}, {"task": "thing"}, r"got 'thing', which is not among .* \(near are \['things'\]\); "),
        ({}, {"metrics": ["f1"]}, r"metrics: got \['f1'\], expected some of \['acc', 'acc_norm'\]"),
        (
            {"output_type": "loglikelihood"},
            {},
            "got the type loglikelihood, expected generate_until or multiple_choice",
        ),
        ({"unsafe_code": True}, {}, "runs code which a model wrote"),
        ({"repeats": 3}, {}, "got repeats 3, expected one reply"),
        ({"dataset_path": "no/such"}, {}, r"cannot be loaded: .*no/such.*HF_HUB_OFFLINE=0 lets them be fetched"),
        ({"test_split": "exam"}, {}, r"cannot be loaded: KeyError: .*exam"),
        ({"metric_list": [{"metric": "f1"}]}, {}, "has no figure of a single document"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    tmp_path: Path, task: dict[str, Any], more: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")  # as a user's process, in which nothing says that it is offline
    folder = tasks(tmp_path / "own", CHOICE | task)
    with pytest.raises(HarnessError, match=complaint):
        preset(suite(folder, "things", **more)).check()


@with_lm_eval
def test_an_engine_without_log_probabilities_is_refused_for_choices_alone(tmp_path: Path, empty: Path) -> None:
    folder = tasks(tmp_path / "own", CHOICE, WRITTEN)
    models = {"generator": {"engine": "scripted", "replies": ["It is white."]}}
    with Lake.open(shutil.copytree(empty, tmp_path / "lake")) as lake:
        (base,) = asyncio.run(evaluate_models(preset(suite(folder, "words"), models=models), lake))
        figures = {row["metric"]: row["value"] for row in base.figures}
        assert figures["words.exact_match/word"] == 0.25
        with pytest.raises(HarnessError, match="which the engines transformers and vllm give"):
            asyncio.run(evaluate_models(preset(suite(folder, "things"), models=models), lake))
