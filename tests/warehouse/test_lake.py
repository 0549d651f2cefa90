"""The lake opens offline, keeps its schema, is read by anyone and written by one path."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lake_rows import commit, instruction

from warehouse import Lake, LakeFailure, LakeLocation, LakeUsageError
from warehouse.database.connection import connect, set_commit_message
from warehouse.schema.lake_schema import default
from warehouse.schema.tables import SCHEMA_VERSION, note, sql_type

PINNED = Path(__file__).parent / f"schema_v{SCHEMA_VERSION}.txt"


def test_the_schema_is_the_one_that_its_version_names():
    lines = [
        f"{table}: " + ", ".join(f"{f.name} {sql_type(f)}" + ("" if f.nullable else "!") for f in columns)
        for table, columns in default().tables.items()
    ]
    assert sorted(lines) == sorted(PINNED.read_text().splitlines()), (
        "a change of the schema is a new SCHEMA_VERSION and a migration, unless a column that may be null is added"
    )


def test_every_table_and_column_carries_its_comment_in_the_lake(unwritten):
    found = unwritten.rows(
        "SELECT table_name AS t, column_name AS c, comment FROM duckdb_columns() WHERE database_name = 'lake'"
    )
    assert {(row["t"], row["c"]): row["comment"] for row in found} == {
        (table, field.name): note(field) for table, columns in default().tables.items() for field in columns
    }
    assert note(default().tables["attempts"].field("latency_s")) == "time from sending to reply [seconds]"


def test_a_project_folder_in_place_of_its_lake_is_answered_with_the_lake(tmp_path, empty):
    shutil.copytree(empty, tmp_path / ".alignery")
    with pytest.raises(LakeUsageError, match=r"there is one in .*/\.alignery, give that folder"):
        Lake.open(tmp_path, read_only=True)


def test_small_commits_are_zstd_parquet_and_not_inlined(lake):
    commit(lake, instructions=[instruction("i1")])
    (file,) = (lake.home / "data" / "main" / "instructions").glob("*.parquet")
    assert pq.read_table(file).num_rows == 1
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


def insert(lake, then):
    with lake.transaction("a test") as cursor:
        cursor.execute("INSERT INTO lake.versions VALUES (1, now())")
        cursor.execute(then)


def test_a_commit_without_a_message_is_refused_by_the_lake_itself(lake):
    with pytest.raises(LakeFailure, match="Commit Information"):
        insert(lake, "COMMIT")


def test_a_transaction_that_fails_leaves_nothing_and_frees_the_lock(lake):
    with pytest.raises(LakeFailure, match=r"a test: nothing was committed: .*syntax error"):
        insert(lake, "SELEC 1")
    assert lake.sql("SELECT * FROM versions").num_rows == 1
    assert commit(lake, instructions=[instruction("i1")]) == 1


def test_reading_where_there_is_no_lake_says_what_makes_one(tmp_path):
    with pytest.raises(LakeUsageError, match=r"no lake in .*nowhere; `alignery refresh` makes one"):
        Lake.open(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_home_that_is_a_file_or_holds_another_thing_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LakeUsageError, match="got a file, expected the lake's folder"):
        Lake.open(tmp_path / "file")
    (tmp_path / "catalog.sqlite").write_text("this is no database, though it stands in its place")
    with pytest.raises(LakeUsageError, match="the lake cannot be opened"):
        Lake.open(tmp_path, read_only=True)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_lake_of_a_newer_version_is_refused(home, read_only):
    db = connect(LakeLocation(home), read_only=False)
    db.execute("BEGIN")
    db.execute(f"INSERT INTO lake.versions VALUES ({SCHEMA_VERSION + 1}, now())")
    set_commit_message(db, "from the future", {})
    db.execute("COMMIT")
    db.close()
    with pytest.raises(LakeUsageError, match=f"schema version {SCHEMA_VERSION + 1}, .*; upgrade alignery"):
        Lake.open(home, read_only=read_only)


def test_opening_again_makes_nothing_again(home):
    with Lake.open(home) as lake:
        first = lake.snapshot()
    with Lake.open(home) as lake:
        assert lake.snapshot() == first


def test_a_lake_may_be_moved(lake, tmp_path):
    commit(lake, instructions=[instruction("i1")])
    lake.close()
    shutil.move(lake.home, tmp_path / "else where's")
    with Lake.open(tmp_path / "else where's") as moved:
        assert commit(moved, instructions=[instruction("i2")]) == 1
        assert moved.sql("SELECT * FROM instructions").num_rows == 2


def test_a_reader_sees_what_another_connection_commits_and_writes_nothing(lake):
    with Lake.open(lake.home, read_only=True) as reader:
        commit(lake, instructions=[instruction("i1")])
        assert reader.sql("SELECT * FROM instructions").num_rows == 1
        with pytest.raises(LakeUsageError, match="open for reading only"):
            commit(reader, instructions=[instruction("i2")])
        with lake.transaction("held"):  # the lock is held, and a reader does not wait for it
            assert reader.rows("SELECT id FROM instructions") == [{"id": "i1"}]


def test_a_lake_opened_at_a_snapshot_stands_still(lake):
    commit(lake, instructions=[instruction("i1")])
    with Lake.open(lake.home, snapshot=lake.snapshot()) as pinned:
        commit(lake, instructions=[instruction("i2")])
        assert pinned.rows("SELECT record_id FROM lineage") == [{"record_id": "i1"}]
        assert pinned.snapshot() == lake.snapshot() - 1
        with pytest.raises(LakeUsageError, match="open for reading only"):
            commit(pinned, instructions=[instruction("i3")])


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM nope", "Table with name nope does not exist.*tables .*instructions, .*views candidates, "),
        ("SELECT nope FROM sft", '"nope" not found in FROM clause'),
        ("SELEC 1", "syntax error"),
        ("", "holds nothing, expected one SELECT"),
        ("SELECT 1; SELECT 2", "holds SELECT, SELECT, expected one SELECT"),
        ("INSERT INTO versions VALUES (9, now())", "holds INSERT"),
        ("DROP TABLE runs", "holds DROP"),
        ("SET search_path = 'memory'", "holds SET"),
        ("COPY runs TO 'runs.csv'", "holds COPY"),
        ("CALL lake.set_option('parquet_compression', 'snappy')", "holds CALL"),
        ("FROM ducklake_expire_snapshots('lake', versions => [1])", "ducklake_expire_snapshots\\(\\), which may write"),
        ("FROM read_text('/etc/hostname')", "read_text\\(\\), which may write, or read elsewhere"),
        ("FROM secret_local_rows", "secret_local_rows does not exist"),
        ("SELECT 'x'::INT", "Could not convert string"),
    ],
)  # fmt: skip
def test_a_query_reads_the_lake_and_nothing_else(shared, query, message, read_only):
    secret_local_rows = pq.read_table  # a variable of this name is no table
    with pytest.raises(LakeUsageError, match=message):
        shared[read_only].sql(query)
    assert secret_local_rows


@pytest.fixture(scope="module")
def shared(unwritten):
    """The same empty lake, as a writer (False) and as a reader (True)."""
    with Lake.open(unwritten.home, read_only=True) as reader:
        yield {False: unwritten, True: reader}


def test_queries_take_values_and_explain_themselves(shared):
    assert shared[True].sql("SELECT ? + 1 AS n", [1]).to_pylist() == [{"n": 2}]
    assert shared[True].sql("EXPLAIN SELECT * FROM sft").num_rows
    assert shared[True].rows("FROM (DESCRIBE qac) SELECT column_name LIMIT 1") == [{"column_name": "question"}]


@pytest.mark.parametrize("read_only", [True, False])
def test_what_does_not_fit_the_memory_goes_on_in_temporary_files_that_are_gone_afterwards(home, monkeypatch, read_only):
    monkeypatch.setenv("ALIGNERY_MEMORY", "60MB")
    assert not (home / "tmp").exists() or not list((home / "tmp").iterdir())
    with Lake.open(home, read_only=read_only) as lake:
        wide = "SELECT i, hash(i)::VARCHAR || repeat('x', 60) AS text FROM range(1_500_000) r(i)"
        assert lake.rows(f"SELECT max(text) > '' AS held FROM ({wide} ORDER BY text OFFSET 1)") == [{"held": True}]
    assert not list((home / "tmp").iterdir())


@pytest.mark.parametrize("given", ["\udcff", "all", "0", "-1", "", "1; SELECT 1"])
def test_a_number_of_threads_that_is_none_is_named(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_THREADS", given)
    with pytest.raises(LakeUsageError, match=r"^ALIGNERY_THREADS: got '.*expected 1 to 9999"):
        Lake.open(tmp_path)


def test_queries_take_as_many_threads_as_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_THREADS", "3")
    with Lake.open(tmp_path) as lake:
        assert lake.rows("SELECT current_setting('threads') AS threads") == [{"threads": 3}]
