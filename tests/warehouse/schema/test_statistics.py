"""Empty tables have statistics, and their first rows update them to what DuckLake itself would have written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lake_rows import commit, comparison, instruction, response, revision
from test_migrations import unpacked

from warehouse import Lake, LakeLocation
from warehouse.database.connection import CATALOG
from warehouse.schema import statistics
from warehouse.schema.lake_schema import LakeSchema

# Columns of nulls and without, empty lists and full ones, a float; the second commit goes beyond the first's values.
FIRST = {
    "instructions": [instruction("i5"), instruction("i6")],
    "responses": [response("b5", "i5")],
    "comparisons": [comparison("c5", "i5", "b5", "b6", 0.25)],
}
SECOND = {"instructions": [instruction("i1"), instruction("i9")], "revisions": [revision("v1", "i5", "b5", "better")]}


def found(lake: Lake) -> list[dict[str, object]]:
    """The statistics of every table that has had rows, and of each of its columns."""
    return lake.rows(
        f"SELECT t.table_name, c.column_name, s.record_count, s.next_row_id, s.file_size_bytes, o.* EXCLUDE (table_id)"
        f" FROM {CATALOG}.ducklake_table t JOIN {CATALOG}.ducklake_table_stats s USING (table_id)"
        f" JOIN {CATALOG}.ducklake_table_column_stats o USING (table_id)"
        f" JOIN {CATALOG}.ducklake_column c ON c.table_id = o.table_id AND c.column_id = o.column_id"
        " WHERE s.next_row_id > 0 AND t.table_name NOT IN ('commits', 'versions') ORDER BY ALL"
    )


def queries_of_statistics(lake: Lake, query: str) -> int:
    """How often DuckLake asks the catalog for statistics while it answers."""
    with lake.cursor() as cursor:
        cursor.execute("CALL enable_logging('QueryLog')")
        cursor.execute(query).fetchall()
        cursor.execute("CALL disable_logging()")
        asked = "SELECT count(*) FROM duckdb_logs WHERE message LIKE '%ducklake_table_stats%LEFT JOIN%'"
        return int(cursor.execute(asked).fetchall()[0][0])


def written(place: Path | LakeLocation) -> list[dict[str, object]]:
    with Lake.open(place) as lake:
        commit(lake, **FIRST)
        between = found(lake)
        commit(lake, "run-2", **SECOND)
        assert lake.rows("SELECT count(*) AS n FROM attempts WHERE reason IS NULL") == [{"n": 7}]
        assert lake.rows("SELECT count(*) AS n FROM instructions WHERE parents IS NULL") == [{"n": 0}]
        return between + found(lake)


@pytest.mark.parametrize("catalog", ["sqlite", pytest.param("postgres", marks=pytest.mark.flow)])
def test_first_rows_leave_the_statistics_that_ducklake_itself_would_write(tmp_path, request, monkeypatch, catalog):
    def place(name: str) -> Path | LakeLocation:
        if catalog == "sqlite":
            return tmp_path / name
        server = request.getfixturevalue("server")
        return LakeLocation(tmp_path / name, server.database(f"statistics_{name}"))

    ours = written(place("ours"))
    monkeypatch.setattr(statistics, "complete", lambda *_: None)
    sizes = {"file_size_bytes"}  # a file's writing may differ by some bytes
    theirs = [{name: row[name] for name in row.keys() - sizes} for row in written(place("theirs"))]
    assert len(theirs) > 50
    assert [{name: row[name] for name in row.keys() - sizes} for row in ours] == theirs


def test_an_empty_table_is_read_with_few_queries_of_the_catalog(lake, tmp_path, monkeypatch):
    assert queries_of_statistics(lake, "SELECT * FROM decisions") <= 2
    monkeypatch.setattr(statistics, "complete", lambda *_: None)
    with Lake.open(tmp_path / "without") as without:
        # If this fails, DuckLake caches that there are none, and `statistics` can be deleted.
        assert queries_of_statistics(without, "SELECT * FROM decisions") > 10


def test_an_older_lake_gets_them_from_its_first_writer_once(tmp_path):
    home = unpacked(1, tmp_path / "old")
    with Lake.open(home) as lake:
        assert queries_of_statistics(lake, "SELECT * FROM decisions") <= 2
        rows = lake.rows(f"SELECT count(*) AS n FROM {CATALOG}.ducklake_table_column_stats")
    with Lake.open(home) as lake:
        assert lake.rows(f"SELECT count(*) AS n FROM {CATALOG}.ducklake_table_column_stats") == rows


def test_a_column_that_a_method_adds_to_an_empty_table_gets_them_too(tmp_path, unwritten):
    table = unwritten.schema.declared["instructions"]
    older = [column for column in table.columns if column.name != "nearest"]
    Lake.open(tmp_path / "lake", schema=LakeSchema([replace(table, columns=older)])).close()
    with Lake.open(tmp_path / "lake") as lake:
        known = (
            f"SELECT c.table_id FROM {CATALOG}.ducklake_column c JOIN {CATALOG}.ducklake_table_column_stats"
            " USING (table_id, column_id) WHERE c.column_name = 'nearest'"
        )
        assert len(lake.rows(known)) == 1
