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
from collections import Counter
from pathlib import Path

import pytest
from processes import prefect_home
from speaker import Speaker, write_preset

from warehouse import Lake

ACCEPT, PLACES = 96, 12
KILLS = [2, pytest.param(4, marks=pytest.mark.long)]
LINE = {
    "chunk": 4,
    "self_instruct": {"accept": ACCEPT, "max_candidates": 400, "requests_per_round": 4, "count": 3},
}


def start(preset: Path, home: Path, *more: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    code = "from alignery.cli.main import main; main()"
    arguments = ["refresh", "--preset", str(preset), "--home", str(home), "--json", *more]
    # A process group of its own, so that whatever it starts there is killed with it.
    own = os.environ | {"PREFECT_HOME": str(prefect_home(home.parent / "prefect"))}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True, env=own)


def kill_mid_way(process: subprocess.Popen[bytes], speaker: Speaker, after: int) -> None:
    """Kill -9 once so many more requests were served."""
    target = speaker.served + after
    while speaker.served < target and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None, "it finished before it could be killed: make the work longer"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # what was on its way to the server still counts as sent


def kept(home: Path) -> int:
    """Answers that are in the lake, or in the journal that a killed run left."""
    with Lake.open(home, read_only=True) as lake:
        there = {row["id"] for row in lake.rows("SELECT id FROM attempts WHERE replayed_from IS NULL")}
    for path in (home / "journal").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        there |= {attempt["id"] for line in lines for attempt in line["attempts"] if not attempt["replayed_from"]}
    return len(there)


@pytest.mark.flow
@pytest.mark.parametrize("kills", KILLS)
def test_killed_again_and_again_it_finishes_with_every_row_once(tmp_path: Path, speaker: Speaker, kills: int) -> None:
    preset, home = write_preset(tmp_path, speaker.server_port, LINE, in_flight=PLACES), tmp_path / "lake"
    draw, lost = random.Random(7), 0
    for _ in range(kills):
        kill_mid_way(start(preset, home), speaker, draw.randrange(3 * PLACES, 9 * PLACES))
        assert speaker.served - kept(home) - lost <= PLACES, "more than the requests in flight is lost"
        lost = speaker.served - kept(home)
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
        attempts = lake.rows(
            "SELECT count(*) FILTER (replayed_from IS NULL) AS sent, count(*) FILTER (final) AS settled,"
            " count(DISTINCT work_key) AS work FROM attempts"
        )[0]
        nameless = lake.rows("SELECT 1 FROM attempts WHERE run_id NOT IN (SELECT id FROM runs)")
        torn = lake.rows("SELECT 1 FROM revisions r LEFT JOIN attempts a ON a.id = r.attempt_id WHERE a.id IS NULL")
    assert attempts["settled"] == attempts["work"]
    assert torn == nameless == list((home / "journal").iterdir()) == []
    assert speaker.served - attempts["sent"] == lost > 0, "only what the kills lost was sent again"

    served = speaker.served
    again = start(preset, home)
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0
    assert json.loads(out)["run"]["sent"] == 0
    assert speaker.served == served


def replies(home: Path) -> Counter[str]:
    """Replies that are in the lake."""
    with Lake.open(home, read_only=True) as lake:
        rows = lake.rows("SELECT raw_text FROM attempts WHERE replayed_from IS NULL AND raw_text IS NOT NULL")
    return Counter(row["raw_text"] for row in rows)


@pytest.mark.flow
@pytest.mark.parametrize("kills", KILLS)
def test_where_many_replies_do_not_parse_no_kill_loses_one_that_was_received(
    tmp_path: Path, speaker: Speaker, kills: int
) -> None:
    """A try that did not parse is kept as it is answered, and not with the one that settles its row."""
    speaker.unparsed = 0.4
    line = {"chunk": 8, "self_instruct": {"accept": 48, "max_candidates": 600, "requests_per_round": 4, "count": 3}}
    preset = write_preset(tmp_path, speaker.server_port, line | {"reject_limit": 1.0}, in_flight=PLACES)
    home, draw, lost = tmp_path / "lake", random.Random(11), 0
    for _ in range(kills):
        kill_mid_way(start(preset, home, "--no-prefect"), speaker, draw.randrange(3 * PLACES, 6 * PLACES))
        beyond = len(speaker.answered) - kept(home) - lost
        assert beyond <= PLACES, "more than the requests in flight is lost"
        lost += beyond
    process = start(preset, home, "--no-prefect")
    process.communicate(timeout=300)
    assert process.returncode in {0, 3}
    there, answered = replies(home), Counter(speaker.answered)
    assert (answered - there).total() == lost
    assert not there - answered
    # Only what was in flight is asked again, so no reply is missing whose words came a second time.
    assert set(answered) - set(there) == set()


@pytest.mark.flow
def test_ctrl_c_ends_it_with_what_was_answered_committed(tmp_path: Path, speaker: Speaker) -> None:
    preset, home = write_preset(tmp_path, speaker.server_port, LINE, in_flight=PLACES), tmp_path / "lake"
    process = start(preset, home, stderr=subprocess.PIPE)
    while speaker.served < 3 * PLACES and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the server that Prefect started, too
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    lines = [line for line in error.decode().splitlines() if " · " not in line]  # all but how far it is
    assert lines == ["alignery: stopping, and committing what was answered; Ctrl-C again stops at once"]
    with Lake.open(home, read_only=True) as lake:
        assert lake.rows("SELECT state FROM runs ORDER BY created_at DESC LIMIT 1") == [{"state": "failed"}]
    # The replies on their way when it was pressed are the only ones that may be missing.
    assert speaker.served - kept(home) <= PLACES
