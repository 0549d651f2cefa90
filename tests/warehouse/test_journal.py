"""The journal: what a dead run left is taken in once; what a live one writes is left alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lake_rows import attempt, response

from warehouse import Lake, LakeError, journal
from warehouse.journal import Journal, drop
from warehouse.ledger import Batch

WHEN = datetime(2026, 5, 4, 3, 2, 1, 77, tzinfo=UTC)


def batch(key: str, **changes: object) -> Batch:
    call = attempt(key, created_at=WHEN, **changes)
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


def test_what_a_killed_run_left_is_taken_in_once(lake: Lake) -> None:
    path = killed(lake.home, batch("k1"), batch("k2"), torn=b'{"step": "respond.ans')
    assert journal.waiting(lake.home) == 1
    assert journal.recover(lake) == 2
    assert lake.rows("SELECT work_key, run_id, created_at FROM attempts ORDER BY work_key") == [
        {"work_key": key, "run_id": "dead", "created_at": WHEN} for key in ("k1", "k2")
    ]
    assert lake.rows("SELECT count(*) AS n FROM responses") == [{"n": 2}]
    assert not path.exists()
    assert journal.recover(lake) == journal.waiting(lake.home) == 0


def test_what_had_landed_before_the_kill_is_not_doubled(lake: Lake) -> None:
    there = batch("k1")
    lake.append_all([there], run_id="dead")
    killed(lake.home, there, batch("k2"))
    assert journal.recover(lake) == 1
    assert lake.rows("SELECT count(*) AS n, count(DISTINCT work_key) AS d FROM attempts") == [{"n": 2, "d": 2}]
    assert lake.rows("SELECT count(*) AS n FROM responses") == [{"n": 2}]


def test_of_a_call_that_was_noted_and_then_judged_the_judgement_counts(lake: Lake) -> None:
    judged = batch("k1")
    noted = Batch(judged.step, judged.fingerprint, {}, [{**judged.attempts[0], "final": False, "state": "failed"}])
    killed(lake.home, noted, judged)
    journal.recover(lake)
    assert lake.rows("SELECT state, final FROM attempts") == [{"state": "accepted", "final": True}]


def test_a_live_runs_journal_is_left_alone_and_a_dead_ones_is_not(lake: Lake) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from warehouse.journal import Journal; from warehouse.ledger import Batch\n"
        "own = Journal(Path(sys.argv[1]), 'other'); own.write(Batch('a', 'b', {}, [])); print('there', flush=True)\n"
        "sys.stdin.read()"
    )
    live = subprocess.Popen(
        [sys.executable, "-c", code, str(lake.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert live.stdout is not None
    assert live.stdout.readline() == "there\n"
    assert journal.waiting(lake.home) == 0
    assert journal.recover(lake) == 0
    live.kill()
    live.wait()
    assert journal.waiting(lake.home) == 1


def test_a_journal_that_cannot_be_read_is_named_and_kept(lake: Lake) -> None:
    path = killed(lake.home, batch("k1"))
    path.write_bytes(path.read_bytes() + b"not json\n")
    with pytest.raises(LakeError, match=rf"{path}: .*move the file away"):
        journal.recover(lake)
    assert path.exists()


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
    assert journal.recover(lake) == 1
