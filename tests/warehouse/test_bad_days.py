"""Bad days: no acknowledged row is lost, nothing is half written, and what happened is one sentence."""

import multiprocessing
import random
import resource
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from lake_rows import attempt, commit, instruction, response, revision

from warehouse import Lake, LakeFailure, LakeLocation, LakeUsageError, ledger
from warehouse.database import lock
from warehouse.database.connection import connect, set_commit_message
from warehouse.query import status
from warehouse.schema.tables import SCHEMA_VERSION

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warehouse", "pandas"])


def ids(home, **options):
    with Lake.open(home, read_only=True, **options) as lake:
        return {row["id"] for row in lake.rows("SELECT id FROM instructions")}


def whole(home):
    """Every instruction has its attempt, and the ledger's counts add up."""
    with Lake.open(home, read_only=True) as lake:
        committed = lake.rows("SELECT sum(attempts) AS a, sum(records) AS r FROM commits")[0]
        held = lake.rows("SELECT (SELECT count(*) FROM attempts) AS a, (SELECT count(*) FROM instructions) AS r")[0]
        assert committed == held
        assert not lake.rows("SELECT i.id FROM instructions i ANTI JOIN attempts a ON a.id = i.attempt_id")


# A full disk. A limit on the size of files fails as a disk without room does, needs no rights, and comes in the midst
# of a commit: at the lock (0), the catalog's index (20 kB) or journal (60 kB), or at the Parquet file (100 kB).


@pytest.mark.parametrize(
    ("limit", "letters"),
    [(60_000, 10), *(pytest.param(*at, marks=pytest.mark.flow) for at in ((0, 10), (20_000, 10), (100_000, 400_000)))],
)
def test_a_full_disk_loses_nothing_and_when_there_is_room_again_the_work_goes_on(home, limit, letters):
    results = PROCESSES.Queue()
    writer = PROCESSES.Process(target=write_on_a_full_disk, args=(home, limit, letters, results))
    writer.start()
    acknowledged, sentences = results.get(timeout=60)
    writer.join()
    assert sentences
    for sentence in sentences:
        assert str(home) in sentence
        assert "free some space" in sentence
        assert "\n" not in sentence
    assert {"i0", "i5"} <= acknowledged == ids(home)
    whole(home)


