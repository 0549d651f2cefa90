"""Methods from outside: how they are found, and what a broken one says."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from alignery.config.preset import load
from alignery.config.schema import PresetError
from tasks.methods import registry
from tasks.methods.registry import MethodError, built_in, installed

METHOD = """
from alignery import Method, MethodConfig

class Config(MethodConfig):
    pass

method = Method({name!r}, Config, lambda library, config, context: {stages}, {more})
"""
PRESET = """
about: x
models: {{generator: {{engine: scripted, replies: ["x"]}}}}
methods: [./method.py]
line: {{self_instruct: {{}}, {name}: {{}}}}
"""


def written(folder: Path, source: str | None = None, name: str = "mine", stages: str = "[]", more: str = "") -> Path:
    """A preset beside a method."""
    code = source if source is not None else METHOD.format(name=name, stages=stages, more=more)
    (folder / "method.py").write_text(code)
    (folder / "preset.yaml").write_text(PRESET.format(name=name))
    return folder / "preset.yaml"


def test_a_method_beside_a_preset_is_one_of_its_own_and_of_no_other(tmp_path: Path) -> None:
    preset = load(str(written(tmp_path)))
    assert "mine" in preset.registry.installed
    assert preset.line.configs.keys() == {"self_instruct", "respond", "mine"}
    assert "mine" not in load("nano").registry.installed
    assert preset.recorded()["methods"] == [str(tmp_path / "method.py")]
    assert "methods" not in load("nano").recorded(), "a preset without any has the hash that it had"


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'; correct it"),
        ("def broken(:", "cannot be loaded: SyntaxError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("method = 5", "got a int under the name 'method', expected an alignery.Method"),
        ("", "got nothing under the name 'method'"),
        ("x = '\\x00'\n1/0", "cannot be loaded: ZeroDivisionError"),
    ],
)
def test_a_broken_one_is_one_sentence_that_names_the_file_and_the_cause(
    source: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(PresetError, match=match) as error:
        load(str(written(tmp_path, source)))
    assert "method.py" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"name": "respond"}, "both have it; rename one"),
        ({"name": "chunk"}, "a line has a setting of that name"),
        ({"name": "My-Method"}, "expected lower-case letters"),
        ({"more": "source=True"}, "source: got one without `requests`"),
        ({"more": "recipes={'dpo': None}"}, "the recipe 'dpo' is that of the method constitutional"),
        ({"more": "views=__import__('pathlib').Path('/nowhere')"}, "expected a folder"),
    ],
)
def test_one_that_contradicts_another_names_both(how: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=message):
        load(str(written(tmp_path, **how)))


def test_a_file_that_is_not_there_and_a_key_that_is_no_list_are_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "method.py").unlink()
    with pytest.raises(PresetError, match=r"methods: methods: got .*method.py: No such file"):
        load(str(path))
    path.write_text(path.read_text().replace("[./method.py]", "{a: b}"))
    with pytest.raises(PresetError, match=r"expected a list of paths"):
        load(str(path))


def test_a_stage_that_calls_a_model_that_its_method_does_not_declare_is_refused(tmp_path: Path) -> None:
    source = """
from dataclasses import replace
from alignery import Method, MethodConfig
from tasks.methods.respond import method as respond

def stages(library, config, context):
    (answer,) = respond.stages(library, respond.Config(), context)
    return [replace(answer, name="mine.answer", provides=None, model="jugde")]

method = Method("mine", MethodConfig, stages)
"""
    with pytest.raises(MethodError, match=r"stage mine.answer: got the model 'jugde', which it does not declare"):
        load(str(written(tmp_path, source))).check()


def test_an_unknown_key_is_answered_with_the_installed_methods(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("mine: {}", "mien: {}"))
    with pytest.raises(PresetError, match=r"line.mien: no such key; expected one of .*'mine'.*; rename it to mine"):
        load(str(path))


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Any:
    def offer(*points: EntryPoint) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: list(points))
        installed.cache_clear()

    yield offer
    monkeypatch.undo()
    installed.cache_clear()


def test_a_package_offers_its_method_and_a_broken_package_is_named(points: Any) -> None:
    points(EntryPoint("mine", "tasks.methods.respond.method:nothing", registry.GROUP))
    with pytest.raises(MethodError, match=r"tasks.methods.respond.method:nothing: cannot be loaded: AttributeError"):
        installed()
    points(EntryPoint("again", "tasks.methods.respond.method:method", registry.GROUP))
    with pytest.raises(MethodError, match=r"method respond: .* and built in both have it"):
        installed()
    points()
    assert list(installed().installed) == list(built_in().installed)
