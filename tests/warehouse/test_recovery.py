"""Whatever a journal's lines hold, the good ones are taken in, the others set aside and named."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from test_journal import WHEN, batch, killed

from warehouse import Lake, LakeFailure, recovery
from warehouse.health.checks import journals
from warehouse.journal import FOLDER
from warehouse.ledger import Batch, Ledger
from warehouse.recovery import journal_state, recover
from warehouse.schema.lake_schema import default


def good(**changes: Any) -> dict[str, Any]:
    """A line as today's program writes it, and as those before it did."""
    made = batch("k7")
    line = {"step": made.step, "fingerprint": made.fingerprint, "records": made.records, "attempts": made.attempts}
    return json.loads(json.dumps(line | changes, default=lambda time: time.isoformat()))


def changed(table: str, **fields: Any) -> dict[str, Any]:
    line = good()
    rows = line["attempts"] if table == "attempts" else line["records"][table]
    rows[0] |= fields
    return line


BAD = {
    "not JSON": b"not json",
    "binary": bytes(range(256)).replace(b"\n", b""),
    "torn in the middle": json.dumps(good()).encode()[:300],
    "nested": b"[" * 100_000,
    "a number beyond all": json.dumps(good()).replace("0.5", "1e999").encode(),
    "no UTF-8": json.dumps(good()).encode().replace(b"reply", b"\xff\xfe"),
    "half a character": json.dumps(changed("attempts", raw_text="\ud83d")).encode(),
    "another shape": b'["step"]',
    "a number": b"7",
    "no step": json.dumps({key: value for key, value in good().items() if key != "step"}).encode(),
    "a step that is a list": json.dumps(good(step=["x"])).encode(),
    "records that are a list": json.dumps(good(records=[])).encode(),
    "attempts that are null": json.dumps(good(attempts=None)).encode(),
    "an attempt that is text": json.dumps(good(attempts=["x"])).encode(),
    "an unknown table": json.dumps(good(records={"passwords": []})).encode(),
    "a table of the ledger": json.dumps(good(records={"commits": []})).encode(),
    "too many tokens": json.dumps(changed("attempts", tokens_in=2**31)).encode(),
    "a fraction of a token": json.dumps(changed("attempts", tokens_in=1.5)).encode(),
    "an enormous count": json.dumps(changed("attempts", tokens_in=10**40)).encode(),
    "an id that is a list": json.dumps(changed("attempts", id=["x"])).encode(),
    "no model": json.dumps(changed("attempts", model=None)).encode(),
    "a time that is a number": json.dumps(changed("attempts", created_at=7)).encode(),
    "a time that is none": json.dumps(changed("attempts", created_at="yesterday")).encode(),
    "an unknown column": json.dumps(changed("responses", mood="good")).encode(),
    "another's record": json.dumps(changed("responses", attempt_id="somebody's")).encode(),
    "records of no call": json.dumps(good(attempts=[])).encode(),
    "no owner": json.dumps(changed("responses", attempt_id=None)).encode(),
}


