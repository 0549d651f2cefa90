"""`alignery init`: each start is a folder whose preset is sound, and whose files say what to do next."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from alignery.cli.hints import VERBS
from alignery.config import project
from alignery.config.json_schema import preset_schema
from alignery.config.preset import SHIPPED, load
from alignery.config.project import ProjectError, make


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    monkeypatch.setenv("ALIGNERY_MODEL", "a-model")


@pytest.mark.parametrize("start", project.STARTS)
def test_a_start_is_a_sound_preset_with_words_of_its_own(start: str, tmp_path: Path) -> None:
    make(tmp_path / "my factory", start)
    preset = load(str(tmp_path / "my factory/preset.yaml"))
    assert preset.name == "my factory", "it distinguishes two projects on one lake"
    preset._check_words()
    (words,) = (tmp_path / "my factory/words").rglob("*.yaml")
    assert preset.library().path("constitutional/constitution") == words


def test_an_edited_word_of_a_project_is_the_one_that_is_said(tmp_path: Path) -> None:
    make(tmp_path, "own-data")
    (words,) = (tmp_path / "words").rglob("*.yaml")
    before = load(str(tmp_path / "preset.yaml")).library().principles()
    words.write_text(re.sub(r"critique: \"[^\"]*\"", 'critique: "Is it cruel?"', words.read_text(), count=1))
    after = load(str(tmp_path / "preset.yaml")).library().principles()
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ProjectError, match=r"README.md: got a file that is there already; name another folder"):
        make(tmp_path, "nano")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_readme_of_a_project_names_its_files_and_commands_that_there_are(tmp_path: Path) -> None:
    made = make(tmp_path, "nano")
    readme = (tmp_path / "README.md").read_text()
    named = set(re.findall(r"`([\w./]+)`", readme.split("| file |")[1]))
    assert {path.relative_to(tmp_path).parts[0] for path in made} - {"README.md", ".gitignore"} == {
        name.rstrip("/") for name in named - {".env", ".alignery/"} if (tmp_path / name).exists()
    }
    assert set(re.findall(r"(?m)^alignery (\w+)", readme)) <= set(VERBS)


def test_what_prefect_deploys_is_there(tmp_path: Path) -> None:
    make(tmp_path, "nano")
    names: dict[str, object] = {}
    exec((tmp_path / "deployed.py").read_text(), names)
    deployed = yaml.safe_load((tmp_path / "prefect.yaml").read_text())["deployments"]
    assert len(deployed) == 3
    for one in deployed:
        file, _, flow = one["entrypoint"].partition(":")
        assert (file, callable(names[flow])) == ("deployed.py", True)


def test_the_schema_knows_every_key_and_the_shipped_presets_keep_to_it() -> None:
    check = jsonschema.Draft202012Validator(preset_schema())
    for path in sorted([*SHIPPED.glob("*.yaml"), *(SHIPPED / "init").glob("[!p]*.yaml")]):
        data = yaml.safe_load(path.read_text().replace("@NAME@", "a"))
        assert not list(check.iter_errors(data)), path
    data["line"]["selfinstruct"] = {}
    assert "selfinstruct" in str(list(check.iter_errors(data)))
    assert json.dumps(preset_schema()), "it is JSON"
