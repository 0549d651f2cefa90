"""An older snapshot next to the current lake: its tables and views in a schema of their own.

Tables are append-only, and every row has the snapshot that added it (`snapshot_id`, which survives merging and expiry),
so the lake as of a snapshot is what that snapshot and earlier ones added. One cursor can thus query two snapshots at
once; two attachments of a catalog could not be joined.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import duckdb

from warehouse.database import errors
from warehouse.database.connection import LAKE, as_rows
from warehouse.lake import Lake
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row


def versioned_tables(schema: LakeSchema) -> list[str]:
    """Tables whose rows have the snapshot that added them. (In `tags` the column `snapshot_id` is the named one.)"""
    return [name for name in schema.tables if name != "tags"]


@contextmanager
def read_transaction(lake: Lake, views: Collection[str] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor in one snapshot, for several statements with temporary tables of their own.

    Args:
        views: those that its statements name.

    Raises:
        LakeFailure: the lake cannot be read.
    """
    with lake.cursor(views=views) as cursor:
        try:
            cursor.execute("BEGIN")
            yield cursor
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise errors.unreadable(lake.place, error) from error


def define_schema_at(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    name: str,
    snapshot: int,
    sources: Mapping[str, str] | None = None,
    views: Iterable[str] | None = None,
) -> None:
    """Define the schema `name`, in which every table (but `tags`) and view is as it was at a snapshot.

    Args:
        sources: table → the relation to read in its place, with all its columns and `snapshot_id`.
        views: those that will be asked, which are then defined with what they read; all if left out.
    """
    cursor.execute(f"SET VARIABLE {name} = {int(snapshot)}")
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS memory.{name}")
    for table, relation in (relations(cursor, schema) | dict(sources or {})).items():
        columns = ", ".join(f'"{column}"' for column in schema.tables[table].names)
        cursor.execute(
            f"CREATE OR REPLACE VIEW memory.{name}.{table} AS SELECT snapshot_id, {columns} FROM {relation}"
            f" WHERE snapshot_id <= getvariable('{name}')"
        )
    for view in schema.views if views is None else schema.views_behind(views):
        cursor.execute(f"CREATE OR REPLACE VIEW memory.{name}.{view} AS {schema.views[view]}")


def set_snapshot(cursor: duckdb.DuckDBPyConnection, name: str, snapshot: int) -> None:
    """Let a schema that `define_schema_at` defined show another snapshot."""
    cursor.execute(f"SET VARIABLE {name} = {int(snapshot)}")


def fetch_rows(cursor: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    """The rows of a query."""
    cursor.execute(query)
    return as_rows(cursor)


def relations(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema) -> dict[str, str]:
    """Where each table is read: in the lake, or through its compatibility view where an older lake lacks it or some of
    its columns."""
    named = "SELECT view_name FROM duckdb_views() WHERE database_name = 'memory' AND schema_name = 'main'"
    compat_views = {name for (name,) in cursor.execute(named).fetchall()}
    return {
        table: f"memory.main.{table}" if table in compat_views else f"{LAKE}.main.{table}"
        for table in versioned_tables(schema)
    }
