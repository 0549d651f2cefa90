"""Statistics of empty tables. DuckLake writes a table's statistics with its first rows.

Until then DuckLake 1.5.5 queries the catalog for them once a column in each query: 50 ms to read an empty table of 25
columns. Later versions cache that there are none; this file can be deleted with one of those.
"""

from __future__ import annotations

import duckdb

from alignery import effects
from warehouse.database.connection import CATALOG

_EMPTY = (
    f"SELECT t.table_id FROM {CATALOG}.ducklake_table t LEFT JOIN {CATALOG}.ducklake_table_stats s USING (table_id)"
    " WHERE t.end_snapshot IS NULL AND coalesce(s.next_row_id, 0) = 0"
)
# Of a list the elements have statistics, and the list itself has none.
_COLUMNS = (
    f"SELECT c.table_id, c.column_id, false, CASE WHEN c.column_type IN ('float32', 'float64') THEN false END, NULL,"
    f" NULL, NULL FROM {CATALOG}.ducklake_column c WHERE c.end_snapshot IS NULL AND c.table_id IN ({_EMPTY})"
    f" AND (c.table_id, c.column_id) NOT IN (SELECT table_id, parent_column FROM {CATALOG}.ducklake_column"
    " WHERE parent_column IS NOT NULL) AND (c.table_id, c.column_id) NOT IN"
    f" (SELECT table_id, column_id FROM {CATALOG}.ducklake_table_column_stats)"
)
_TABLES = (
    f"SELECT table_id, 0, 0, 0 FROM ({_EMPTY}) WHERE table_id NOT IN"
    f" (SELECT table_id FROM {CATALOG}.ducklake_table_stats)"
)


def complete(cursor: duckdb.DuckDBPyConnection, changed: bool) -> None:
    """Write statistics of zero rows for each empty table: no nulls, and neither minimum nor maximum. DuckLake updates
    them with the first rows. Runs under the lake's lock.

    Args:
        changed: whether tables or columns were made, so that there may be tables with statistics of some columns.
    """
    if not changed and not cursor.execute(f"{_TABLES} LIMIT 1").fetchone():
        return
    with effects.BEGIN:
        cursor.execute("BEGIN")
    cursor.execute(f"INSERT INTO {CATALOG}.ducklake_table_column_stats {_COLUMNS}")
    cursor.execute(f"INSERT INTO {CATALOG}.ducklake_table_stats {_TABLES}")
    with effects.COMMIT:
        cursor.execute("COMMIT")
