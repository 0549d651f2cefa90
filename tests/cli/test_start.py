"""The first verbs that a user types: `init`, `check`, `schema`, `--version`, and the groups of the help."""

from __future__ import annotations

import json
import os
import re
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from alignery.cli import entry, hints
from alignery.cli import main as verbs
from alignery.cli.options import app
from nano.files import HELD_OUT
from tasks.engines.scripted import ScriptedEngine
from tasks.filters.contamination import COPY, Contamination


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = entry.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hints, "_options", {})
    return tmp_path


def test_a_project_is_made_and_its_preset_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "init", "mine", "--from", "own-data")
    assert code == 0
    assert "cd mine && alignery check --preset preset.yaml" in out
    os.chdir("mine")
    code, out, _ = run(capsys, "check", "--preset", "preset.yaml", "--json")
    found = {one["check"]: one for one in json.loads(out)}
    assert code == 0
    assert {name: one["state"] for name, one in found.items()} | {"gpu": "ok"} == dict.fromkeys(
        ("preset", "gpu", "models.generator", "disk", "lake"), "ok"
    )
    assert "answered in" in found["models.generator"]["what"]
    assert not Path(".alignery").exists(), "a look makes no lake"


@pytest.mark.flow
def test_the_work_is_done_without_prefect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "init", "mine", "--from", "own-data")
    os.chdir("mine")
    code, out, err = run(capsys, "refresh", "--preset", "preset.yaml", "--no-prefect", "--json")
    assert (code, json.loads(out)["run"]["state"]) == (0, "finished")
    assert re.search(r"respond\.answer (\d+)/\1\b", err), "it shows how far it is"
    code, out, _ = run(capsys, "publish", "--preset", "preset.yaml", "--no-prefect")
    assert code == 0
    assert Path(".alignery/exports/v1/README.md").is_file()
    assert not Path(".alignery/prefect").exists()


def test_no_prompt_of_a_new_project_is_near_one_that_its_models_are_evaluated_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "mine", "--from", "own-data")
    files = (HELD_OUT, folder / "mine" / "prompts.jsonl")
    asked, texts = ([json.loads(row)["prompt"] for row in file.read_text().splitlines()] for file in files)
    assert len(texts) >= 16
    contamination = Contamination(asked, near=COPY)
    assert {text: reason for text in texts if (reason := contamination.reason(text))} == {}


def test_a_start_that_there_is_not_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "init", "mine", "--from", "mars")
    assert code == 2
    assert "--from: got 'mars', expected one of ['nano', 'vllm', 'server', 'own-data']" in err
    assert not (folder / "mine").exists()


def test_what_does_not_answer_is_a_problem_with_its_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text(
        "about: a\nmodels: {generator: {engine: openai, base_url: 'http://localhost:1/v1', model: m,"
        " give_up_after_s: 0.2}}\nline: {self_instruct: {accept: 1, max_candidates: 2}, respond: {}}\n"
    )
    code, out, _ = run(capsys, "check", "--preset", "p.yaml", "--json")
    assert code == 1
    (problem,) = (one for one in json.loads(out) if one["state"] == "problem")
    assert problem["check"] == "models.generator"
    assert "Cannot connect" in problem["what"]
    code, out, _ = run(capsys, "check", "--preset", "p.yaml", "--no-ask")
    assert code == 0


def test_the_demo_runs_the_four_verbs_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, Path]] = []
    for name in ("refresh", "publish", "retrain", "evaluate"):

        def verb(home: Path, prefect: bool, name: str = name) -> None:
            assert prefect
            done.append((name, home))

        verb.__name__ = name
        monkeypatch.setattr(verbs, name, verb)
    assert entry.main(["demo", "--home", "here"]) == 0
    assert done == [(name, Path("here")) for name in ("refresh", "publish", "retrain", "evaluate")]


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"alignery {version('alignery')}\n")


def test_the_schema_is_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")
    assert code == 0
    assert {"models", "line"} <= set(json.loads(out)["properties"])


def test_every_verb_stands_in_a_group_of_the_help() -> None:
    named = [name for group in verbs.GROUPS.values() for name in group]
    known = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    assert known == named


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.csv", "Question,Answer\nwhy?,so\n", "a.csv: got no column 'User Question', expected one of ['Question', "),
        ("a.jsonl", '{"Question": "why?"}\n' * 3, "no prompt in its first 3 rows, expected one in `User Question`"),
        ("a.jsonl", "", None),
        ("a.jsonl", '{"Question": "why?"}\n{"User Question": "why?"}\n', None),
    ],
)
def test_data_without_the_column_of_the_prompt_is_a_problem(
    file: str, text: str, message: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_text(text)
    Path("p.yaml").write_text(
        "about: a\nmodels: {generator: {engine: scripted, replies: [x]}}\n"
        f"line: {{prompts: [{{path: ./{file}, field: User Question}}], respond: {{}}}}\n"
    )
    code, out, _ = run(capsys, "check", "--no-ask", "--preset", "p.yaml", "--json")
    problems = [one for one in json.loads(out) if one["state"] == "problem"]
    assert code == bool(message)
    assert [one["check"] for one in problems] == ["prompts.a"] * bool(message)
    assert (message or "") in "".join(one["what"] for one in problems)


def test_what_a_library_warns_of_is_not_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(message))
    monkeypatch.setattr(ScriptedEngine, "generate", lambda *_: warnings.warn("old", FutureWarning, stacklevel=1))
    Path("p.yaml").write_text(
        "about: a\nmodels: {generator: {engine: scripted, replies: [x]}}\nline: {self_instruct: {}, respond: {}}\n"
    )
    with pytest.raises(TypeError, match="await"):  # the reply is none
        run(capsys, "check", "--preset", "p.yaml")
    assert not shown


@pytest.mark.parametrize("command", [(), ("refresh",), ("marks",), ("marks", "queue")])
def test_help_shows_flags_without_a_value(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert "--help" in out
    assert "bool" not in out.lower()


@pytest.mark.parametrize("there", [".", "../here", ""])
def test_a_project_in_this_folder_needs_no_cd(
    there: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("here").mkdir()
    monkeypatch.chdir("here")
    code, out, err = run(capsys, "init", *[there] * bool(there))
    assert code == 0
    assert "Next: alignery check --preset preset.yaml" in " ".join((out + err).split())
