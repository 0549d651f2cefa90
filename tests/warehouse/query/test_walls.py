"""Queries that try to write, or to read what is not the lake's: none changes a file, and none gets past the wall."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import commit, fill, instruction, response

from warehouse import Lake, LakeUsageError
from warehouse.query import status

DATA = "{home}/data/main/attempts/{file}"
HOSTILE = [
    "EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{data}'",
    "EXPLAIN ANALYZE COPY attempts TO '{home}/data/new.parquet' (FORMAT parquet)",
    "EXPLAIN ANALYZE /* SELECT */ COPY (SELECT 1) TO '{data}'",
    "/* SELECT 1 */ EXPLAIN -- SELECT\n ANALYZE COPY (SELECT 1) TO '{data}'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{data}'",
    "EXPLAIN (ANALYZE, FORMAT json) INSERT INTO lake.runs SELECT * FROM lake.runs",
    "explain analyze create table memory.main.t as select 1",
    "EXPLAIN ANALYZE DELETE FROM lake.attempts",
    "EXPLAIN ANALYZE UPDATE lake.attempts SET state = 'x'",
    "EXPLAIN ANALYZE CREATE VIEW v AS SELECT 1",
    "EXPLAIN ANALYZE EXPORT DATABASE '{home}/data/out'",
    "EXPLAIN ANALYZE CALL ducklake_expire_snapshots('lake', versions => [1])",
    "EXPLAIN SELECT 1; COPY (SELECT 1) TO '{data}'",
    "SELECT 1; DROP TABLE lake.runs",
    "SELECT 1; SELECT 2",
    "SELECT 1; FROM read_text('/etc/hostname')",
    "SELECT 1;\n-- and\nCOPY (SELECT 1) TO '{data}'",
    "COPY (SELECT 1) TO '{data}'",
    "COPY runs TO '{home}/data/x.csv'",
    "EXPORT DATABASE '{home}/data/out'",
    "IMPORT DATABASE '{home}/data'",
    "ATTACH '{home}/data/new.duckdb' AS d",
    "ATTACH 'ducklake:sqlite:{home}/catalog.sqlite' AS again",
    "DETACH lake",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET temp_directory = '{home}/data/t'",
    "RESET allowed_directories",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{home}/data/p.json'",
    "PRAGMA copy_database('lake', 'memory')",
    "PRAGMA table_info('attempts')",
    "CALL lake.set_option('parquet_compression', 'snappy')",
    "CALL enable_logging(storage => 'file', storage_path => '{home}/data/log')",
    "FROM enable_logging(storage => 'file', storage_path => '{home}/data/log')",
    "FROM enable_profiling(save_location => '{home}/data/p.json')",
    "FROM ducklake_expire_snapshots('lake', versions => [1])",
    "FROM main.ducklake_merge_adjacent_files('lake')",
    "FROM \"ducklake_cleanup_old_files\"('lake', cleanup_all => true)",
    "FROM DuckLake_Delete_Orphaned_Files('lake', cleanup_all => true)",
    "FROM ducklake_add_data_files('lake', 'runs', '{data}')",
    "FROM ducklake_set_option('lake', 'parquet_compression', 'snappy')",
    "SELECT * FROM query('SELECT * FROM sqlite' || '_query(''x'', ''y'')')",
    "SELECT * FROM query_table('attempts')",
    "SELECT (SELECT count(*) FROM query('SELECT 1'))",
    "WITH a AS (FROM sqlite_query('{home}/catalog.sqlite', 'DROP TABLE ducklake_table')) FROM a",
    "FROM sqlite_attach('{home}/catalog.sqlite')",
    "FROM sqlite_scan('{home}/catalog.sqlite', 'ducklake_table')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('SELECT * FROM read_text(''/etc/hostname'')')",
    "SELECT 1 UNION ALL SELECT 1 FROM read_csv('/etc/hostname')",
    "SUMMARIZE SELECT * FROM read_text('/etc/hostname')",
    "DESCRIBE SELECT * FROM read_blob('/etc/hostname')",
    "FROM glob('/*')",
    "FROM parquet_metadata('{data}')",
    "FROM read_parquet('{home}/data/**/*.parquet')",
    "FROM '/etc/hostname'",
    "FROM '{data}'",
    "SELECT * FROM attempts, LATERAL read_text(id)",
    "SELECT getenv('HOME')",
    "SELECT main.getenv('HOME')",
    "FROM duckdb_databases()",
    "FROM duckdb_secrets",
    "FROM Pragma_Database_List",
    "FROM pg_database",
    "SELECT write_log('x')",
    "SELECT database_name FROM pragma_database_list",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CREATE MACRO m() AS TABLE SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "USE memory",
    "WITH x AS (INSERT INTO lake.runs VALUES (1) RETURNING 1) FROM x",
    "\u200bEXPLAIN ANALYZE COPY (SELECT 1) TO '{data}'",
    "SELECT 1\x00; COPY (SELECT 1) TO '{data}'",
    "SELECT '\ud800'",
    "",
    "-- nothing",
    ";",
]
ALLOWED = [
    "SELECT count(*) AS n FROM instructions",
    "FROM instructions SELECT id",
    "EXPLAIN SELECT * FROM sft",
    "explain analyze FROM funnel",
    "EXPLAIN (FORMAT json) SELECT 1",
    "/* why */ SELECT 1 -- not",
    "SELECT 1;",
    "DESCRIBE attempts",
    "SUMMARIZE SELECT topic FROM instructions",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "VALUES (1), (2)",
    "TABLE instructions",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r",
    "SELECT unnest([1, 2]), list_transform([1], lambda x: x + 1)",
    "FROM range(3), unnest(['a']) AS u(x), generate_series(1, 2) AS g(y)",
    "SELECT * FROM instructions AT (VERSION => 2)",
    "PIVOT instructions ON state IN ('accepted', 'rejected') USING count(*)",
    "FROM ducklake_snapshots('lake')",
    "FROM ducklake_table_changes('lake', 'main', 'instructions', 1, 2)",
    "FROM information_schema.columns WHERE table_name = 'sft'",
    "FROM duckdb_columns() LIMIT 1",
    "SELECT j.key FROM json_each('{\"a\": 1}') AS j",
    "SELECT 'COPY x TO y; getenv(1)' AS text, md5('a'), regexp_replace('a', 'a', 'b'), now() IS NOT NULL",
    "SELECT i.id, r.text FROM instructions i LEFT JOIN responses r ON r.instruction_id = i.id"
    " QUALIFY row_number() OVER (PARTITION BY i.id ORDER BY r.id) = 1",
]


@pytest.fixture(scope="module")
def walled(empty, tmp_path_factory):
    """A lake with rows, open to write and open to read."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("walls") / "home")
    with Lake.open(home) as writer:
        commit(writer, instructions=[instruction("i1"), instruction("i2")], responses=[response("r1", "i1")])
        with Lake.open(home, read_only=True) as reader:
            yield home, (writer, reader)