def write_on_a_full_disk(home, limit, letters, message):
    acknowledged, sentences = set(), []
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Lake.open(home) as lake:
        for number in range(6):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit if 0 < number < 5 else least, most))
            text = random.Random(number).randbytes(letters // 2).hex()
            try:
                commit(lake, instructions=[instruction(f"i{number}", text)])
                acknowledged.add(f"i{number}")
            except LakeFailure as fault:
                sentences.append(str(fault))
    message.put((acknowledged, sentences))


# Files that are damaged or gone


@pytest.fixture
def damaged(lake):
    """A lake, and the one data file of its instruction."""
    commit(lake, instructions=[instruction("i1")])
    (file,) = (lake.home / "data/main/instructions").glob("*.parquet")
    return lake, file


@pytest.mark.parametrize("how", ["cut", "empty", "garbled", "gone"])
def test_a_damaged_file_is_named_and_not_a_traceback(damaged, how):
    lake, file = damaged
    data = file.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(
            {"cut": data[:-20], "empty": b"", "garbled": data[:50] + bytes(len(data) - 58) + data[-8:]}[how]
        )
    for read in (
        lambda: lake.rows("SELECT id FROM instructions"),
        lambda: lake.ledger.records("instructions", ["k-i1"]),
    ):
        # Of a garbled footer DuckDB does not say whose it is.
        with pytest.raises(
            LakeFailure, match="a data file is gone or damaged: .*" + (file.name if how != "garbled" else "")
        ):
            read()
    # What does not need it goes on.
    assert commit(lake, attempts=[attempt("other")]) == 1
    assert lake.ledger.unfinished(["k-i1", "x"]) == {"x"}


def test_without_the_data_folder_nothing_is_committed_or_taken_for_pending(damaged):
    lake, _ = damaged
    (lake.home / "data").rename(lake.home / "elsewhere")
    with pytest.raises(LakeFailure, match="nothing was committed"):
        commit(lake, instructions=[instruction("i2")])
    with pytest.raises(LakeFailure, match="a data file is gone or damaged"):
        lake.ledger.unfinished(["k-i1"])
    (lake.home / "elsewhere").rename(lake.home / "data")
    assert commit(lake, instructions=[instruction("i3")]) == 1
    assert ids(lake.home) == {"i1", "i3"}


# The catalog deleted or replaced


def delete_catalog(home):
    for file in home.glob("catalog.sqlite*"):
        file.unlink()


def test_after_the_catalog_is_deleted_nothing_is_acknowledged_or_read(damaged):
    lake, _ = damaged
    with Lake.open(lake.home, read_only=True) as reader:
        delete_catalog(lake.home)
        for use in (
            lambda: commit(lake, instructions=[instruction("i2")]),
            reader.snapshot,
            lambda: lake.ledger.unfinished(["x"]),
        ):
            with pytest.raises(
                LakeFailure, match=r"catalog.sqlite: the catalog was deleted or replaced .*from a backup"
            ):
                use()
    assert not (lake.home / "catalog.sqlite").exists()  # nor was an empty one made in its place


@pytest.mark.parametrize("remade", [False, True])
def test_a_commit_during_which_the_catalog_is_deleted_is_not_acknowledged(damaged, empty, monkeypatch, remade):
    lake, _ = damaged
    insert = ledger._insert

    def deleting(*args):
        insert(*args)
        delete_catalog(lake.home)
        if remade:
            shutil.copy(empty / "catalog.sqlite", lake.home)

    monkeypatch.setattr(ledger, "_insert", deleting)
    with pytest.raises(LakeFailure):
        commit(lake, instructions=[instruction("i2")])
    if remade:
        assert ids(lake.home) == set()


def test_rows_never_land_in_another_lake_made_at_the_same_place(damaged):
    lake, _ = damaged
    delete_catalog(lake.home)
    shutil.rmtree(lake.home / "data")
    with Lake.open(lake.home) as other:
        lake._catalog = lake.place.identity()  # as where the new file gets the deleted one's number, which happens
        with pytest.raises(LakeFailure, match="deleted or replaced"):
            commit(lake, instructions=[instruction("i2")])
        assert other.rows("SELECT id FROM instructions") == []


def test_no_lake_is_made_over_rows_whose_catalog_is_gone(damaged):
    lake, _ = damaged
    lake.close()
    kept = (lake.home / "catalog.sqlite").read_bytes()
    delete_catalog(lake.home)
    for _ in range(2):
        with pytest.raises(
            LakeUsageError, match=r"Parquet files are in .*the catalog that knows them is gone; bring it back"
        ):
            Lake.open(lake.home)
    delete_catalog(lake.home)
    (lake.home / "catalog.sqlite").write_bytes(kept)
    assert ids(lake.home) == {"i1"}


# The lock


def test_a_lock_file_deleted_under_its_holder_lets_nothing_be_doubled(lake):
    """Another then gets a lock of its own, and the catalog itself decides."""
    with lock.exclusive(lake.place, "lake", "the first"):
        (lake.home / "lake.lock").unlink()
        assert commit(lake, instructions=[instruction("i1")]) == 1
    assert commit(lake, instructions=[instruction("i1")]) == 0
    assert lock.holder(lake.place, "lake") is None


def test_of_two_commits_at_once_without_the_lock_one_lands(lake):
    with Lake.open(lake.home) as other, lake.transaction("the first") as cursor:
        cursor.execute("INSERT INTO lake.versions VALUES (1, now())")
        (lake.home / "lake.lock").unlink()
        assert commit(other, instructions=[instruction("i1")]) == 1
        set_commit_message(cursor, "late", {})
        with pytest.raises(duckdb.Error, match=r"UNIQUE constraint|database is locked"):
            cursor.execute("COMMIT")
    assert ids(lake.home) == {"i1"}


# The clock


class Yesterday(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=1)


def test_a_clock_that_is_set_back_does_not_change_what_is_newest(lake, monkeypatch):
    commit(lake, instructions=[instruction("i1")], responses=[response("r1", "i1")])
    commit(lake, "run-1", revisions=[revision("v1", "i1", "r1", "of today")])
    back = {"created_at": datetime.now(UTC) - timedelta(days=1)}
    for state in ("started", "finished"):
        write(lake, "runs", id="one", state=state, flow="refresh")
        monkeypatch.setattr(ledger, "datetime", Yesterday)
    commit(lake, "run-2", revisions=[revision("v2", "i1", "r1", "of the day before", **back)])
    tag = {"content_hash": "c", "rows": "{}"}
    for name, fields in {"v1": {"created_at": datetime.now(UTC)}, "v2": back}.items():
        write(lake, "tags", name=name, snapshot_id=lake.snapshot(), **tag, **fields)
        write(lake, "models", id=f"m-{name}", path=name, tag=name, **fields)
    assert lake.rows("SELECT final_text FROM revised") == [{"final_text": "of the day before"}]
    assert [(row["id"], row["state"]) for row in status.runs(lake)] == [("one", "finished")]
    assert [row["name"] for row in status.tags(lake)] == ["v1", "v2"]
    assert [row["id"] for row in status.models(lake)] == ["m-v1", "m-v2"]
    assert status.status(lake)["tags"][0]["name"] == "v2"
    assert status.show(lake, "revisions", 1)[0]["id"] == "v2"


def write(lake, table, **row):
    lake.ledger.write(table, [row], run_id="r", message="a test")


# Two versions of the program


def test_an_older_program_is_refused_at_its_next_commit_and_leaves_nothing_behind(lake):
    commit(lake, instructions=[instruction("i1")])
    newer = connect(LakeLocation(lake.home), read_only=False)
    newer.execute("BEGIN")
    newer.execute("ALTER TABLE lake.attempts ADD COLUMN mood VARCHAR")
    newer.execute(f"INSERT INTO lake.versions VALUES ({SCHEMA_VERSION + 1}, now())")
    set_commit_message(newer, "migrated", {})
    newer.execute("COMMIT")
    newer.close()
    before = lake.snapshot()
    with pytest.raises(LakeUsageError, match=f"has schema version {SCHEMA_VERSION + 1}, .*; upgrade alignery"):
        commit(lake, instructions=[instruction("i2")])
    assert lake.snapshot() == before
    assert lake.rows("SELECT id FROM instructions") == [{"id": "i1"}]
    assert not list(Path(lake.home / "tmp").glob("*"))
