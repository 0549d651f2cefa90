"""What is shown is text: a lake full of a terminal's commands and of markup, through every verb that looks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner
from works import Works, speak

from alignery.cli import hints
from alignery.cli.main import app
from alignery.cli.marks import marks_app
from alignery.cli.render import console, results
from tasks.engines import ScriptedEngine
from warehouse import Lake

# A title, the clipboard, C1, what reorders text, rich's markup (an end without a beginning), a name of an emoji.
POISON = "\x1b]0;owned\x07\x1b]52;c;eA==\x07\x9b2J\u202eback\u2066 [/] [bold]loud[/bold] [link=x]y[/link] :smile:"
COMMANDS = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066")
MODEL = {"id": f"m{POISON}", "path": f"/models/{POISON}", "recipe": f"dpo{POISON}", "tag": "v1", "base_path": POISON}
DECISION = {"id": "d", "alias": "generator", "state": "promoted", "model": MODEL["id"], "model_path": MODEL["path"]}


@pytest.fixture
def ask(works: Works) -> Callable[..., str]:
    """A verb on a lake of which every word is poisoned; its standard output."""
    poisoned = dataclasses.replace(works, engine=ScriptedEngine(lambda prompt, how: speak(prompt, how) + POISON))
    asyncio.run(poisoned.walk())
    with Lake.open(works.home) as lake:
        # No answer settles this one, so that there is a reason too.
        lake.ledger.write("models", [MODEL | {"view": "sft"}], run_id="r", message=f"models {POISON}")
        lake.ledger.write(
            "decisions", [DECISION | {"decided_by": "hand", "reasons": [POISON]}], run_id="r", message="m"
        )
        run = {"id": f"r{POISON}", "state": "failed", "flow": "refresh", "preset": POISON, "message": POISON}
        lake.ledger.write("runs", [run], run_id="r", message=f"{POISON}")

    def run_verb(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--home", str(works.home)])
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        return done.stdout

    return run_verb


@pytest.mark.flow
def test_no_verb_hands_a_models_words_to_the_terminal(ask: Callable[..., str]) -> None:
    ask("tag", "v1", "-m", POISON)
    (row,) = json.loads(ask("sql", "SELECT id FROM revisions LIMIT 1", "--json"))
    verbs = [["status"], ["status", "--json"], ["models"], ["snapshots"], ["diff", "v1"]]
    verbs += [["trace", row["id"]], ["show", "attempts"], ["show", "attempts", "--json"]]
    shown = {str(verb): ask(*verb) for verb in verbs}
    assert not [verb for verb, text in shown.items() for command in COMMANDS if command in text]
    assert not [verb for verb, text in shown.items() if "owned" not in text and "diff" not in verb]
    (run,) = json.loads(ask("sql", "SELECT message FROM runs WHERE preset IS NOT NULL AND state = 'failed'", "--json"))
    assert run["message"] == POISON


@pytest.mark.parametrize("name", ["[/]", "[bold]", ":smile:", POISON.replace('"', "")])
def test_a_columns_name_is_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    results.rows([{name: 1, "long": "x" * 200}], False, title=name)
    results.records([{name: 1}], False)
    shown = capsys.readouterr().out
    assert shown.count(console.line(name)[:5]) >= 3
    assert not [command for command in COMMANDS if command in shown]


def test_tables_of_any_size_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results.rows([{f"c{n}": n for n in range(500)}], False)
    results.rows([{}], False)
    results.rows([{"cell": "x" * 10_000_000}], False)
    results.records([{"[/]": POISON}], False)
    assert len(capsys.readouterr().out) < 100_000


def test_json_is_strict_whatever_a_value_is(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"f": float("inf"), "n": float("nan"), "t": POISON, "m": {1: b"\xff"}, "d": "\x7f\u2028\U000e0041é🙂"}
    console.as_json([value])
    output = capsys.readouterr().out
    assert not [char for char in output if not char.isprintable() and char != "\n"]
    assert json.loads(output) == [value | {"f": "inf", "n": "nan", "m": {"1": "b'\\xff'"}}]


def test_a_console_of_ascii_gets_escapes_and_json_that_is_read(empty: Path) -> None:
    code = "from alignery.cli.main import main; main()"
    for verb in (["show", "é"], ["sql", "SELECT 'é→🙂' AS a", "--json"]):
        command = [sys.executable, "-c", code, *verb, "--home", str(empty)]
        environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "LANG": "C", "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.stdout.isascii()
    assert json.loads(done.stdout) == [{"a": "é→🙂"}]


def test_bytes_that_are_no_utf_8_are_one_sentence(empty: Path) -> None:
    code = b"from alignery.cli.main import main; main()"
    for verb in ([b"sql", b"SELECT '\xe9'"], [b"status", b"--preset", b"\xe9.yaml"]):
        command = [sys.executable.encode(), b"-c", code, *verb, b"--home", str(empty).encode()]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        assert b"expected UTF-8" in done.stderr


def test_the_commands_that_are_named_run_as_they_stand(empty: Path, works: Works, tmp_path: Path) -> None:
    """For a lake in a home of its own, with a preset of its own, both with a space and a quote in their names."""
    home, preset = tmp_path / "a home's", tmp_path / "my preset.yaml"
    shutil.copytree(empty, home)
    shutil.copy(tmp_path / "test.yaml", preset)
    runner = CliRunner()

    def output_of(*arguments: str, home: Path = home) -> str:
        return runner.invoke(app, [*arguments, "--home", str(home), "--preset", str(preset)]).output

    output_of("tag", "v1")
    with Lake.open(home) as lake:
        lake.ledger.write("models", [MODEL | {"view": "preferences", "path": "/m"}], run_id="r", message="m")
    query = output_of("models").split("its rows: ")[1]
    program, verb, *rest = shlex.split(query)
    assert (program, verb) == ("alignery", "sql")
    assert {str(home), str(preset)} <= set(rest)
    done = runner.invoke(app, [verb, *rest])
    assert done.exit_code == 0, (query, done.output)
    made = output_of("tables", home=tmp_path / "no ne").split("`")[1]
    assert shlex.split(made) == ["alignery", "refresh", "--home", str(tmp_path / "no ne"), "--preset", str(preset)]


def test_every_verb_is_one_that_is_named_with_its_options() -> None:
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    of_marks = {f"marks {command.name or command.callback.__name__}" for command in marks_app.registered_commands}  # type: ignore[union-attr]
    verbs -= {"fetch", "init", "demo", "schema", "server"}  # which have no preset, or no home
    assert set(hints.VERBS) == verbs | of_marks


def test_other_words_are_no_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_options", {"--home": "/a b"})
    assert hints.runnable("see `alignery tag`") == "see `alignery tag --home '/a b'`"
    for words in ("this alignery knows 3", "/x/alignery status", "alignery tagged", "alignery tag-1"):
        assert hints.runnable(words) == words


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_number_with_its_interval_is_never_broken_nor_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"calls": "12,345 (11,111–13,333)", "tokens in": "1,234,567 (1,111,111–1,333,333)", "saved": 12345}
    row = {"step": "constitutional.critique", **figures, "measured on": "5 rows, probe"}
    out = StringIO()
    shown = console._Literal(file=out, width=width, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(results, "console", lambda: shown)
    results.rows([row, row], False)
    assert [value for value in map(str, figures.values()) if out.getvalue().count(value) != 2] == []
    assert ("┏" in out.getvalue()) == (width == 160)


@pytest.mark.parametrize("shapes", [("sft",), ("sft", "qac")])
@pytest.mark.parametrize("name", ["ex", "ex[2]", "it's", "ex[a", "e*x?"])
def test_the_line_that_loads_an_export_loads_it(
    name: str, shapes: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    from warehouse.export.export import Export

    for place, shape in enumerate(shapes):
        data = tmp_path / name / "data" / (shape if len(shapes) > 1 else "")
        data.mkdir(parents=True)
        for split in ("train", "test"):
            pq.write_table(pa.table({"a": [place]}), data / f"{split}-00000-of-00001.parquet")
    counts = {shape: {"train": 1, "test": 1} for shape in shapes}
    results.exported(Export(tmp_path / name, None, 1, "hash", counts, True), False)
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("Load it: ")
    if len(shapes) == 1 or "[" in name:
        loaded = eval(line, {"datasets": datasets})
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 1, "test": 1}


@pytest.mark.parametrize(("has_evaluation", "verb"), [(True, "evaluate"), (False, "models")])
def test_after_a_training_the_next_command_is_one_that_the_preset_can_run(
    has_evaluation: bool, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results.trained([], has_evaluation, as_json=False)
    assert capsys.readouterr().out.startswith(f"Next: alignery {verb}")
