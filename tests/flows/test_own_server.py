"""The Prefect server of a single verb: it comes and goes with the verb, and yields to a server that is named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import gone, started_in
from speaker import Speaker, write_preset
from test_kill import kill_mid_way, start
from typer.testing import CliRunner

from alignery.cli.main import app
from flows.prefect_server import ServerFault, bypass_proxy, cause_in, start_server

DATABASE = f"prefect-{version('prefect')}.db"
LINE = {"chunk": 4, "self_instruct": {"accept": 8, "max_candidates": 60, "requests_per_round": 4, "count": 3}}


@pytest.mark.flow
def test_it_keeps_the_run_and_ends_with_the_verb(tmp_path: Path, speaker: Speaker) -> None:
    prefect = tmp_path / "prefect"
    started = start(write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake")
    assert started.wait(timeout=120) == 0
    assert started_in(prefect) == []
    with closing(sqlite3.connect(prefect / DATABASE)) as kept:
        assert kept.execute("SELECT state_name FROM flow_run").fetchall() == [("Completed",)]
        ended = kept.execute("SELECT state_name FROM task_run WHERE name LIKE 'walk%'").fetchall()
    assert ended == [("Completed",)] * 2  # the last of them ended in the verb's last second


@pytest.mark.flow
def test_it_does_not_outlive_a_verb_that_is_killed(tmp_path: Path, speaker: Speaker) -> None:
    started = start(write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake")
    kill_mid_way(started, speaker, after=3)
    assert gone(tmp_path / "prefect", within_s=30)


def verb(preset: Path, lake: Path, **environment: str) -> subprocess.Popen[str]:
    """A refresh as the command runs it, with no Prefect home in its environment."""
    code = "from alignery.cli.main import main; main()"
    command = [sys.executable, "-c", code, "refresh", "--preset", str(preset), "--home", str(lake), "--json"]
    own = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own | environment)


def foreign_database(path: Path) -> bytes:
    """One of a Prefect that our own does not know, as far as its migrations can tell."""
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        made.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
        made.commit()
    return path.read_bytes()


@pytest.mark.flow
def test_four_first_starts_at_once_beside_a_newer_prefect_and_behind_a_dead_proxy(
    tmp_path: Path, speaker: Speaker
) -> None:
    """They share a Prefect home that another Prefect uses, too; all of them run, and are kept in one database."""
    home, user = tmp_path / "a[b]*c? %41#$HOME d", tmp_path / "user"
    prefect = home / "prefect"
    for folder in (prefect, user / ".prefect"):
        folder.mkdir(parents=True)
    newer = {path: foreign_database(path) for path in (prefect / "prefect.db", user / ".prefect" / "prefect.db")}
    preset = write_preset(tmp_path, speaker.server_port, LINE)
    dead = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"), dead)
    surroundings = {"HOME": str(user), "PREFECT_HOME": str(prefect)} | proxies
    verbs = [verb(preset, tmp_path / f"lake {number}", **surroundings) for number in range(4)]
    messages = [one.communicate(timeout=300) for one in verbs]
    assert [one.returncode for one in verbs] == [0] * 4, messages
    assert {path: path.read_bytes() for path in newer} == newer
    with closing(sqlite3.connect(prefect / DATABASE)) as kept:
        assert kept.execute("SELECT state_name FROM flow_run").fetchall() == [("Completed",)] * 4


@pytest.mark.flow
def test_its_home_is_beside_the_lake_and_nothing_is_left_in_the_user_s(tmp_path: Path, speaker: Speaker) -> None:
    lake, user = tmp_path / "a[b]*c? %41#$HOME d", tmp_path / "user"
    user.mkdir()
    preset = write_preset(tmp_path, speaker.server_port, LINE)
    # Prefect's settings are for the user's own server: none of them reaches ours.
    theirs = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://me@127.0.0.1:9/x", "HOME": str(user)}
    one = verb(preset, lake, PREFECT_SERVER_API_BASE_PATH="/other", **theirs)
    out, output = one.communicate(timeout=120)
    assert one.returncode == 0, output
    assert sorted(user.rglob("*")) == []
    kept = lake / "prefect"
    assert {DATABASE, "server.log"} <= {path.name for path in kept.iterdir()}
    assert [path for path in (kept, *kept.iterdir()) if path.stat().st_mode & 0o077] == []
    assert "alignery:" not in out + (kept / "server.log").read_text()


@pytest.mark.flow
def test_a_server_that_the_profile_names_is_used_and_no_other(tmp_path: Path) -> None:
    named = "http://me:hunter2hunter2@127.0.0.1:9/api"
    (tmp_path / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{named}"\n')
    code = (
        "from processes import started_in; from pathlib import Path\n"
        "from flows.shared_server import use_or_start_server\n"
        "wait_until_ready = use_or_start_server(Path('lake'))\n"
        "try: wait_until_ready()\n"
        f"except ValueError as error: print(len(started_in(Path({str(tmp_path)!r}))), error)\n"
    )
    own = os.environ | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    # The process that asks, and no server.
    assert done.stdout.startswith("1 PREFECT_API_URL: nothing healthy answers at http://me:***@127.0.0.1:9/api (")
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses us as unauthorized; give what it asks for"), (500, "nothing healthy answers")],
)
def test_a_named_server_that_refuses_us_is_reported_in_a_sentence_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, message: str
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://me:hunter2hunter2@127.0.0.1:{server.server_port}/api")
        done = CliRunner().invoke(app, ["publish", "--home", str(tmp_path / "lake")])
        server.shutdown()
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("kept", "extended"),
    [("", "127.0.0.1,localhost,::1"), ("*", "*,127.0.0.1,localhost,::1"), ("a.b, ::1", "a.b,::1,127.0.0.1,localhost")],
)
def test_loopback_is_not_asked_through_a_proxy_and_all_else_is(
    monkeypatch: pytest.MonkeyPatch, kept: str, extended: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", kept)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    bypass_proxy()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == extended
    assert os.environ["HTTP_PROXY"] == "http://proxy.example:3128"


@pytest.mark.skipif(find_spec("socksio") is not None, reason="SOCKS proxies work here")
def test_a_proxy_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:hunter2hunter2@127.0.0.1:9")
    done = CliRunner().invoke(app, ["publish", "--home", str(tmp_path / "lake")])
    assert done.exit_code == 2
    assert done.stderr.startswith("alignery: ALL_PROXY: got a SOCKS proxy, which needs the package socksio")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_a_server_that_ends_says_why_at_once(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database, and the key sk-abcdefghijklmnop")
    with pytest.raises(ServerFault) as raised, start_server(tmp_path):
        pass
    assert "ended with exit code 1: " in str(raised.value)
    assert f"{DATABASE} cannot be read (file is not a database): delete it" in str(raised.value)
    assert str(tmp_path / "server.log") in str(raised.value)


def test_the_cause_is_the_exception_and_not_what_is_said_after_it(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("OldError: of an earlier start\n")
    began = log.stat().st_size
    assert cause_in(log, began) == f"; see {log}"
    with log.open("a") as file:
        file.write("ERROR:    Traceback (most recent call last):\n  File x\nValueError: first\n\nThe above exception\n")
        file.write(f"sqlalchemy.exc.OperationalError: locked {'x' * 999} sk-abcdefghijklmnop\n[SQL: SELECT 1]\n")
        file.write("(Background on this error at: https://sqlalche.me/e/20/e3q8)\n\n")
        file.write("ERROR:    Application startup failed. Exiting.\n")
    cause = cause_in(log, began)
    assert cause.startswith(": sqlalchemy.exc.OperationalError: locked xxx")
    assert cause.endswith(f"…; the whole log is {log}")
    assert len(cause) < 400 + len(str(log))


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "prefect"
    home.write_text("no folder")
    monkeypatch.setenv("PREFECT_HOME", str(home))
    done = CliRunner().invoke(app, ["publish", "--home", str(tmp_path / "lake")])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"alignery: {home}: Prefect cannot keep its database there")
    assert done.stderr.count("\n") == 1
