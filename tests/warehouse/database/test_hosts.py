"""Several hosts: a catalog on a real Postgres, data on a real S3 server, and writers in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psycopg
import pytest
from lake_rows import commit, instruction
from servers import Postgres
from test_races import KEYS, check_whole, hold, until, write

from warehouse import Lake, LakeFailure, LakeLocation, LakeUsageError, lake
from warehouse.database import lock, session
from warehouse.database.connection import LAKE, set_commit_message

pytestmark = pytest.mark.flow

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warehouse", "psycopg", "pandas"])
WORK = KEYS[:30]


@pytest.fixture
def place(tmp_path: Path, database: str) -> LakeLocation:
    return LakeLocation(tmp_path / "home", database)


def race(place: LakeLocation, run_id: str, landed) -> None:
    """Commit each of the same keys as a chunk of its own, looking first as a run does."""
    try:
        with Lake.open(place) as found:
            landed.put(sum(write(found, [key], run_id) for key in WORK if found.ledger.unfinished([key])))
    except LakeFailure as fault:
        landed.put(str(fault))


def race_unlocked(place: LakeLocation, run_id: str, landed) -> None:
    """The same with the lock broken."""

    @contextmanager
    def broken(*_: object, **__: object):
        yield

    lake.exclusive = session.exclusive = broken
    race(place, run_id, landed)


def raced(place: LakeLocation, target) -> list[int | str]:
    Lake.open(place).close()
    landed = PROCESSES.Queue()
    runs = [PROCESSES.Process(target=target, args=(place, f"run-{n}", landed)) for n in range(4)]
    for run in runs:
        run.start()
    counts = [landed.get(timeout=120) for _ in runs]
    for run in runs:
        run.join()
    return counts


def chunks(place: LakeLocation) -> int:
    with Lake.open(place, read_only=True) as found:
        check_whole(found)
        return found.rows("SELECT count(*) AS n FROM commits")[0]["n"]


@pytest.mark.flow
def test_four_processes_that_race_over_the_same_thirty_keys_land_exactly_thirty_chunks(place):
    counts = raced(place, race)
    assert sum(counts) == chunks(place) == len(WORK)


@pytest.mark.flow
@pytest.mark.long
def test_with_the_lock_broken_the_fence_holds_and_says_so(place):
    """Nothing is doubled even then: a commit that was overtaken is void, and after three of them the run ends."""
    counts = raced(place, race_unlocked)
    assert chunks(place) <= len(WORK)
    assert sum(count for count in counts if isinstance(count, int)) <= len(WORK)
    assert all("without holding its lock" in count for count in counts if isinstance(count, str))


@pytest.mark.flow
@pytest.mark.long
def test_with_lock_and_fence_broken_rows_are_doubled(place):
    """What the two are for: without them the same race commits keys twice, as the test above would then find."""
    counts = raced(place, race_unprotected)
    assert sum(counts) > len(WORK)


def race_unprotected(place: LakeLocation, run_id: str, landed) -> None:
    opened = session.connect

    def unfenced(*values: object, **options: object) -> duckdb.DuckDBPyConnection:
        db = opened(*values, **options)
        db.execute("SET GLOBAL ducklake_max_retry_count = 50")
        return db

    session.connect = unfenced
    race_unlocked(place, run_id, landed)


def test_a_commit_that_came_between_voids_ours_which_is_checked_again(place):
    with Lake.open(place) as ours, Lake.open(place) as foreign:
        tries = []

        def land(cursor: duckdb.DuckDBPyConnection) -> int:
            tries.append(cursor.execute(f"SELECT count(*) FROM {LAKE}.prompts").fetchone()[0])
            if len(tries) == 1:
                other = foreign._db.cursor()  # a program that knows nothing of the lock
                other.execute("BEGIN")
                other.execute(f"INSERT INTO {LAKE}.prompts VALUES ('h', 'p', 's', now())")
                set_commit_message(other, "foreign", {})
                other.execute("COMMIT")
            cursor.execute(f"INSERT INTO {LAKE}.prompts VALUES ('h2', 'p', 's', now())")
            set_commit_message(cursor, "ours", {})
            cursor.execute("COMMIT")
            return len(tries)

        assert ours.commit("a test", land) == 2
        assert tries == [0, 1]
        assert ours.sql("SELECT * FROM prompts").num_rows == 2


@pytest.mark.flow
def test_hosts_share_a_lake_whose_data_is_on_s3(tmp_path, database, bucket):
    hosts = [LakeLocation(tmp_path / host, database, f"{bucket}/lake") for host in ("a", "b")]
    fresh = multiprocessing.get_context("spawn")  # a fork server that was started before does not have the keys
    landed = fresh.Queue()
    runs = [fresh.Process(target=race, args=(host, "run", landed)) for host in hosts]
    for run in runs:
        run.start()
    assert sum(landed.get(timeout=120) for _ in runs) == len(WORK)
    for run in runs:
        run.join()
    assert chunks(hosts[1]) == len(WORK)
    with Lake.open(hosts[0], read_only=True) as found:
        files = found.rows("SELECT DISTINCT filename AS f FROM instructions")
    assert files
    assert all(file["f"].startswith("s3://lake/lake/main/instructions/") for file in files)
    assert not (tmp_path / "a" / "data").exists()


def test_s3_without_keys_says_which(tmp_path, database, bucket, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LakeUsageError, match="S3 needs AWS_SECRET_ACCESS_KEY in the environment"):
        Lake.open(LakeLocation(tmp_path, database, f"{bucket}/lake"))


def test_who_waits_on_postgres_says_for_whom(place, monkeypatch, caplog):
    monkeypatch.setattr(lock, "PATIENCE_S", 0.05)
    with Lake.open(place) as found, ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING, "warehouse"):
        with lock.exclusive(place, "lake", "run-a, x.ask"):
            waiting = pool.submit(commit, found, instructions=[instruction("i1")])
            until(lambda: caplog.messages or waiting.done())
            assert lock.holder(place, "lake") == caplog.messages[0].partition("held by ")[2]
        assert waiting.result(timeout=20) == 1
    assert lock.holder(place, "lake") is None
    (message,) = caplog.messages
    assert f"held by pid {os.getpid()} on " in message
    assert "run-a, x.ask (127.0.0.1, since 2" in message


def test_a_lock_that_is_not_waited_for_names_its_holder(place, tmp_path):
    for where in (place, LakeLocation(tmp_path)):
        with (
            lock.exclusive(where, "refresh", "run-a"),
            pytest.raises(LakeFailure, match=f"'refresh' is held by pid {os.getpid()} on .*run-a"),
            lock.exclusive(where, "refresh", "run-b", wait=False),
        ):
            pass
        with lock.exclusive(where, "refresh", "run-b", wait=False):
            assert "run-b" in lock.holder(where, "refresh")


def test_a_dead_holder_of_an_advisory_lock_holds_nothing(place):
    with Lake.open(place) as found:
        dead = PROCESSES.Process(target=hold, args=(place,))
        dead.start()
        until(lambda: lock.holder(place, "lake"))
        dead.kill()
        dead.join()
        assert commit(found, instructions=[instruction("i1")]) == 1


def test_a_server_that_went_away_is_a_sentence_and_the_work_goes_on_when_it_is_back(place, server: Postgres):
    with Lake.open(place) as found:
        assert commit(found, instructions=[instruction("i1")]) == 1
        server.stop("immediate")
        try:
            with pytest.raises(LakeFailure, match="Postgres server does not answer") as raised:
                commit(found, instructions=[instruction("i2")])
            assert len(str(raised.value).splitlines()) == 1
            with pytest.raises(LakeFailure, match="Postgres server does not answer"):
                Lake.open(place, read_only=True)
        finally:
            server.start()
        assert commit(found, instructions=[instruction("i1"), instruction("i2")]) == 1
        check_whole(found)


def test_a_password_is_shown_to_nobody(tmp_path):
    where = LakeLocation(tmp_path, "postgres://me:s3cret@127.0.0.1:1/lake")
    with pytest.raises(LakeFailure, match="does not answer") as raised:
        Lake.open(where)
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in str(where)
    assert "me:***@127.0.0.1" in str(where)


@pytest.mark.parametrize(
    ("catalog", "data", "message"),
    [
        ("mysql://h/d", None, r"lake.catalog: got 'mysql://h/d', expected postgres://user@host/database"),
        ("postgres://h", None, "lake.catalog: got 'postgres://h', expected"),
        (None, "gs://b/x", "lake.data: got 'gs://b/x', expected s3://bucket/prefix"),
    ],
)
def test_another_kind_of_place_is_refused(tmp_path, catalog, data, message):
    with pytest.raises(LakeUsageError, match=message):
        LakeLocation(tmp_path, catalog, data)


def test_a_database_without_a_lake_is_left_alone_by_a_reader(place):
    with pytest.raises(LakeUsageError, match="the lake cannot be opened"):
        Lake.open(place, read_only=True)
    assert psycopg.connect(place.catalog).execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    ).fetchone() == (0,)
