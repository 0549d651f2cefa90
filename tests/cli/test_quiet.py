"""--quiet: the result and errors, and nothing else; before the verb or after it, and the same JSON."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from alignery.cli import (
    entry,
    hints,
    main,  # noqa: F401  # registers the verbs
)
from alignery.pipeline import progress

REFRESH = ("refresh", "--no-prefect", "--preset", "preset.yaml")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two prompts, refreshed once."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "prompts.jsonl").write_text('{"prompt": "Name the colour of a clear sky."}\n')
    (folder / "preset.yaml").write_text(
        "about: a\nwords: {variant: nano}\n"
        "models: {generator: {engine: scripted, replies: ['Blue is the colour of a clear sky.']}}\n"
        "line: {prompts: [{path: ./prompts.jsonl}], respond: {}}\n"
    )
    return folder


@pytest.fixture
def run(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(made)
    monkeypatch.setattr(hints, "_options", {})

    def verb(*arguments: str) -> tuple[int, str, str]:
        code = entry.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return verb


def test_the_result_is_said_and_nothing_else(run) -> None:
    code, out, err = run(*REFRESH, "--home", "loud")
    assert (code, "respond.answer 1/1" in err, "next: alignery publish" in out) == (0, True, True)
    code, out, err = run(*REFRESH, "--home", "still", "--quiet")
    assert (code, err) == (0, "")
    assert "1 of 1 instructions accepted; sent 1 requests" in out
    assert "next:" not in out


def test_before_the_verb_it_is_the_same_and_it_ends_with_it(run) -> None:
    code, out, err = run("-q", *REFRESH, "--home", "before")
    assert (code, err, "next:" in out) == (0, "", False)
    assert progress.stream() is not None
    assert "next: alignery publish" in run(*REFRESH, "--home", "before")[1]
    assert logging.getLogger("warehouse").level == logging.NOTSET


def test_the_json_is_the_same(run) -> None:
    found = []
    for given in ([], ["--quiet"]):
        code, out, _ = run(*REFRESH, "--home", f"json{len(given)}", "--json", *given)
        found.append(json.loads(out))
        assert code == 0
    assert [one["run"]["state"] for one in found] == ["finished"] * 2
    assert found[0].keys() == found[1].keys()


def test_errors_are_said(run) -> None:
    code, out, err = run("refresh", "--no-prefect", "--preset", "none.yaml", "-q")
    assert (code, out) == (2, "")
    assert "no preset file 'none.yaml'" in err
