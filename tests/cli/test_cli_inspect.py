"""The verbs that look, on a lake that a whole line was walked over: for people, and as JSON for scripts."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner
from works import PRINCIPLES, Works, make, speak, write_principles

from alignery.cli.main import app
from alignery.cli.render import console
from prompts import Message
from tasks.engines import Sampling, ScriptedEngine
from warehouse import Lake
from warehouse.export.publish import tag

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Works:
    """A line that was walked twice, under a changed principle."""
    works = make(tmp_path_factory.mktemp("walked"), empty)
    asyncio.run(works.walk())
    write_principles(works.words, [{**PRINCIPLES[0], "revision": "revise anew"}, *PRINCIPLES[1:]])
    asyncio.run(works.walk())
    return works


@pytest.fixture
def works(walked: Works, tmp_path: Path) -> Works:
    """The same over a lake of its own."""
    return replace(walked, home=shutil.copytree(walked.home, tmp_path / "walked"))


@pytest.fixture
def ask(works: Works) -> Ask:
    """Run a verb on a walked lake; its standard output."""
    runner = CliRunner()

    def run(*arguments: str, code: int = 0) -> str:
        done = runner.invoke(app, [*arguments, "--home", str(works.home)])
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.stderr

    return run


def rows(ask: Ask, *arguments: str) -> list[dict]:
    return json.loads(ask(*arguments, "--json"))


def test_a_tag_is_looked_at_as_it_stood(ask: Ask) -> None:
    first = next(row for row in reversed(rows(ask, "snapshots", "-n", "100")) if "revise" in str(row["message"]))
    made = json.loads(ask("tag", "early", "--at", str(first["snapshot_id"]), "-m", "after the first", "--json"))
    assert (made["snapshot_id"], made["created"]) == (first["snapshot_id"], True)
    assert "it had that name already" in ask("tag", "early", "--at", str(first["snapshot_id"]))
    count = ("sql", "SELECT count(*) AS n FROM revisions")
    then, now = rows(ask, *count, "--at", "early")[0]["n"], rows(ask, *count)[0]["n"]
    assert 0 < then < now
    assert len(rows(ask, "show", "revisions", "-n", "1000", "--at", "early")) == then
    listed = {row["name"]: row["rows"] for row in rows(ask, "tables", "--at", "early")}
    assert (listed["revisions"], listed["tags"]) == (then, 0)
    assert "there are no tags yet" not in ask("sql", "SELECT 1", "--at", "nope", code=2)
    assert "early" in ask("snapshots", "-n", "100")
    assert "none: only tagged" in ask("status")


def test_the_diff_names_what_a_changed_principle_superseded(ask: Ask) -> None:
    run = rows(ask, "sql", "SELECT DISTINCT run_id, min(snapshot_id) AS s FROM revisions GROUP BY 1 ORDER BY 2")[-1]
    before = str(run["s"] - 1)
    found = json.loads(ask("diff", before, "--json"))
    gone = sum(view["gone"] for view in found["views"])
    assert gone == sum(view["new"] for view in found["views"]) > 0
    tables = {row["name"]: row["new"] for row in found["tables"]}
    assert tables["instructions"] == 0 < tables["revisions"]
    shown = ask("diff", before, "-n", "1")
    assert "the same by topic" in shown
    assert "gone" in shown
    assert "→" in shown


def test_rejects_say_why_with_samples(tmp_path: Path, empty: Path) -> None:
    works = make(tmp_path, empty)

    def curt(prompt: str | list[Message], sampling: Sampling) -> str:
        text = prompt[0]["content"]  # type: ignore[index]
        return " " if text.startswith("respond/answer") else speak(prompt, sampling)

    works.engine = ScriptedEngine(curt)
    asyncio.run(works.walk())
    out = CliRunner().invoke(app, ["rejects", "--step", "respond.answer", "-n", "2", "--home", str(works.home)]).stdout
    assert "empty reply" in out
    assert "100.0%" in out
    assert out.count("asked: Write of") == 2


def test_a_trace_is_drawn_from_the_request_to_the_models(ask: Ask, works: Works) -> None:
    (revision,) = rows(ask, "sql", "SELECT id FROM preferences ORDER BY id LIMIT 1")
    ask("tag", "v1")
    with Lake.open(works.home) as lake:
        model = {"id": "m", "path": "/models/dpo-1", "recipe": "dpo", "tag": "v1", "base_path": "/models/base"}
        lake.ledger.write("models", [model], run_id="r", message="m")
    shown = ask("trace", revision["id"][:8])
    for words in ("comes from, the oldest first", "request", "seed ", "constitutional/critique", "preferences of v1"):
        assert words in shown
    assert "trained dpo-1" in shown
    found = json.loads(ask("trace", revision["id"], "--json"))
    assert {"requests", "instructions", "responses", "critiques"} <= {node["record_table"] for node in found["nodes"]}
    assert found["uses"][0]["models"][0]["ids"] == [revision["id"]]
    listed = ask("models")
    assert f"its rows: alignery sql --home {works.home} --at v1 'SELECT * FROM preferences WHERE NOT " in listed
    assert "from /models/base" in listed
    assert "→ dpo-1" in ask("snapshots")
    assert "give 6 characters" in ask("trace", "0", code=2)


def test_status_says_what_each_run_was_saved(ask: Ask, works: Works) -> None:
    totals = {"sent": 30, "saved": 90}
    with Lake.open(works.home) as lake:
        row = {
            "id": "last",
            "state": "finished",
            "flow": "refresh",
            "totals": json.dumps(totals),
            "message": "so it is",
        }
        lake.ledger.write("runs", [row], run_id="last", message="a run")
    assert rows_of_status(ask)[0]["saved_share"] == 0.75
    shown = ask("status")
    assert "90 (75.0%)" in shown
    assert "refresh last finished: so it is" in shown


def rows_of_status(ask: Ask) -> list[dict]:
    return json.loads(ask("status", "--json"))["runs"]


def test_the_principles_are_shown_by_what_they_changed(ask: Ask) -> None:
    found = rows(ask, "show", "principles", "-n", "9")
    assert [row["changed"] for row in found] == sorted((row["changed"] for row in found), reverse=True)
    assert {row["principle_id"] for row in found} <= {principle["id"] for principle in PRINCIPLES}
    assert next(row for row in found if row["principle_id"] == "p0")["wordings"] == 2


@pytest.mark.parametrize("width", [80, pytest.param(160, marks=pytest.mark.flow)])
def test_nothing_is_wider_than_the_terminal(
    ask: Ask, works: Works, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("tag", "v1", "--at", str(works.snapshot() - 1))
    monkeypatch.setattr(console, "WIDTH", width)
    (row,) = rows(ask, "sql", "SELECT id FROM sft LIMIT 1")
    for verb in (["status"], ["snapshots"], ["rejects"], ["diff", "v1"], ["trace", row["id"]], ["tables"]):
        shown = ask(*verb)
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width, verb
    # A table whose cells would be slivers is not a table.
    assert ("┃" in ask("sql", "SELECT * FROM sft")) == (width == 160)


def test_a_models_words_command_no_terminal() -> None:
    assert console.plain("a\x1b[2Jb\x07\r\x9bc\nd") == "a\\x1b[2Jb\\x07\\x0d\\x9bc\nd"
    assert console.line("a\n\n  b\tc " * 99, 10) == "a b c …"


@pytest.mark.flow
def test_the_verbs_import_nothing_heavy(works: Works) -> None:
    home = works.home
    code = (
        "import json, sys\nfrom alignery.cli.main import app\n"
        "for verb in json.loads(sys.argv.pop()):\n"
        "    try: app([*verb, '--home', sys.argv[1]])\n"
        "    except SystemExit as done: assert not done.code, verb\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    with Lake.open(home) as lake:
        tag(lake, "v1", lake.snapshot(), run_id="r")
        (row,) = lake.rows("SELECT id FROM revisions LIMIT 1")
    verbs = [["status"], ["snapshots"], ["rejects"], ["diff", "v1"], ["trace", row["id"]], ["models"]]
    verbs += [["show", "principles", "--at", "v1"]]
    command = [sys.executable, "-c", code, str(home), json.dumps(verbs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not set(done.stderr.split()) & {"prefect", "torch", "transformers", "datasets", "pandas"}
