"""The journal: what a dead run left is taken in once; what a live one writes is left alone."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from lake_rows import attempt, response

from warehouse import Lake, LakeFailure, journal
from warehouse.errors import RowRefused
from warehouse.journal import FSYNC, Journal, drop
from warehouse.ledger import Batch
from warehouse.recovery import journal_state, recover, waiting

WHEN = datetime(2026, 5, 4, 3, 2, 1, 77, tzinfo=UTC)


def batch(key: str, at: object = WHEN, **changes: object) -> Batch:
    call = attempt(key, created_at=at, **changes)
    return Batch("respond.answer", "fp", {"responses": [response(f"r-{key}", "i1", key=key)]}, [call])


def killed(home: Path, *batches: Batch, torn: bytes = b"") -> Path:
    """A journal as a dead run leaves it: whole lines, and perhaps half a one; nobody holds it."""
    made = Journal(home, "dead")
    for one in batches:
        made.write(one)
    file = made.turn()
    assert file is not None
    file.write(torn)
    file.close()
    return Path(file.name)


def lines_of(home: Path) -> list[dict[str, Any]]:
    """What the journals on the disk hold."""
    files = sorted((home / journal.FOLDER).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_what_a_killed_run_left_is_taken_in_once(lake: Lake) -> None:
    path = killed(lake.home, batch("k1"), batch("k2"), torn=b'{"step": "respond.ans')
    assert waiting(lake.home) == 1
    assert recover(lake) == 2
    assert lake.rows("SELECT work_key, run_id, created_at FROM attempts ORDER BY work_key") == [
        {"work_key": key, "run_id": "dead", "created_at": WHEN} for key in ("k1", "k2")
    ]
    assert lake.rows("SELECT count(*) AS n FROM responses") == [{"n": 2}]
    assert not path.exists()
    assert recover(lake) == waiting(lake.home) == 0


def test_what_had_landed_before_the_kill_is_not_doubled(lake: Lake) -> None:
    there = batch("k1")
    lake.ledger.append_batches([there], run_id="dead")
    killed(lake.home, there, batch("k2"))
    assert recover(lake) == 1
    assert lake.rows("SELECT count(*) AS n, count(DISTINCT work_key) AS d FROM attempts") == [{"n": 2, "d": 2}]
    assert lake.rows("SELECT count(*) AS n FROM responses") == [{"n": 2}]


def test_of_a_call_that_was_noted_and_then_judged_the_judgement_counts(lake: Lake) -> None:
    judged = batch("k1")
    noted = Batch(judged.step, judged.fingerprint, {}, [{**judged.attempts[0], "final": False, "state": "failed"}])
    killed(lake.home, noted, judged)
    recover(lake)
    assert lake.rows("SELECT state, final FROM attempts") == [{"state": "accepted", "final": True}]


LIVE = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import alignery.config.methods
from test_journal import Journal, batch
own = Journal(Path(sys.argv[1]), "other")
own.write(batch("k9"))
print("there", flush=True)
sys.stdin.read()
"""


def test_a_live_runs_journal_is_left_alone_and_what_it_wrote_survives_its_kill(lake: Lake) -> None:
    live = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(lake.home), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert live.stdout is not None
    assert live.stdout.readline() == "there\n"
    assert waiting(lake.home) == 0
    assert len(journal_state(lake.home).live) == 1
    assert recover(lake) == 0
    live.kill()
    live.wait()
    assert waiting(lake.home) == 1
    assert recover(lake) == 1
    assert lake.rows("SELECT work_key FROM attempts") == [{"work_key": "k9"}]


def test_a_line_is_in_the_file_when_the_call_returns(lake: Lake) -> None:
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    assert [line["attempts"][0]["work_key"] for line in lines_of(lake.home)] == ["k1"]
    made.end()


