"""Presets: what ships loads, what is wrong is named, and what came from the environment stays there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from alignery.config.extras import NotInstalled, check_installed
from alignery.config.preset import SHIPPED, load
from alignery.config.schema import PresetError
from alignery.pipeline.run import Run
from alignery.textfiles import TextFileError
from prompts import Library, PromptError
from warehouse import Lake


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED.glob("*.yaml")])
def test_every_shipped_preset_loads_and_opens_with_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("ALIGNERY_MODEL", "some-model")
    assert load(name).name == name
    first = (SHIPPED / f"{name}.yaml").read_text().splitlines()[0]
    assert ("alignery evaluate" if name == "suites" else "alignery refresh") in first
    assert name == "nano" or f"--preset {name}" in first


SCRIPTED = {"engine": "scripted", "replies": ["yes"]}


def written(folder: Path, **changes: object) -> str:
    preset = {
        "about": "a test",
        "models": {"generator": {"engine": "scripted", "replies": ["yes"]}},
        "line": {"self_instruct": {"accept": 4}},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(preset | changes))
    return str(path)


def server(secret: str) -> dict[str, object]:
    options = {"extra": {"token": secret}}
    return {"generator": {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "options": options}}


def test_a_secret_is_used_and_never_recorded(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-word")
    preset = load(written(tmp_path, models=server("Bearer ${MY_TOKEN}")))
    assert preset.models["generator"].options == {"extra": {"token": "Bearer s3cret-word"}}  # type: ignore[union-attr]
    with Lake.open(tmp_path / "lake") as lake:
        Run(lake, "refresh", preset).start()
        config = lake.rows("SELECT config FROM runs")[0]["config"]
    assert "s3cret" not in config
    assert json.loads(config)["models"]["generator"]["options"] == {"extra": {"token": "Bearer ${MY_TOKEN}"}}


def test_a_variable_that_is_not_set_is_named_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=r"models.generator.options.extra.token: \$\{NOT_SET\} is not set"):
        load(written(tmp_path, models=server("${NOT_SET}")))


def test_a_wrong_value_from_the_environment_is_not_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_URL", "http://me:s3cret@gateway/v1")
    with pytest.raises(PresetError, match=r"base_url: .* \(got a value from the environment\)") as raised:
        load(written(tmp_path, models={"generator": {"engine": "openai", "base_url": "${MY_URL}", "model": "m"}}))
    assert "s3cret" not in str(raised.value)


def test_relative_paths_are_the_presets_own(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    assert load(written(tmp_path, words={"overlay": "./words"})).words.overlay == (tmp_path / "words").resolve()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lines": {}}, r"mine.yaml: lines: no such key; expected one of \['about', 'evaluate', 'follow', 'gate'"),
        (
            {"line": {"self_instruct": {"accept": 0}}},
            "line.self_instruct.accept: got 0, expected a whole number of at least 1, or {new: 500}",
        ),
        ({"words": {"overlay": "./gone"}}, "words.overlay: got .*gone, which is not a folder"),
        (
            {"models": {"generator": {"engine": "transformers", "modell": "x"}}},
            r"models.generator.transformers.modell: no such key; expected one of \['batch_size', 'chat_template",
        ),
        (
            {"line": {"self_instruct": {"accept": 1}, "respond": {"sampling": {"temprature": 1}}}},
            r"sampling.temprature: no such key; expected one of \['choices', 'frequency_penalty'",
        ),
        ({"models": {}}, "models: got no 'generator'"),
        (
            {"models": {"generator": SCRIPTED, "jugde": SCRIPTED}},
            r"models.jugde: got an unknown model alias, expected one of \['g",
        ),
        ({"licences": {"teacher": "MIT"}}, r"licences.teacher: got an unknown model alias"),
        ({"follow": ["teacher"]}, r"follow.teacher: got an unknown model alias"),
        ({"lake": {"data": "s3://me:s3cret99@bucket/x"}}, r"lake.data: got a URL with a password"),
        ({"line": {"self_instruct": {"accept": 1}, "aligner": {"upstreams": ["other"]}}}, "models: got no 'other'"),
        ({"line": {"self_instruct": {"accept": 1}, "squad": {"members": [{"aligner": "a"}]}}}, "models: got no 'a'"),
        ({"line": {"self_instruct": {"accept": 1}, "squad": {"members": [{}, {}]}}}, "squad.members: got .* twice"),
        (
            {"line": {"self_instruct": {"accept": 1}, "aligner": {"upstreams": ["generator"]}}},
            "aligner.upstreams: name",
        ),
        (
            {"line": {"self_instruct": {"accept": 1}, "compare": {"pairs": "revision"}}},
            "compare.pairs: got 'revision' without constitutional",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(PresetError, match=message) as raised:
        load(written(tmp_path, **changes))
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("preset", "verb", "hidden", "extra"),
    [
        ("nano", "refresh", "torch", "local"),
        ("nano", "evaluate", "transformers", "local"),
        ("nano", "retrain", "trl", "train"),
        ("nano", "bootstrap", "peft", "train"),
        ("one-gpu", "plan", "vllm", "vllm"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, preset: str, verb: str, hidden: str, extra: str
) -> None:
    there = dict.fromkeys(("torch", "transformers", "vllm", "trl", "peft", "accelerate"), "yes") | {hidden: None}
    monkeypatch.setattr("alignery.config.extras.find_spec", there.get)
    with pytest.raises(NotInstalled, match=rf"{hidden}, which this Python has not; pip install 'alignery\[{extra}\]'"):
        check_installed(load(preset), verb)
    for idle in ("publish", "maintain"):
        check_installed(load(preset), idle)


def test_a_copy_of_a_shipped_preset_works_from_any_folder(tmp_path: Path) -> None:
    for name in ("nano", "one-gpu"):
        shutil.copy(SHIPPED / f"{name}.yaml", tmp_path)
        assert load(str(tmp_path / f"{name}.yaml")).hash == load(name).hash
    assert load("nano").models["generator"].model == str(SHIPPED.parent / "nano/checkpoint")  # type: ignore[union-attr]


def test_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("about: [")
    with pytest.raises(TextFileError, match=r"broken.yaml: line 1, column 9: not YAML") as raised:
        load(str(path))
    assert len(str(raised.value).splitlines()) == 1


def test_recipes_are_run_after_those_they_start_from(tmp_path: Path) -> None:
    starts = {"engrave": "dpo", "dpo": "verbose", "reward": "constitutional_sft"}
    recipes = ("engrave", "verbose", "constitutional_sft", "dpo", "aligner", "reward")
    retrain = load(written(tmp_path, retrain={"start_from": starts} | {key: {} for key in recipes})).retrain
    assert retrain is not None
    order = retrain.order()
    assert sorted(order) == sorted(recipes)
    assert all(order.index(start) < order.index(recipe) for recipe, start in starts.items())


@pytest.mark.parametrize(
    ("retrain", "complaint"),
    [
        ({"start_from": {"dpo": "sft"}, "dpo": {}}, "start_from: dpo: sft: got no recipe 'sft' here"),
        ({"start_from": {"dpo": "sft"}, "sft": {}}, "start_from: dpo: sft: got no recipe 'dpo' here"),
        ({"start_from": {"dpo": "reward"}, "dpo": {}, "reward": {}}, "its model answers no instructions"),
        ({"start_from": {"dpo": "sft", "sft": "dpo"}, "dpo": {}, "sft": {}}, "start_from: got a circle"),
        ({"start_from": {"dpo": "base"}, "dpo": {}}, "retrain: start_from.dpo: got the recipe 'base', expected one of"),
        ({"dpo": {"view": "pairs"}}, "retrain: dpo.view: got 'pairs', expected one of .*'corrected'"),
        ({"dpo": {"betta": 1}}, "retrain.dpo.betta: no such key; expected one of .*beta"),
    ],
)
def test_a_retraining_that_cannot_be_run_is_refused(tmp_path: Path, retrain: object, complaint: str) -> None:
    with pytest.raises(PresetError, match=complaint):
        load(written(tmp_path, retrain=retrain))


def test_what_begins_as_a_path_and_is_none_stays_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Why?"}\n')
    models = {"generator": {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "./served"}}
    line = {
        "prompts": [{"path": "./prompts.jsonl", "topic": "./deploy.sh"}],
        "respond": {"sampling": {"stop": ["../", "./x"]}},
    }
    preset = load(written(tmp_path, models=models, line=line))
    assert preset.models["generator"].model == "./served"
    (entry,) = preset.line.configs["prompts"].root
    assert (entry.topic, entry.path) == ("./deploy.sh", (tmp_path / "prompts.jsonl").resolve())
    assert preset.line.configs["respond"].sampling.stop == ("../", "./x")


def test_an_adapter_is_the_presets_own_path_and_is_not_left_out_of_a_retraining(tmp_path: Path) -> None:
    from alignery.pipeline.runs.training import base_spec

    path = written(tmp_path, models={"generator": {"engine": "transformers", "model": "./m", "lora": "./adapter"}})
    preset = load(path)
    assert preset.models["generator"].lora == str(tmp_path / "adapter")
    with pytest.raises(PresetError, match=r"models\.generator\.lora: got .*merge the adapter"):
        base_spec(preset)


def test_a_secret_that_is_a_part_of_a_url_is_no_password_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "postgres")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lake")
    url = "postgres://postgres@localhost:5432/lake"
    assert load(written(tmp_path, lake={"catalog": url})).lake.catalog == url
    for bad in ("postgres://me:pw@localhost/lake", "postgres://localhost/lake?user=me&password=pw"):
        with pytest.raises(PresetError, match="a URL with a password, which would be recorded") as refused:
            load(written(tmp_path, lake={"catalog": bad}))
        assert "pw" not in str(refused.value)


@pytest.mark.parametrize("file", ["squad/tidy.yml", "squads/tidy.yaml", "tidy.yaml", "squad/Tidy.yaml"])
def test_a_misplaced_file_that_a_preset_names_itself_is_reported_as_misplaced(tmp_path: Path, file: str) -> None:
    path = tmp_path / "words" / file
    path.parent.mkdir(parents=True)
    path.write_text("id: squad/tidy")
    with pytest.raises(PromptError, match=rf"words\.overlay: got {path}.*rename it to squad/tidy\.yaml"):
        Library("full", tmp_path / "words").prompt("squad/tidy")


@pytest.mark.parametrize(("method", "shape"), [("dialogue", "dialogues"), ("instances", "instructed")])
def test_rows_that_are_in_no_common_shape_are_published_with_their_method(
    tmp_path: Path, method: str, shape: str
) -> None:
    assert shape in load(written(tmp_path, line={"self_instruct": {}, method: {}})).published
    assert shape not in load(written(tmp_path)).published


def test_base_answers_are_published_where_no_method_writes_anything_better(tmp_path: Path) -> None:
    def published(**methods: object) -> list[str]:
        return load(written(tmp_path, line={"self_instruct": {}} | methods)).published

    assert "base_sft" in published()
    assert "base_sft" in published(respond={"sampling": {"max_tokens": 64}}, tagging={})
    assert "base_sft" not in published(self_align={})
    assert "base_sft" not in published(dialogue={}), "it has shapes of its own"


def test_a_mistyped_name_of_a_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(PresetError, match=r"^no preset 'nanoo': did you mean 'nano'\? Otherwise give one of \["):
        load("nanoo")
    with pytest.raises(PresetError, match=r"^no preset 'zzz': give one of \["):
        load("zzz")


@pytest.mark.parametrize("field", ["refresh", "maintain"])
def test_a_number_in_the_place_of_a_cron_line_is_answered_with_one(field: str, tmp_path: Path) -> None:
    preset = yaml.safe_load((SHIPPED / "nano.yaml").read_text())
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(preset | {"schedule": {"refresh": "0 3 * * *", field: 10}}))
    with pytest.raises(
        PresetError, match=rf"schedule.{field}: got 10, expected a cron line .*such as '0 3 \* \* \* *'"
    ):
        load(str(path))
