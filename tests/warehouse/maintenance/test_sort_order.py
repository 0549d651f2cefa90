"""Merged files are sorted, so that an id is looked for in few row groups; rows, snapshots and pages stay the same."""

from __future__ import annotations

import shutil

import duckdb
import pytest
from lake_rows import attempt, commit, instruction, response

from alignery.hashing import digest
from warehouse import Lake, LakeFailure
from warehouse.browse.table_page import Asked, columns_of, table_page
from warehouse.database.connection import set_commit_message
from warehouse.maintenance import data_files, maintain, sort_order
from warehouse.query.records import begins_with, is_in
from warehouse.schema.lake_schema import default
from warehouse.schema.tables import quoted

MANY = maintain.FEW + 2


@pytest.fixture
def lake(empty, tmp_path):
    """Ten commits, whose ids and instructions come in descending order; of each two calls, one was rejected."""
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        for n in reversed(range(MANY)):
            lost = attempt(f"lost{n}", state="rejected", reason="too short")
            commit(
                lake,
                attempts=[lost],
                instructions=[instruction(f"i{n}")],
                responses=[response(f"r{MANY - n}", f"i{n}")],
            )
        yield lake


def everything(lake):
    tables = ("attempts", "instructions", "responses")
    return {table: lake.rows(f"SELECT snapshot_id, * FROM {table} ORDER BY id") for table in tables}


def in_file(lake, table, columns):
    """What a table's one file holds, in its order."""
    with lake.cursor() as cursor:
        (path,) = {f["path"] for f in data_files.known(cursor, lake.place) if f["table"] == table and f["gone"] is None}
    return duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()


def test_merged_files_are_sorted_by_what_is_looked_for_and_no_row_changes(lake):
    before, middle = everything(lake), lake.snapshot() - 3
    with Lake.open(lake.home, snapshot=middle) as old:
        then = everything(old)
    maintain.apply(lake)
    for table, columns in (("attempts", "state, id"), ("instructions", "id"), ("responses", "instruction_id")):
        found = in_file(lake, table, columns)
        assert found == sorted(found)
        assert len(found) == len(before[table])
    assert everything(lake) == before
    with Lake.open(lake.home, snapshot=middle) as old:
        assert everything(old) == then


def test_the_newest_rows_are_still_shown_first(lake):
    asked, columns = Asked("responses", size=25), columns_of(lake, "responses")
    before = table_page(lake, asked, columns)["rows"]
    maintain.apply(lake)
    assert table_page(lake, asked, columns)["rows"] == before


def test_a_sort_order_is_set_once_and_later_files_are_merged_with_the_sorted_ones(lake):
    maintain.apply(lake)
    for n in range(MANY, 2 * MANY):
        commit(lake, instructions=[instruction(f"i{2 * MANY - n}-later")])
    maintain.apply(lake)
    messages = [row["commit_message"] for row in lake.rows("SELECT * FROM ducklake_snapshots('lake')")]
    assert messages.count("maintain: sort orders") == 1
    found = in_file(lake, "instructions", "id")
    assert found == sorted(found)
    assert len(found) == 2 * MANY


def test_inserts_are_not_sorted(lake):
    maintain.apply(lake)
    commit(lake, instructions=[instruction("z"), instruction("a")])
    with lake.cursor() as cursor:
        files = [file for file in data_files.known(cursor, lake.place) if file["table"] == "instructions"]
    newest = max(files, key=lambda file: file["first"])
    assert duckdb.sql(f"SELECT id FROM read_parquet('{newest['path']}')").fetchall() == [("z",), ("a",)]


def test_every_table_that_has_ids_of_rows_has_a_sort_order():
    schema = default()
    keys = {table: sort_order.sort_key(schema, table) for table in schema.tables}
    assert keys["attempts"] == "state, id"
    assert keys["revisions"] == "instruction_id"
    assert keys["instructions"] == "id"
    assert not keys["runs"]
    for table, key in keys.items():
        assert set(key.split(", ")) - {""} <= set(schema.tables[table].names)


IDS = ["", "ab", "abc", "ab\U0010fffe", "abé", "b", "B", "o'clock"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("ab", IDS[1:5]), ("", IDS), ("o'", ["o'clock"]), ("abcd", [])],
)
def test_a_beginning_is_found_whatever_comes_after_it(prefix, found):
    listed = ", ".join(map(quoted, IDS))
    rows = duckdb.sql(f"SELECT id FROM (SELECT unnest([{listed}]) AS id) WHERE {begins_with('id', prefix)}").fetchall()
    assert sorted(id for (id,) in rows) == sorted(found)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_ids_are_found_however_many_they_are(count):
    ids = [f"{n}'" for n in range(count)]
    rows = duckdb.sql(f"SELECT id FROM (SELECT n || chr(39) AS id FROM range(1000) t(n)) WHERE {is_in('id', ids)}")
    assert sorted(id for (id,) in rows.fetchall()) == sorted(ids)


@pytest.mark.flow
def test_rows_that_memory_does_not_suffice_to_sort_are_merged_unsorted_with_a_message(lake, monkeypatch):
    with lake.transaction("test") as cursor:  # so that little memory suffices to write
        cursor.execute("CALL lake.set_option('parquet_row_group_size', '500')")
        set_commit_message(cursor, "small row groups", {})
        cursor.execute("COMMIT")
    for n in range(MANY):
        ids = [digest(n, k) for k in range(1500)]
        commit(lake, attempts=[attempt(id, raw_text=f"{id} and some more of it " * 80) for id in ids])
    messages = []
    monkeypatch.setenv("ALIGNERY_MEMORY", "90MB")
    with Lake.open(lake.home) as small:
        before = small.rows("SELECT count(*) AS n, sum(hash(id, raw_text)) AS sum FROM attempts")
        report = maintain.apply(small, log=messages.append)
        assert small.rows("SELECT count(*) AS n, sum(hash(id, raw_text)) AS sum FROM attempts") == before
        assert {row["table"]: row["files_after"] for row in report.tables}["attempts"] == 1
    assert [message for message in messages if "unsorted" in message] == [
        "the rows of attempts do not fit into memory to be sorted: merging them unsorted (see ALIGNERY_MEMORY)"
    ]
    found = in_file(lake, "instructions", "id")
    assert found == sorted(found), "the tables after it are sorted"


def test_another_failure_of_a_merge_is_none_of_memory(lake, monkeypatch):
    def fail(*arguments):
        raise LakeFailure("the disk is full")

    monkeypatch.setattr(maintain, "_merge", fail)
    with pytest.raises(LakeFailure, match="the disk is full"):
        maintain.apply(lake)
