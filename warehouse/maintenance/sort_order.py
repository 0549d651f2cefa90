"""The order of rows in merged files: those that are looked for together are neighbours.

Ids are hashes. In the order of writing each row group (30,000 rows) has ids from the whole range, so that one id is
looked for in all of them; of a sorted file the least and greatest values exclude all row groups but one or two.
DuckLake numbers the rows of a sorted file anew, so `rowid` is no order of these tables; it is asked of others only.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from alignery import effects
from warehouse.database.connection import CATALOG, LAKE, set_commit_message
from warehouse.lake import Lake
from warehouse.schema.lake_schema import LakeSchema


def set_sort_orders(lake: Lake, tables: Iterable[str]) -> None:
    """Have DuckLake sort the rows of these tables when it merges their files, and not when it inserts.

    Raises:
        LakeFailure: it could not be committed.
    """
    wanted = {table: key for table in tables if (key := sort_key(lake.schema, table))}
    lake.commit("maintenance, setting sort orders", lambda cursor: _set(cursor, wanted))


def sort_key(schema: LakeSchema, table: str) -> str:
    """The columns that a table is sorted by; '' for one in which no id is looked for.

    Attempts are looked for by id, or those that were not accepted are: the first column keeps these apart. Records are
    looked for by the instruction that they belong to.
    """
    if table == "attempts":
        return "state, id"
    if table in schema.of_instructions:
        return "instruction_id"
    return "id" if table in schema.records else ""


def unset_sort_order(lake: Lake, table: str) -> None:
    """Have a table's files merged in the order of their rows, until the next maintenance.

    Raises:
        LakeFailure: it could not be committed.
    """

    def once(cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"ALTER TABLE {LAKE}.{table} RESET SORTED BY")
        _commit(cursor, f"maintain: {table} merged without a sort order", [table])

    lake.commit(f"maintenance, merging {table}", once)


def _set(cursor: duckdb.DuckDBPyConnection, wanted: dict[str, str]) -> None:
    """Set the orders of tables that have none; an order that an earlier version set stays."""
    found = cursor.execute(
        f"SELECT t.table_name FROM {CATALOG}.ducklake_sort_info s JOIN {CATALOG}.ducklake_table t USING (table_id)"
        " WHERE s.end_snapshot IS NULL"
    )
    sorted_already = {table for (table,) in found.fetchall()}
    if not (missing := wanted.keys() - sorted_already):
        return
    for table in sorted(missing):
        # A commit has few rows, and its files are merged later.
        cursor.execute(f"CALL {LAKE}.set_option('sort_on_insert', 'false', table_name => '{table}')")
        cursor.execute(f"ALTER TABLE {LAKE}.{table} SET SORTED BY ({wanted[table]})")
    _commit(cursor, "maintain: sort orders", sorted(missing))


def _commit(cursor: duckdb.DuckDBPyConnection, message: str, tables: list[str]) -> None:
    set_commit_message(cursor, message, {"maintain": tables})
    with effects.COMMIT:
        cursor.execute("COMMIT")
