"""Maintenance merges, expires and cleans, and nobody who reads or writes meanwhile notices."""

import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from lake_rows import commit, instruction

from warehouse import Lake, LakeFailure, LakeLocation, LakeUsageError
from warehouse.database import lock
from warehouse.database.connection import connect, set_commit_message
from warehouse.maintenance import data_files, maintain

NOW, HOUR = timedelta(), timedelta(hours=1)
MANY = maintain.FEW + 2
KEYS = [f"k-i{n}" for n in range(MANY)]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warehouse", "pandas"])


def fill(lake, start=0, count=MANY):
    for number in range(start, start + count):
        commit(lake, instructions=[instruction(f"i{number}")])


def tag(lake, name="v1", snapshot=None):
    row = {"name": name, "snapshot_id": snapshot or lake.snapshot(), "content_hash": "c", "rows": "{}"}
    lake.ledger.write("tags", [row], run_id="r", message=f"tag {name}")


@pytest.fixture(scope="module")
def worked(empty, tmp_path_factory):
    """The home of a lake of ten commits, the fifth one tagged."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("worked") / "home")
    with Lake.open(home) as lake:
        fill(lake, 0, 5)
        tag(lake)
        fill(lake, 5, MANY - 5)
    edit(home, "UPDATE ducklake_snapshot SET snapshot_time = ?", f"{datetime.now(UTC) - timedelta(days=1)}")
    return home


@pytest.fixture
def filled(worked, tmp_path):
    with Lake.open(shutil.copytree(worked, tmp_path / "filled")) as lake:
        yield lake


def rows(lake):
    """Everything, with the virtual columns that lineage and the views rest on."""
    return lake.rows("SELECT snapshot_id, rowid, * FROM instructions ORDER BY id")


def data(lake):
    return set((lake.home / "data").rglob("*.parquet"))


def edit(home, statement, *values):
    """Change the catalog behind DuckLake's back; in a process of its own, for SQLite's sake."""
    code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], 30); db.execute(*eval(sys.argv[2])); db.commit()"
    catalog, arguments = str(home / "catalog.sqlite"), repr((statement, values))
    subprocess.run([sys.executable, "-c", code, catalog, arguments], check=True)


def test_a_dry_run_tells_and_does_nothing(filled):
    before, there = filled.snapshot(), data(filled)
    with Lake.open(filled.home, read_only=True) as reader:
        report = maintain.plan(reader, keep=NOW)
    assert {row["table"]: row["small"] for row in report.tables if row["small"] > maintain.FEW} == {
        "attempts": MANY, "commits": MANY, "instructions": MANY,
    }  # fmt: skip
    assert [row["why"] for row in report.kept] == ["tag v1", "newest"]
    assert not report.applied
    assert (filled.snapshot(), data(filled)) == (before, there)
    assert maintain.summary(report) == (
        f"would merge {3 * MANY} small files, would expire {len(report.expired)} snapshots, "
        "would delete 0 old and 0 orphaned files (0 bytes)"
    )


def test_rows_and_their_snapshots_are_the_same_after_merging_now_and_in_time_travel(filled):
    numbers = [2, 7, 9, filled.snapshot()]
    before = {}
    for number in numbers:
        with Lake.open(filled.home, snapshot=number) as old:
            before[number] = rows(old)
    report = maintain.apply(filled)
    assert {row["table"]: row["files_after"] for row in report.tables}["instructions"] == 1
    assert report.expired == []
    for number in numbers:
        with Lake.open(filled.home, snapshot=number) as old:
            assert rows(old) == before[number]
    assert rows(filled) == before[numbers[-1]]
    assert len(before[7]) == 5


def test_a_pinned_reader_of_a_tag_reads_on_through_expiry_and_cleanup(filled):
    (tagged,) = filled.rows("SELECT snapshot_id FROM tags")
    newest = rows(filled)
    with Lake.open(filled.home, snapshot=tagged["snapshot_id"]) as pinned:
        before = rows(pinned)
        report = maintain.apply(filled, keep=NOW)
        assert rows(pinned) == before
        age_scheduled(filled, timedelta(days=2))
        assert maintain.apply(filled, keep=NOW).deleted["old"] == 3 * MANY
        assert rows(pinned) == before
    assert rows(filled) == newest
    assert len(report.expired) > MANY
    with pytest.raises(LakeUsageError, match="cannot be opened"):
        Lake.open(filled.home, snapshot=report.expired[-1])
    assert maintain.plan(filled, keep=NOW).idle


def age_scheduled(lake, by):
    since = f"{datetime.now(UTC) - by:%Y-%m-%d %H:%M:%S.%f}+00"
    edit(lake.home, "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = ?", since)


def test_a_file_that_was_merged_away_lately_stays_for_those_who_have_it_open(filled):
    """DuckLake's own limit takes any time of a day on SQLite for an earlier one: it would delete these at once."""
    there = data(filled)
    report = maintain.apply(filled, age=HOUR)
    assert report.deleted == {"old": 0, "orphaned": 0, "bytes": 0}
    assert report.waiting["files"] == 3 * MANY
    assert report.waiting["until"] > datetime.now(UTC) + HOUR
    assert there < data(filled)