def state(*folders: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of these folders with its content; SQLite's own files beside the catalog aside."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if not path.name.endswith(("-wal", "-shm"))
    }


def spelled(home: Path, query: str) -> str:
    file = next((home / "data/main/attempts").iterdir())
    return query.replace("{data}", str(file)).replace("{home}", str(home))


def test_no_hostile_statement_passes_or_changes_a_file(walled, tmp_path, monkeypatch):
    home, lakes = walled
    monkeypatch.chdir(tmp_path)
    before = state(home, tmp_path)
    for lake in lakes:
        for query in HOSTILE:
            with pytest.raises(LakeUsageError) as refused:
                lake.rows(spelled(home, query))
            assert len(str(refused.value)) < 1500, query
            assert "\n" not in str(refused.value)
    assert state(home, tmp_path) == before


def test_what_an_engineer_asks_is_answered(walled):
    _, lakes = walled
    for lake in lakes:
        for query in ALLOWED:
            assert isinstance(lake.rows(query), list), query


@pytest.mark.parametrize(
    "name", ["runs; DROP TABLE runs", "runs' --", "/etc/hostname", "query('SELECT 1')", "", "\x1b[2J"]
)
def test_show_takes_names_alone(walled, name):
    _, (_, reader) = walled
    for asked in (status.show, status.count):
        with pytest.raises(LakeUsageError, match="no table or view") as refused:
            asked(reader, name)
        assert "\x1b" not in str(refused.value)


ACTIONS = st.sampled_from(
    [
        "COPY (SELECT 1) TO '{data}'",
        "INSERT INTO lake.runs SELECT * FROM lake.runs",
        "DROP TABLE lake.runs",
        "CREATE TABLE memory.main.t AS SELECT 1",
        "ATTACH '{home}/data/x.duckdb'",
        "CALL ducklake_expire_snapshots('lake', versions => [1])",
        "SET threads = 1",
    ]
)
CALLS = st.sampled_from(
    [
        "query('SELECT 1')",
        "ducklake_expire_snapshots('lake', versions => [1])",
        "sqlite_query('x', 'y')",
        "read_text('/etc/hostname')",
        "enable_logging(storage => 'file', storage_path => '{home}/data/l')",
        "glob('/*')",
    ]
)
SPACE = st.sampled_from([" ", "\n", "\t", " /* SELECT 1 */ ", " -- SELECT 1\n"])


@st.composite
def statements(draw) -> str:
    """A statement that writes, or reads elsewhere, in forms that look like a query."""
    space = draw(SPACE)
    if draw(st.booleans()):
        action = draw(ACTIONS).replace(" ", space, 1)
        around = [
            "{}",
            "EXPLAIN{s}{}",
            "EXPLAIN{s}ANALYZE{s}{}",
            "EXPLAIN (ANALYZE){s}{}",
            "SELECT 1;{s}{}",
            "{};SELECT 1",
        ]
        return draw(st.sampled_from(around)).replace("{s}", space).replace("{}", action)
    call = draw(CALLS)
    call = call.upper().replace("{HOME}", "{home}") if draw(st.booleans()) else call
    around = [
        "SELECT * FROM {}",
        "FROM{s}{}",
        "WITH a AS (FROM {}) FROM a",
        "SELECT (SELECT count(*) FROM {})",
        "SELECT 1 UNION ALL SELECT 1 FROM {}",
        "DESCRIBE FROM {}",
        "SUMMARIZE FROM {}",
        "EXPLAIN ANALYZE FROM {}",
        "SELECT 1 WHERE EXISTS (FROM {})",
        "SELECT * FROM instructions JOIN {} ON true",
        "PIVOT (FROM {}) ON a IN (1) USING count(*)",
        "SELECT list_transform([1], lambda x: (SELECT count(*) FROM {}))",
    ]
    return draw(st.sampled_from(around)).replace("{s}", space).replace("{}", call)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements())
