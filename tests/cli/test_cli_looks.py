"""A look as a process: it ends at Ctrl-C, and works where nothing may be written."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from warehouse import Lake

ENDLESS = (
    "WITH RECURSIVE r AS (SELECT 1::BIGINT AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = 7",
    "SELECT sum(length(repeat('x', 1000000) || range)) FROM range(10000000)",
)
# The command, and on standard error a line once its query runs.
SCRIPT = """
import sys
from warehouse.database import connection
add = connection._at_work.add
class AtWork(set):
    def add(self, cursor):
        super().add(cursor)
        print("at work", file=sys.stderr, flush=True)
connection._at_work = AtWork()
from alignery.cli.main import app
app(sys.argv[1:])
"""
READS = (
    ["tables"],
    ["show", "runs"],
    ["sql", "SELECT count(*) FROM runs"],
    ["status"],
    ["rejects"],
    ["models"],
    ["ranking"],
    ["snapshots"],
    ["diff", "1"],
    ["maintain"],
    ["doctor"],
    ["plan", "--compare"],
)
WRITES = (["tag", "x"], ["rollback", "--why", "x"], ["promote", "m", "--why", "x"], ["export", "1"])
VERBS = """
import sys
from typer.testing import CliRunner
from alignery.cli.main import app
for line in sys.stdin.read().splitlines():
    done = CliRunner().invoke(app, [*line.split("|"), "--home", sys.argv[1]])
    lines = [line for line in done.stderr.splitlines() if line]
    print(line, done.exit_code, len(lines), type(done.exception).__name__, *lines[-1:], sep="\\t")
"""
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def ordinary() -> None:
    """What root may do beyond what a folder's mode allows is given up by the process that is begun."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def heeding() -> None:
    """Tests that were begun in a shell's background ignore Ctrl-C, and so would what they begin."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.flow
def test_ctrl_c_ends_any_query_in_a_sentence(empty: Path) -> None:
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, "sql", query, "--home", str(empty)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeding,  # noqa: PLW1509
        )
        for query in ENDLESS
    ]
    try:
        for process in begun:
            assert process.stderr is not None
            while "at work" not in process.stderr.readline():
                assert process.poll() is None
        time.sleep(0.5)
        for process in begun:
            process.send_signal(signal.SIGINT)
        for process in begun:
            _, output = process.communicate(timeout=60)
            assert process.returncode == 130
            assert output.splitlines()[-1] == "alignery: stopped by Ctrl-C; the lake was not changed"
            assert "Traceback" not in output
    finally:
        for process in begun:
            process.kill()  # one that did not end would go on for hours


@pytest.mark.flow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities are Linux's")
def test_every_look_works_where_nothing_may_be_written(empty: Path, tmp_path: Path) -> None:
    home = shutil.copytree(empty, tmp_path / "home")
    with Lake.open(home) as lake:
        lake.ledger.write("runs", [{"id": "r", "state": "finished", "flow": "refresh"}], run_id="r", message="m")
    for path in (home / "catalog.sqlite", home / "lake.lock"):
        path.chmod(0o444)
    for folder in (home, home / "tmp"):
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", VERBS, str(home)],
            input="\n".join("|".join(verb) for verb in (*READS, *WRITES)),
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=ordinary if os.getuid() == 0 else None,
        )
    finally:
        for folder in (home, home / "tmp"):
            folder.chmod(0o755)
    output = {line.split("\t")[0]: line.split("\t")[1:] for line in done.stdout.splitlines()}
    assert len(output) == len(READS) + len(WRITES)
    for verb in READS:
        assert output["|".join(verb)][:2] == ["0", "0"], output
    for verb in WRITES:
        code, lines, _, sentence = output["|".join(verb)]
        assert (code, lines) == ("2", "1"), output
        assert "permission denied; choose a" in sentence