def test_ducklake_is_not_let_to_delete_more_than_may_go(filled):
    maintain.apply(filled)
    there = data(filled)
    with (
        pytest.raises(LakeFailure, match=r"would delete .* files that are needed or too young"),
        filled.transaction("a test") as cursor,
    ):
        maintain._delete(cursor, "cleanup_old_files", datetime.now(UTC) + timedelta(days=1), {"one of them"})
    assert data(filled) == there


def test_an_age_below_an_hour_is_refused(lake):
    with pytest.raises(LakeUsageError, match="got an age of 59m, expected at least 1h: a reader may still have"):
        maintain.apply(lake, age=timedelta(minutes=59))


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1 d", "1y", "999999d"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(LakeUsageError, match="expected a number and a unit, such as 90m, 1h, 7d or 2w"):
        maintain.duration(text)


def test_orphans_go_when_they_are_old_and_those_of_another_lake_never(filled):
    folder = filled.home / "data/main/instructions"
    old, young = folder / "ducklake-0fffffff-0000-7000-8000-000000000001.parquet", folder / "young.parquet"
    for orphan in (old, young):
        orphan.write_bytes(b"half a file")
    os.utime(old, (time.time() - 7200,) * 2)
    foreign = folder / "ducklake-00000000-0000-7000-8000-000000000002.parquet"
    foreign.write_bytes(b"of a lake whose catalog is gone")
    report = maintain.apply(filled)
    assert "1 Parquet files" in report.left
    assert foreign.name in report.left
    assert old.exists()
    foreign.unlink()
    report = maintain.apply(filled)
    assert report.deleted == {"old": 0, "orphaned": 1, "bytes": 11}
    assert (old.exists(), young.exists()) == (False, True)
    assert len(rows(filled)) == MANY


def test_snapshots_stay_that_are_young_tagged_or_newest_and_the_reason_is_reported(filled):
    edit(filled.home, "UPDATE ducklake_snapshot SET snapshot_time = '2026-01-01 00:00:00+00' WHERE snapshot_id < 9")
    filled.ledger.write("models", [{"id": "m1", "path": "p", "tag": "v1"}], run_id="r", message="a model")
    newest = filled.snapshot()
    report = maintain.plan(filled)
    assert report.expired == [0, 1, 2, 3, 4, 5, 7, 8]
    assert report.kept == [
        {"why": "tag v1, which trained m1", "snapshots": 1, "first": 6, "last": 6},
        {"why": "younger than 7d", "snapshots": newest - 9, "first": 9, "last": newest - 1},
        {"why": "newest", "snapshots": 1, "first": newest, "last": newest},
    ]


def test_a_clock_that_was_set_back_makes_no_snapshot_old(filled):
    edit(filled.home, "UPDATE ducklake_snapshot SET snapshot_time = '2026-01-01 00:00:00+00' WHERE snapshot_id = 9")
    assert maintain.plan(filled).expired == []


def test_a_lake_of_the_last_hour_expires_nothing_however_little_is_kept(lake):
    """Who began to read it then may be reading on."""
    fill(lake, count=2)
    report = maintain.plan(lake, keep=NOW)
    assert report.expired == []
    assert [row["why"] for row in report.kept] == ["younger than 1h", "newest"]


def test_of_files_that_are_needed_no_longer_those_whose_day_is_over_go(filled):
    """On SQLite DuckLake takes any time of a day for earlier than any other of it: the rest of that day must stay."""
    maintain.apply(filled)
    since = "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = ?"
    times = [f"{datetime.now(UTC) - age:%Y-%m-%d %H:%M:%S.%f}+00" for age in (HOUR, timedelta(days=3))]
    edit(filled.home, since, times[0])
    edit(filled.home, f"{since} WHERE data_file_id % 3 = 0", times[1])
    old = MANY
    report = maintain.apply(filled)
    assert (report.deleted["old"], report.waiting["files"]) == (old, 3 * MANY - old)
    assert len(rows(filled)) == MANY


def test_few_files_are_left_alone_and_an_idle_maintenance_commits_nothing(lake):
    fill(lake, count=maintain.FEW)
    assert maintain.plan(lake).idle
    before = lake.snapshot()
    maintain.apply(lake)
    assert lake.snapshot() == before


