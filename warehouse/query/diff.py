"""The differences of two snapshots: rows by table, topic and principle, and rows that the views gained or lost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb

from warehouse.export.publish import PUBLISHED
from warehouse.lake import Lake
from warehouse.query.records import is_in, shortened
from warehouse.query.time_travel import define_schema_at, fetch_rows, read_transaction, versioned_tables
from warehouse.schema.tables import Row

SAMPLES = 3


def diff(lake: Lake, a: int, b: int, samples: int = SAMPLES) -> dict[str, Any]:
    """What is in snapshot `b` and not in `a`, and the other way round; counted in the database.

    Returns:
        `a`, `b`: snapshot_id and time. `tables`: name, a, b, new. `topics`: instructions (the accepted), sft and
        preferences, each `_a` and `_b`. `principles`: critiques, revisions and changed, each `_a` and `_b`.
        `views`: name, a, b, new, gone, and a few of both as `new_samples` and `gone_samples`.
    """
    with read_transaction(lake) as cursor:
        define_schema_at(cursor, lake.schema, "a", a, views=PUBLISHED)
        define_schema_at(cursor, lake.schema, "b", b, views=PUBLISHED)
        for view in PUBLISHED:
            # Only ids and topics: texts are not copied.
            cursor.execute(
                f"CREATE TEMP TABLE diff_{view} AS SELECT 'a' AS side, id, topic FROM a.{view}"
                f" UNION ALL SELECT 'b', id, topic FROM b.{view}"
            )
        return {
            "a": {"snapshot_id": a, "time": _time(cursor, a)},
            "b": {"snapshot_id": b, "time": _time(cursor, b)},
            "tables": _tables(cursor, versioned_tables(lake.schema)),
            "topics": _topics(cursor),
            "principles": _principles(cursor),
            "views": [_view(cursor, view, samples) for view in PUBLISHED],
        }


def _time(cursor: duckdb.DuckDBPyConnection, snapshot: int) -> datetime:
    query = f"SELECT snapshot_time AS time FROM ducklake_snapshots('lake') WHERE snapshot_id = {int(snapshot)}"
    return fetch_rows(cursor, query)[0]["time"]


def _tables(cursor: duckdb.DuckDBPyConnection, names: list[str]) -> list[Row]:
    counts = " UNION ALL ".join(
        f"SELECT {place} AS place, '{name}' AS name, (SELECT count(*) FROM a.{name}) AS a,"
        f" (SELECT count(*) FROM b.{name}) AS b"
        for place, name in enumerate(names)
    )
    return fetch_rows(cursor, f"SELECT name, a, b, b - a AS new FROM ({counts}) ORDER BY place")


def _topics(cursor: duckdb.DuckDBPyConnection) -> list[Row]:
    rows = " UNION ALL ".join(
        [
            *(
                f"SELECT '{side}' AS side, topic, 'instructions' AS held FROM {side}.instructions"
                " WHERE state = 'accepted'"
                for side in "ab"
            ),
            *(f"SELECT side, topic, '{view}' FROM diff_{view}" for view in ("sft", "preferences")),
        ]
    )
    return _sides(cursor, rows, "topic", ("instructions", "sft", "preferences"))


def _principles(cursor: duckdb.DuckDBPyConnection) -> list[Row]:
    rows = " UNION ALL ".join(
        f"SELECT '{side}' AS side, principle_id, 'critiques' AS held FROM {side}.critiques"
        f" UNION ALL SELECT '{side}', principle_id, 'revisions' FROM {side}.revisions"
        f" UNION ALL SELECT '{side}', principle_id, 'changed' FROM {side}.revisions WHERE changed"
        for side in "ab"
    )
    return _sides(cursor, rows, "principle_id", ("critiques", "revisions", "changed"))


def _sides(cursor: duckdb.DuckDBPyConnection, rows: str, key: str, names: tuple[str, ...]) -> list[Row]:
    """Counts of what is held, on both sides, by a key; the keys with the most new rows first."""
    counts = ", ".join(
        f"count(*) FILTER (held = '{name}' AND side = '{side}') AS {name}_{side}" for name in names for side in "ab"
    )
    grown = f"abs({names[0]}_b - {names[0]}_a) DESC, {names[0]}_b DESC, {key}"
    return fetch_rows(cursor, f"SELECT {key}, {counts} FROM ({rows}) GROUP BY {key} ORDER BY {grown}")


def _view(cursor: duckdb.DuckDBPyConnection, view: str, samples: int) -> Row:
    a, b = (f"SELECT id FROM diff_{view} WHERE side = '{side}'" for side in "ab")
    found = {"a": a, "b": b, "new": f"{b} EXCEPT {a}", "gone": f"{a} EXCEPT {b}"}
    counts = ", ".join(f"(SELECT count(*) FROM ({query})) AS {name}" for name, query in found.items())
    (row,) = fetch_rows(cursor, f"SELECT '{view}' AS name, {counts}")
    for name in ("new", "gone"):
        ids = [one["id"] for one in fetch_rows(cursor, f"FROM ({found[name]}) ORDER BY id LIMIT {int(samples)}")]
        row[f"{name}_samples"] = _samples(cursor, ids)
    return row


def _samples(cursor: duckdb.DuckDBPyConnection, ids: list[str]) -> list[Row]:
    """Rows of the views by their ids, which are those of an answer, a revision or a correction."""
    if not ids:
        return []
    texts = " UNION ALL ".join(
        f"SELECT id, instruction_id, {shortened('text')} AS text FROM {table} WHERE {is_in('id', ids)}"
        for table in ("responses", "revisions", "corrections")
    )
    return fetch_rows(
        cursor,
        f"SELECT x.id, i.topic, {shortened('i.text')} AS prompt, x.text FROM ({texts}) x"
        " JOIN instructions i ON i.id = x.instruction_id ORDER BY x.id",
    )
