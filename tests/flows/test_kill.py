"""`kill -9` in mid-refresh, for real and several times: the same command then finishes, and nothing is there twice.

The engine is a server in this process, so that every request is counted, those of killed runs too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from speaker import Speaker, write_preset

from warehouse import Lake

KILLS, ACCEPT, CHUNK, CHUNKS_IN_FLIGHT, ROUND = 5, 96, 4, 2, 4
STEPS_AT_ONCE = 3  # of one chunk: the principled answer, the correction, and one link of the revision chain
LINE = {
    "chunk": CHUNK,
    "chunks_in_flight": CHUNKS_IN_FLIGHT,
    "self_instruct": {"accept": ACCEPT, "max_candidates": 400, "requests_per_round": ROUND, "count": 3},
}
IN_FLIGHT = CHUNKS_IN_FLIGHT * STEPS_AT_ONCE * CHUNK + ROUND


def start(preset: Path, home: Path) -> subprocess.Popen[bytes]:
    code = "from flows.cli import main; main()"
    arguments = ["refresh", "--preset", str(preset), "--home", str(home), "--json"]
    # A process group of its own, so that the server that Prefect starts can be killed with it.
    own = os.environ | {"PREFECT_HOME": str(home.parent / "prefect")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=own)


def kill_mid_way(process: subprocess.Popen[bytes], speaker: Speaker, after: int) -> None:
    """Kill -9 once so many more requests were served."""
    target = speaker.served + after
    while speaker.served < target and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None, "it finished before it could be killed: make the work longer"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # what was on its way to the server still counts as sent


def committed(home: Path) -> int:
    with Lake.open(home, read_only=True) as lake:
        return int(lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"])


@pytest.mark.flow
def test_killed_again_and_again_it_finishes_with_every_row_once(tmp_path: Path, speaker: Speaker) -> None:
    preset, home = write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake"
    draw, lost = random.Random(7), 0
    for _ in range(KILLS):
        kill_mid_way(start(preset, home), speaker, draw.randrange(2 * IN_FLIGHT, 3 * IN_FLIGHT))
        assert speaker.served - committed(home) - lost <= IN_FLIGHT, "more than what was in flight is lost"
        lost = speaker.served - committed(home)
    process = start(preset, home)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert json.loads(out)["run"]["accepted"] == ACCEPT

    with Lake.open(home, read_only=True) as lake:
        expected = {"responses": 2, "critiques": 2, "revisions": 2, "corrections": 1}
        for table, each in expected.items():
            counts = lake.rows(f"SELECT count(*) AS n, count(DISTINCT id) AS ids FROM {table}")[0]
            assert counts == {"n": each * ACCEPT, "ids": each * ACCEPT}
        counts = lake.rows("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM instructions")[0]
        assert counts["n"] == counts["ids"]
        attempts = lake.rows("SELECT count(*) AS n, count(DISTINCT work_key) AS work FROM attempts")[0]
        torn = lake.rows("SELECT 1 FROM revisions r LEFT JOIN attempts a ON a.id = r.attempt_id WHERE a.id IS NULL")
    assert attempts["n"] == attempts["work"]
    assert torn == []
    assert speaker.served - attempts["n"] == lost > 0, "only what the kills lost was sent again"

    served = speaker.served
    again = start(preset, home)
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0
    assert json.loads(out)["run"]["sent"] == 0
    assert speaker.served == served


@pytest.mark.flow
def test_ctrl_c_ends_it_with_what_was_answered_committed(tmp_path: Path, speaker: Speaker) -> None:
    preset, home = write_preset(tmp_path, speaker.server_port, LINE), tmp_path / "lake"
    process = start(preset, home)
    while speaker.served < 2 * IN_FLIGHT and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the server that Prefect started, too
    assert process.wait(timeout=60) == 130
    with Lake.open(home, read_only=True) as lake:
        assert lake.rows("SELECT state FROM runs ORDER BY created_at DESC LIMIT 1") == [{"state": "failed"}]
    # The replies on their way when it was pressed are the only ones that may be missing.
    assert speaker.served - committed(home) <= IN_FLIGHT