@pytest.mark.parametrize("name", ["lake", "publish"])
def test_it_waits_for_a_commit_and_for_a_publication_and_says_for_whom(filled, monkeypatch, caplog, name):
    monkeypatch.setattr(lock, "PATIENCE_S", 0.05)
    with ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING, "warehouse"):
        with lock.exclusive(filled.place, name, "somebody at work"):
            waiting = pool.submit(maintain.apply, filled)
            until(lambda: caplog.messages)
            assert not waiting.done()
            assert len(filled.rows("FROM ducklake_list_files('lake', 'instructions')")) == MANY
        assert waiting.result(timeout=60).applied
    assert caplog.messages[0].endswith(": somebody at work")


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_the_file_of_a_transaction_in_another_process_that_holds_no_lock_is_left_to_it(lake):
    fill(lake, count=3)
    here, there = PROCESSES.Pipe()
    other = PROCESSES.Process(target=insert_and_wait, args=(lake.home, there))
    before = data(lake)
    other.start()
    assert answer(here) == "inserted"
    (uncommitted,) = data(lake) - before
    orphan = uncommitted.with_name("ducklake-0fffffff-0000-7000-8000-000000000001.parquet")
    orphan.write_bytes(b"left by a writer that died")
    os.utime(orphan, (time.time() - 7200,) * 2)
    report = maintain.apply(lake)
    assert (report.deleted["orphaned"], report.waiting["files"]) == (1, 1)
    assert (orphan.exists(), uncommitted.exists()) == (False, True)
    here.send("commit")
    assert answer(here) == "committed"
    other.join()
    assert {row["id"] for row in rows(lake)} == {"i0", "i1", "i2", "foreign"}


def answer(pipe):
    assert pipe.poll(60), "the other process does not answer"
    return pipe.recv()


def insert_and_wait(home: Path, pipe) -> None:
    """A program that writes past the lock, as none should."""
    db = connect(LakeLocation(home), read_only=False)
    db.execute("BEGIN")
    db.execute(
        "INSERT INTO lake.instructions BY NAME SELECT * REPLACE ('foreign' AS id) FROM lake.instructions LIMIT 1"
    )
    set_commit_message(db, "a foreign commit", {})
    pipe.send("inserted")
    answer(pipe)
    try:
        db.execute("COMMIT")
        pipe.send("committed")
    except duckdb.Error as error:
        pipe.send(str(error))


def test_who_began_to_read_before_a_merge_still_finds_its_rows(filled, monkeypatch):
    """On SQLite such a transaction finds no row; so what was read is read again."""
    began = Lake.read_consistent

    def overtaken(lake, cursor, read):
        tries = []

        def late():
            if not tries:
                with Lake.open(filled.home) as other:
                    maintain.apply(other)
            tries.append(read())

        began(lake, cursor, late)
        assert len(tries) == 2

    for use in (lambda lake: len(rows(lake)), lambda lake: len(lake.ledger.records("instructions", KEYS))):
        with Lake.open(filled.home, read_only=True) as reader, monkeypatch.context() as patch:
            patch.setattr(Lake, "read_consistent", overtaken)
            assert use(reader) >= MANY
        fill(filled, 1000)


@pytest.mark.flow
def test_readers_and_writers_beside_it_notice_nothing(filled):
    """Readers poll and a writer commits all along; every answer is whole, and none goes back."""
    done = []

    def read():
        counts = []
        with Lake.open(filled.home, read_only=True) as reader:
            while not done:
                found = reader.rows(
                    "SELECT count(*) AS n, count(DISTINCT id) AS ids, max(rowid) AS r FROM instructions"
                )
                counts.append(found[0])
        return counts

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for round in range(2):
                writer = pool.submit(fill, filled, 100 * (round + 1), MANY)
                with Lake.open(filled.home) as other:
                    maintain.apply(other, keep=NOW)
                    writer.result(timeout=60)
                    age_scheduled(other, timedelta(days=2))
                    maintain.apply(other, keep=NOW)
        finally:
            done.append(True)
    for counts in (reader.result() for reader in readers):
        assert all(row["n"] == row["ids"] for row in counts)
        assert [row["n"] for row in counts] == sorted(row["n"] for row in counts)
    assert len(rows(filled)) == 3 * MANY


def test_many_commits_end_in_few_files_and_the_same_rows(filled):
    with filled.cursor() as cursor:
        assert {row["table"] for row in data_files.known(cursor, filled.place)} >= {"instructions", "tags"}
    lines = []
    maintain.apply(filled, log=lines.append)
    assert f"merged {MANY} files of instructions into one" in lines
    assert maintain.plan(filled).idle