def test_bad_lines_are_set_aside_and_named_and_the_others_are_taken_in(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    path = killed(lake.home, batch("k1"), batch("k2"))
    first, second = path.read_bytes().splitlines(keepends=True)
    bad = b"".join(line + b"\n" for line in BAD.values())
    path.write_bytes(first + bad + second)
    with caplog.at_level(logging.WARNING):
        assert recover(lake) == 2
    assert {row["work_key"] for row in lake.rows("SELECT work_key FROM attempts")} == {"k1", "k2"}
    aside = path.with_suffix(recovery.REJECTED)
    assert aside.read_bytes() == bad
    assert not path.exists()
    assert f"{path}: line 2 is set aside in {aside}: " in caplog.text
    assert f"{len(BAD)} lines in all" in caplog.text
    assert all(len(message) < 1000 for message in caplog.messages)
    (journal,) = journals(lake, False)
    assert journal.what == f"{aside}: {len(BAD)} lines of a killed run's journal could not be taken into the lake"
    assert recover(lake) == 0
    assert aside.read_bytes() == bad


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_line_has_its_reason(kind: str) -> None:
    (line,) = recovery.lines_of(BytesIO(BAD[kind] + b"\n"), default())
    assert line.batch is None
    assert 0 < len(line.why) <= 300
    assert line.why.isprintable()


def test_a_line_of_an_earlier_version_is_taken_in(lake: Lake) -> None:
    path = killed(lake.home, batch("k1"))
    path.write_text(json.dumps(good()) + "\n")  # its last attempt came with those before it, and with its records
    assert recover(lake) == 1
    assert lake.rows("SELECT created_at FROM attempts") == [{"created_at": WHEN}]


def test_a_line_without_its_end_is_taken_in_if_it_is_whole(lake: Lake) -> None:
    path = killed(lake.home, batch("k1"), torn=json.dumps(good()).encode())
    assert recover(lake) == 2
    assert list(path.parent.iterdir()) == []


def test_a_line_that_is_too_long_is_set_aside_and_the_next_is_taken_in(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = killed(lake.home, batch("k1"))
    last = path.read_bytes()
    monkeypatch.setattr(recovery, "LONGEST", 2000)
    long = b'{"x": "' + b"y" * 7000 + b'"}\n'
    path.write_bytes(long + last)
    assert recover(lake) == 1
    assert path.with_suffix(recovery.REJECTED).read_bytes() == long
    path.write_bytes(b"y" * 2000 + last.replace(b"k1", b"k2"))  # the rest of it would be a line
    assert recover(lake) == 0


def test_a_line_after_one_that_is_too_long_has_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LONGEST", 20)
    lines = list(recovery.lines_of(BytesIO(b"y" * 90 + b"\nbad\n"), default()))
    assert [line.number for line in lines if line.text == b"bad\n"] == [2]


def test_calls_of_two_fingerprints_are_two_commits(lake: Lake) -> None:
    one, other = batch("k1"), batch("k2")
    killed(lake.home, one, Batch(other.step, "another", other.records, other.attempts))
    assert recover(lake) == 2
    found = [row["fingerprint"] for row in lake.rows("SELECT fingerprint FROM commits ORDER BY fingerprint")]
    assert found == sorted([one.fingerprint, "another"])


def test_a_journal_is_locked_once_and_not_at_all_if_another_dropped_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = killed(lake.home, batch("k1"))
    with path.open("rb") as one, path.open("rb") as other:
        assert recovery._locked(one)
        assert not recovery._locked(other)
    monkeypatch.setattr(recovery, "_locked", lambda file: not path.unlink())
    assert recover(lake) == 0
    assert lake.rows("SELECT id FROM attempts") == []


def test_a_call_that_was_judged_in_another_file_than_it_was_noted_in_is_final(lake: Lake) -> None:
    """The run died after the judged calls were journalled, and before the notes of them were dropped."""
    judged = batch("k1")
    noted = Batch(judged.step, judged.fingerprint, {}, [{**judged.attempts[0], "final": False, "state": "failed"}])
    for order in ([noted, judged], [judged, noted]):
        for one in order:
            killed(lake.home, one)
    assert recover(lake) == 1
    assert lake.rows("SELECT state, final FROM attempts") == [{"state": "accepted", "final": True}]
    assert lake.ledger.unfinished(["k1"]) == set()
    assert list((lake.home / FOLDER).glob("*.jsonl")) == []


def test_of_two_lines_that_are_not_final_the_last_counts(lake: Lake) -> None:
    judged = batch("k1")
    for reason in ("first", "last"):
        left = {"final": False, "state": "failed", "reason": reason}
        killed(lake.home, Batch(judged.step, judged.fingerprint, {}, [judged.attempts[0] | left]))
    assert recover(lake) == 1
    assert lake.rows("SELECT reason FROM attempts") == [{"reason": "last"}]


def test_a_call_that_contradicts_the_lake_is_set_aside_and_its_neighbours_are_not(lake: Lake) -> None:
    judged = batch("k1")
    noted = Batch(judged.step, judged.fingerprint, {}, [{**judged.attempts[0], "final": False, "state": "failed"}])
    lake.ledger.append_batches([noted], run_id="dead")
    path = killed(lake.home, batch("k2"), judged, batch("k3"), torn=b"half a line")
    assert recover(lake) == 2
    assert b'"work_key":"k1"' in path.with_suffix(recovery.REJECTED).read_bytes()
    assert lake.ledger.unfinished(["k1", "k2", "k3"]) == {"k1"}


def test_what_may_not_be_read_stays_and_the_others_are_taken_in(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, fine = killed(lake.home, batch("k1")), killed(lake.home, batch("k2"))
    (locked.parent / "folder.jsonl").mkdir()
    os.mkfifo(locked.parent / "pipe.jsonl")
    there = Path.open

    def opened(path: Path, *args: Any, **named: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return there(path, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        assert recover(lake) == 1
        assert not fine.exists()
        assert journal_state(lake.home).unreadable[locked] == "Permission denied"
        messages = [found.what for found in journals(lake, False)]
        assert f"{locked} cannot be read: Permission denied" in messages
    assert recover(lake) == 1
    assert not locked.exists()


def test_where_lines_cannot_be_set_aside_the_journal_stays(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path = killed(lake.home, batch("k1"), torn=b"half a line")
    there = path.read_bytes()

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(LakeFailure, match=r"could not be set aside: No space left on device; make room"):
            recover(lake)
    assert path.read_bytes() == there
    assert recover(lake) == 0  # its good line was committed before
    aside = path.with_suffix(recovery.REJECTED)
    assert aside.read_bytes() == b"half a line"
    assert journal_state(lake.home).rejected == {aside: 1}


def test_a_failure_of_the_lake_sets_nothing_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path = killed(lake.home, batch("k1"))

    def fail(*args: Any, **named: Any) -> int:
        raise LakeFailure("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append_batches", fail)
        with pytest.raises(LakeFailure, match="the disk is full"):
            recover(lake)
    assert list((lake.home / FOLDER).iterdir()) == [path]
    assert recover(lake) == 1


def test_a_pipe_or_link_with_the_name_of_what_is_set_aside_is_neither_read_nor_written(
    lake: Lake, tmp_path: Path
) -> None:
    folder = lake.home / FOLDER
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe.rejected")
    assert journal_state(lake.home).unreadable == {folder / "pipe.rejected": "it is no file"}
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (folder / "run.jsonl").write_text("no line of ours\n")
    (folder / "run.rejected").symlink_to(theirs)
    with pytest.raises(LakeFailure, match=r"run\.rejected: 1 lines .* no file; remove that"):
        recover(lake)
    assert theirs.read_text() == "theirs"
    assert (folder / "run.jsonl").read_text() == "no line of ours\n"


def test_a_second_recovery_waits_until_the_first_has_committed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the run that it belongs to would start without these answers, and request them again."""
    killed(lake.home, batch("k1"))
    begun, go_on, append = Event(), Event(), Ledger.append_batches

    def slowly(*args: Any, **named: Any) -> int:
        begun.set()
        assert go_on.wait(60)
        return append(*args, **named)

    monkeypatch.setattr(Ledger, "append_batches", slowly)
    with Lake.open(lake.home) as other, ThreadPoolExecutor(2) as pool:
        first = pool.submit(recover, lake)
        assert begun.wait(60)
        second = pool.submit(recover, other)
        early = wait([second], timeout=0.3).done
        go_on.set()
        assert (first.result(60), second.result(60)) == (1, 0)
        assert not early
        assert not other.ledger.unfinished(["k1"])