def test_a_file_that_is_taken_away_before_it_is_locked_is_made_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = Journal(lake.home, "run"), fcntl.flock

    def flock(file: IO[bytes], how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        Path(file.name).unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    made.write(batch("k1"))
    assert len(lines_of(lake.home)) == 1
    made.end()


# What cannot be written is reported, and spoils nothing


def nearly_full(monkeypatch: pytest.MonkeyPatch, room: int, code: int = errno.ENOSPC) -> None:
    """A disk that takes so many bytes: a part of a line first, as a kernel does, and then an error."""
    real, left = os.write, [room]

    def write(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(code, os.strerror(code))
        done = real(file, data[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_line_that_is_written_in_part_is_taken_back_and_reported(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    with monkeypatch.context() as full:
        nearly_full(full, 100, code)
        with pytest.raises(LakeFailure, match=f"an answer could not be kept: {os.strerror(code)}; make room and run"):
            made.write(batch("k2"))
    made.write(batch("k3"))
    assert [line["attempts"][0]["work_key"] for line in lines_of(lake.home)] == ["k1", "k3"]
    made.end()


def test_short_writes_are_completed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:7]))
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    assert [line["attempts"][0]["work_key"] for line in lines_of(lake.home)] == ["k1"]
    made.end()


def test_after_a_part_that_could_not_be_taken_back_nothing_more_is_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Journal(lake.home, "run")
    made.write(batch("k1"))

    def refuse(file: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as full:
        nearly_full(full, 100)
        full.setattr(os, "ftruncate", refuse)
        with pytest.raises(LakeFailure):
            made.write(batch("k2"))
    with pytest.raises(LakeFailure, match="could not be taken back"):
        made.write(batch("k3"))
    file = made.turn()
    assert file is not None
    file.close()
    assert recover(lake) == 1  # the torn line is the last one


def test_with_fsync_each_line_is_synced_and_a_failure_is_reported(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setenv(FSYNC, "1")
    monkeypatch.setattr(os, "fsync", synced.append)
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    made.write(batch("k2"))
    assert len(synced) == 3  # the folder, too

    def fail(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LakeFailure, match="Input/output error"):
        made.write(batch("k3"))
    assert [line["attempts"][0]["work_key"] for line in lines_of(lake.home)] == ["k1", "k2"]
    made.end()


def test_by_default_nothing_is_synced(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FSYNC, raising=False)
    monkeypatch.setattr(os, "fsync", lambda file: pytest.fail("synced"))
    for unset in ("", "0"):
        with monkeypatch.context() as patch:
            patch.setenv(FSYNC, unset)
            Journal(lake.home, "quick").write(batch("k0"))
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    made.end()


# The door: what would not go into the lake does not get into the journal


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokens_in", 2**31), ("tokens_out", 1.5), ("tokens_in", True), ("seed", 2**63), ("latency_s", float("inf")),
     ("latency_s", float("nan")), ("raw_text", "half \ud83d"), ("raw_text", b"bytes"), ("parents", [1]),
     ("parents", ["\udc00"]), ("model", None), ("created_at", datetime(2026, 1, 1)), ("created_at", "2026"),
     ("final", 1), ("mood", "good")],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_refused_at_the_door_by_its_field(lake: Lake, field: str, value: object) -> None:
    made = Journal(lake.home, "run")
    with pytest.raises(RowRefused, match=rf"attempts.*{field}"):
        made.write(
            batch(
                "k1", **({field: value} if field != "created_at" else {}), at=value if field == "created_at" else WHEN
            )
        )
    made.write(batch("k2"))
    assert len(lines_of(lake.home)) == 1
    made.end()


def test_a_line_has_a_limit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LONGEST", 10_000)
    with pytest.raises(RowRefused, match=r"attempts.raw_text: got 20,000 characters; .* 10,000 bytes"):
        Journal(lake.home, "run").write(batch("k1", raw_text="x" * 20_000))


def test_a_journal_whose_rows_landed_is_dropped(lake: Lake) -> None:
    made = Journal(lake.home, "run")
    made.write(batch("k1"))
    file = made.turn()
    assert file is not None
    drop(file)
    assert list((lake.home / journal.FOLDER).iterdir()) == []
    assert made.turn() is None


def test_a_journal_that_another_run_took_in_meanwhile_is_no_fault(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(lake.home, batch("k1"))
    gone = killed(lake.home, batch("k2"))
    there = Path.open

    def opened(path: Path, *args: object, **named: object) -> object:
        if path == gone:
            gone.unlink(missing_ok=True)  # between the listing and the opening
        return there(path, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    assert recover(lake) == 1
