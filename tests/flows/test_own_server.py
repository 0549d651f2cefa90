"""The Prefect server of a single verb: it comes and goes with the verb, and yields to a server that is named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from processes import gone, started_in
from speaker import Speaker, write_preset
from test_kill import kill_mid_way, start
from typer.testing import CliRunner

from flows.cli import app

LINE = {"chunk": 4, "self_instruct": {"accept": 8, "max_candidates": 60, "requests_per_round": 4, "count": 3}}


@pytest.mark.flow
def test_it_keeps_the_run_and_ends_with_the_verb(tmp_path: Path, speaker: Speaker) -> None:
    prefect = tmp_path / "prefect"
    verb = start(write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake")
    assert verb.wait(timeout=120) == 0
    assert started_in(prefect) == []
    with closing(sqlite3.connect(prefect / "prefect.db")) as kept:
        assert kept.execute("SELECT state_name FROM flow_run").fetchall() == [("Completed",)]
        ended = kept.execute("SELECT state_name FROM task_run WHERE name LIKE 'walk%'").fetchall()
    assert ended == [("Completed",)] * 2  # the last of them ended in the verb's last second


@pytest.mark.flow
def test_it_does_not_outlive_a_verb_that_is_killed(tmp_path: Path, speaker: Speaker) -> None:
    verb = start(write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake")
    kill_mid_way(verb, speaker, after=3)
    assert gone(tmp_path / "prefect", within_s=30)


def test_a_server_that_the_profile_names_is_used_and_no_other(tmp_path: Path) -> None:
    named = "http://127.0.0.1:9/api"
    (tmp_path / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{named}"\n')
    code = (
        "from processes import started_in; from pathlib import Path; from flows.server import named_or_own\n"
        "named_or_own()()\n"
        "from prefect.settings import PREFECT_API_URL\n"
        f"print(PREFECT_API_URL.value(), len(started_in(Path({str(tmp_path)!r}))))\n"
    )
    own = os.environ | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [named, "1"]  # the process that asks, and no server


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "prefect"
    home.write_text("no folder")
    monkeypatch.setenv("PREFECT_HOME", str(home))
    done = CliRunner().invoke(app, ["publish", "--home", str(tmp_path / "lake")])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"alignery: {home}: Prefect cannot keep its database there")
    assert done.stderr.count("\n") == 1
