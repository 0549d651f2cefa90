"""Several writers, threads and processes, and writers that are killed."""

import logging
import multiprocessing
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lake_rows import attempt, commit, instruction

from warehouse import Lake, LakeFailure, LakeLocation
from warehouse.database import lock
from warehouse.database.location import as_location

pytestmark = pytest.mark.flow


KEYS = [f"k{n}" for n in range(40)]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warehouse", "pandas"])


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB with threads, as users have it; the other tests have one."""
    monkeypatch.setenv("ALIGNERY_THREADS", "4")


def write(lake, keys, run_id):
    """One batch as a run would commit it; its calls have ids of their own, its records the work's."""
    calls = [attempt(key, id=f"{key}-{run_id}") for key in keys]
    rows = [instruction(f"i-{key}", key=key, attempt_id=f"{key}-{run_id}") for key in keys]
    return lake.ledger.append({"instructions": rows}, calls, run_id=run_id, step="s", fingerprint="f")


def race(home: Path, run_id: str, landed) -> None:
    """Commit all keys in batches of ten, in an order of its own."""
    order = random.Random(run_id).sample(KEYS, len(KEYS))
    with Lake.open(home) as lake:
        landed.put(sum(write(lake, order[start : start + 10], run_id) for start in range(0, len(order), 10)))


def work_until_killed(home: Path, run_id: str, log: Path) -> None:
    """Commit batch after batch, noting each that was acknowledged."""
    with Lake.open(home) as lake, log.open("a", buffering=1) as acknowledged:
        for number in range(10_000):
            write(lake, [f"{run_id}-{number}-{n}" for n in range(20)], run_id)
            acknowledged.write(f"{run_id}-{number}\n")


def until(true, seconds=30):
    """Wait for something, and not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def check_whole(lake):
    """Nothing doubled, nothing torn: every ledger row's attempts and records are there."""
    for table in ("attempts", "instructions", "commits"):
        assert not lake.rows(f"SELECT id FROM {table} GROUP BY id HAVING count(*) > 1"), table
    assert not lake.rows("SELECT work_key FROM attempts WHERE final GROUP BY work_key HAVING count(*) > 1")
    assert not lake.rows("SELECT i.id FROM instructions i ANTI JOIN attempts a ON a.id = i.attempt_id")
    committed = lake.rows("SELECT coalesce(sum(attempts), 0) AS a, coalesce(sum(records), 0) AS r FROM commits")[0]
    held = lake.rows("SELECT (SELECT count(*) FROM attempts) AS a, (SELECT count(*) FROM instructions) AS r")[0]
    assert committed == held


def test_four_processes_that_start_without_a_lake_make_one_and_land_their_common_work_once(tmp_path):
    landed = PROCESSES.Queue()
    writers = [PROCESSES.Process(target=race, args=(tmp_path / "new", f"run-{n}", landed)) for n in range(4)]
    for writer in writers:
        writer.start()
    assert sum(landed.get(timeout=60) for _ in writers) == len(KEYS)
    for writer in writers:
        writer.join()
    with Lake.open(tmp_path / "new", read_only=True) as lake:
        check_whole(lake)
        assert lake.sql("SELECT * FROM attempts").num_rows == len(KEYS)
        assert lake.sql("SELECT * FROM versions").num_rows == 1


def test_threads_share_a_lake(lake):
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(write, lake, KEYS[start : start + 20], f"run-{start}") for start in (0, 10, 20)]
        reads = [pool.submit(lake.ledger.unfinished, KEYS) for _ in range(10)]
    assert sum(done.result() for done in writes) == len(KEYS)
    assert all(read.result() <= set(KEYS) for read in reads)
    assert lake.ledger.unfinished(KEYS) == set()
    check_whole(lake)


def test_killed_writers_leave_no_torn_rows_and_lose_nothing_that_was_acknowledged(lake, tmp_path):
    log, pause = tmp_path / "acknowledged", random.Random(7)
    log.touch()
    for number in range(4):
        writer = PROCESSES.Process(target=work_until_killed, args=(lake.home, f"run-{number}", log))
        writer.start()
        begun = f"run-{number}-0\n"
        until(lambda writer=writer, begun=begun: begun in log.read_text() or not writer.is_alive())
        assert writer.is_alive()
        time.sleep(pause.uniform(0.05, 0.4))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        check_whole(lake)
    acknowledged = [f"{batch}-{n}" for batch in log.read_text().split() for n in range(20)]
    assert lake.ledger.unfinished(acknowledged) == set()
    assert write(lake, acknowledged, "again") == 0


def test_who_waits_says_for_whom(lake, monkeypatch, caplog):
    monkeypatch.setattr(lock, "PATIENCE_S", 0.05)
    with ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING, "warehouse"):
        with lock.exclusive(lake.place, "lake", "run-a, x.ask"):
            waiting = pool.submit(commit, lake, instructions=[instruction("i1")])
            until(lambda: caplog.messages or waiting.done())
        assert waiting.result(timeout=20) == 1
    (message,) = caplog.messages
    assert message.startswith(f"waiting for the lock 'lake' of {lake.home}, held by pid {os.getpid()} on ")
    assert message.endswith(": run-a, x.ask")


@pytest.mark.parametrize("again", [True, False])
def test_a_lock_file_that_is_deleted_while_it_is_taken_is_taken_anew(lake, monkeypatch, again):
    """Somebody deletes the file between its opening and its locking: who holds that one holds nothing."""
    path, taken = lake.home / "lake.lock", lock._taken

    def late(file):
        monkeypatch.undo()
        path.unlink()
        if again:
            path.touch()
        return taken(file)

    monkeypatch.setattr(lock, "_taken", late)
    with lock.exclusive(lake.place, "lake", "the first"):
        with (
            pytest.raises(LakeFailure, match=r"held by pid .*: the first; wait"),
            lock.exclusive(lake.place, "lake", "the second", wait=False),
        ):
            pass
        assert lock.holder(lake.place, "lake").endswith(": the first")
    assert lock.holder(lake.place, "lake") is None


def test_the_lock_names_its_newest_holder_alone(lake):
    for who in ("a run with a long name", "b"):
        with lock.exclusive(lake.place, "lake", who):
            (line,) = (lake.home / "lake.lock").read_text().splitlines()
            assert line.endswith(f": {who}")


def test_a_dead_holder_holds_nothing(lake):
    holder = PROCESSES.Process(target=hold, args=(lake.home,))
    holder.start()
    until(lambda: "the dead" in (lake.home / "lake.lock").read_text())
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert commit(lake, instructions=[instruction("i1")]) == 1
    assert (lake.home / "lake.lock").read_text().endswith(": run run-1, test.step\n")


def hold(home: Path | LakeLocation) -> None:
    with lock.exclusive(as_location(home), "lake", "the dead"):
        time.sleep(60)


@pytest.fixture(autouse=True, scope="module")
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()