def test_no_form_of_a_hostile_statement_passes(walled, query):
    home, (writer, reader) = walled
    before = state(home)
    for lake in (writer, reader):
        with pytest.raises(LakeUsageError):
            lake.rows(spelled(home, query))
    assert state(home) == before


def test_a_query_of_a_writing_lake_is_in_a_transaction_that_cannot_write(walled):
    _, (writer, _) = walled
    with writer.query("SELECT 1") as cursor:
        cursor.fetchall()
        with pytest.raises(Exception, match="read-only"):
            cursor.execute("DELETE FROM lake.runs")
        cursor.execute("ROLLBACK")


@pytest.mark.flow
def test_a_home_of_any_name_is_that_home_alone(tmp_path, empty):
    from warehouse.export.export import export
    from warehouse.export.publish import publish, tag
    from warehouse.health.doctor import doctor
    from warehouse.maintenance import maintain
    from warehouse.query.snapshots import release_of

    neighbour = tmp_path / "home b"
    (neighbour / "data/main/runs").mkdir(parents=True)
    stray = neighbour / "data/main/runs/ducklake-0fffffff-0000-7000-8000-000000000001.parquet"
    stray.write_bytes(b"another's")
    os.utime(stray, (1, 1))
    with Lake.open(shutil.copytree(empty, tmp_path / "filled")) as lake:
        fill(lake)
    for name in ("home [b]", "-q'uo\"te #%20 ünï {a,b} ?*;$HOME"):
        home = shutil.copytree(tmp_path / "filled", tmp_path / name)
        with Lake.open(home) as lake:
            first = lake.snapshot()
            tag(lake, "private", run_id="r")
            done = publish(lake, "v1", home / "exports", models={}, run_id="r")
            assert done.path == home / "exports" / "v1"
            with Lake.open(home, snapshot=first) as then:
                assert then.rows("SELECT count(*) AS n FROM tags") == [{"n": 0}]
                made = export(then, ["sft"], home / "exports/again", release=release_of(lake, "v1"), licences={})
            assert sum(made.rows["sft"].values()) == done.rows["sft"] > 0
            orphan = home / "data/main/tags/ducklake-0fffffff-0000-7000-8000-000000000002.parquet"
            orphan.write_bytes(b"half")
            theirs = home / "data/mine.parquet"
            theirs.write_bytes(b"no data file of a lake")
            for path in (orphan, theirs):
                os.utime(path, (1, 1))
            assert maintain.apply(lake).deleted["orphaned"] == 1
            assert (orphan.exists(), theirs.exists(), stray.exists()) == (False, True, True)
        theirs.unlink()
        assert [one for one in doctor(home, deep=True) if one.state == "problem"] == []
        (home / "catalog.sqlite").unlink()
        with pytest.raises(LakeUsageError, match="the catalog that knows them is gone"):
            Lake.open(home)


def test_a_lake_below_a_folder_named_versions_is_not_made_anew(tmp_path):
    home = tmp_path / "versions" / "home"
    with Lake.open(home) as lake:
        commit(lake, instructions=[instruction("i1")])
    (home / "catalog.sqlite").unlink()
    with pytest.raises(LakeUsageError, match="the catalog that knows them is gone"):
        Lake.open(home)


def test_what_is_said_of_a_statement_was_not_read_from_a_file(tmp_path: Path) -> None:
    """To name the statements of an IMPORT, DuckDB would read them from its folder."""
    (tmp_path / "schema.sql").write_text("DROP TABLE of_another;")
    (tmp_path / "load.sql").write_text("")
    with Lake.open(tmp_path / "home") as lake, pytest.raises(LakeUsageError) as raised:
        lake.rows(f"IMPORT DATABASE '{tmp_path}'")
    assert "another kind, expected one SELECT" in str(raised.value)
    assert "DROP" not in str(raised.value)


@pytest.mark.parametrize("given", ["\udcff", "much", "-1", "", "1GB'; SELECT 1"])
def test_a_memory_that_is_none_is_named(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_MEMORY", given)
    with pytest.raises(LakeUsageError, match=r"^ALIGNERY_MEMORY: got '.*expected a size such as 4GB"):
        Lake.open(tmp_path)


def test_bytes_that_are_no_text_are_no_sql() -> None:
    from warehouse.schema.tables import quoted

    with pytest.raises(LakeUsageError, match="expected UTF-8"):
        quoted("key \udcff")
