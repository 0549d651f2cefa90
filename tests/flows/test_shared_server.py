"""The Prefect server that verbs share: started by the first, found by the next, ended when it was idle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from processes import prefect_home
from speaker import Speaker, write_preset
from test_own_server import LINE

from alignery.cli import entry
from alignery.errors import UsageError
from flows import shared_server
from flows.prefect_server import ServerFault
from flows.prefect_server_process import ALIVE, START, USE
from flows.shared_server import FACTS, IDLE, idle_s, running, shared, stop


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = prefect_home(tmp_path / "prefect")
    monkeypatch.setenv(IDLE, "60")
    monkeypatch.setenv("PREFECT_HOME", str(home))
    yield home
    stop(home)


def wait_for_end(place: Path, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while shared_server._ended(place) is None and time.monotonic() < until:
        time.sleep(0.1)
    return shared_server._ended(place) is not None


def run(verb: str, preset: Path, lake: Path) -> None:
    """A verb in a process of its own: the server's address is this process's for as long as it lives."""
    code = "from alignery.cli.main import main; main()"
    command = [sys.executable, "-c", code, verb, "--preset", str(preset), "--home", str(lake)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.flow
def test_two_verbs_share_one_server_which_is_private_and_can_be_stopped(
    place: Path, tmp_path: Path, speaker: Speaker, capsys: pytest.CaptureFixture[str]
) -> None:
    preset, lake = write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake"
    run("refresh", preset, lake)
    first = running(place)
    assert first is not None
    assert (place / FACTS).stat().st_mode & 0o777 == 0o600
    run("publish", preset, lake)
    assert running(place) == first
    assert entry.main(["server", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["pid"], facts["url"] + "/api") == (first.pid, first.server.api)
    assert first.server.auth not in str(facts)
    assert entry.main(["server", "stop"]) == 0
    assert running(place) is None
    assert not (place / FACTS).exists()


@pytest.mark.flow
def test_it_ends_when_it_was_idle_and_not_while_it_is_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IDLE, "2")
    with shared(place) as healthy:
        healthy(60)
        assert not wait_for_end(place, within_s=6)
    assert wait_for_end(place, within_s=30)
    assert not (place / FACTS).exists()


@pytest.mark.flow
def test_one_that_was_killed_is_replaced(place: Path) -> None:
    with shared(place) as healthy:
        first = healthy(60)
    found = running(place)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    assert wait_for_end(place, within_s=10)
    with shared(place) as healthy:
        assert healthy(60).api != first.api


def test_a_server_that_is_named_and_does_not_live_is_none(tmp_path: Path) -> None:
    facts = {"api": "http://127.0.0.1:1/api", "auth": "alignery:token", "pid": os.getpid()}
    (tmp_path / FACTS).write_text(json.dumps(facts))
    assert running(tmp_path) is None
    (tmp_path / FACTS).write_text("{half")
    assert running(tmp_path) is None
    assert stop(tmp_path) is False


@pytest.mark.flow
def test_one_that_nobody_can_find_ends_by_itself_and_stops_nobody(place: Path) -> None:
    with shared(place) as healthy:
        healthy(60)
    (place / FACTS).unlink()  # as a verb leaves it that is killed before it wrote the file
    with pytest.raises(ServerFault, match=r"another Prefect server holds .* wait a minute, and run again"):
        shared(place).__enter__()
    assert wait_for_end(place, within_s=40)
    with shared(place) as healthy:
        assert healthy(60)


def test_one_of_another_prefect_is_left_alone() -> None:
    assert all(version("prefect") in name for name in (FACTS, USE, ALIVE, START)), "an upgrade has files of its own"


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "1e12"])
def test_an_idle_time_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IDLE, given)
    with pytest.raises(UsageError, match=r"ALIGNERY_SERVER_IDLE_S: got '.*', expected seconds, 0 or more"):
        idle_s()
