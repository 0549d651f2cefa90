"""Schema versions: a new lake is created, an older one migrated, a newer one refused.

Migrations are numbered files, `migrations/NNNN.sql`; each is committed in one transaction with its row in `versions`. A
lake or snapshot from before a migration is read through compatibility views: what it lacks is null, or no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database.connection import LAKE, literal, set_commit_message
from warehouse.database.location import LakeLocation
from warehouse.errors import LakeUsageError
from warehouse.schema.columns import WHEN, declared, may
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import SCHEMA_VERSION, SQL_TYPES, quoted, sql_type

_OPTIONS = {
    "data_inlining_row_limit": "0",
    "parquet_compression": "'zstd'",
    # Rows. Twice as fast to write as DuckDB's 122,880, whose dictionaries do not fit a core's cache.
    "parquet_row_group_size": "'30000'",
    "require_commit_message": "true",
}
_RENAMED = {("decisions", "decided_by"): "by"}  # (table, column) → its name in older lakes
_HERE = Path(__file__).parent


def version(cursor: duckdb.DuckDBPyConnection) -> int | None:
    """The schema version of the attached lake; None where there are no tables yet."""
    try:
        found = cursor.execute(f"SELECT max(version) FROM {LAKE}.versions").fetchone()
    except duckdb.CatalogException:  # duckdb_tables() would say so too, but reads the statistics of every table first
        return None
    return int(found[0]) if found else None


def migrate(cursor: duckdb.DuckDBPyConnection, place: LakeLocation, schema: LakeSchema) -> tuple[Columns, bool]:
    """Create the tables of a new lake, or update an older one: run its missing migrations, create missing tables of
    methods and missing nullable columns, and make columns nullable that are declared optional by now. Runs under the
    lake's lock.

    Returns:
        The columns of each table, and whether tables or columns were made.

    Raises:
        LakeUsageError: the lake was made by a newer version, there are rows whose catalog is gone, or a table lacks a
            column that may not be null.
    """
    found = version(cursor)
    if found is None:
        _refuse_foreign_rows(cursor, place)
        for option, value in _OPTIONS.items():
            cursor.execute(f"CALL {LAKE}.set_option('{option}', {value})")
        _apply(cursor, SCHEMA_VERSION, schema.ddl(LAKE))
        return columns(cursor), True
    check(place, found)
    for number in range(found + 1, SCHEMA_VERSION + 1):
        _apply(cursor, number, _statements(number))
    there = columns(cursor)
    ddl, changed = _missing(there, place, schema)
    # Comments come last: before that, tables and columns may still be missing.
    comments = schema.comments(LAKE, None if found < SCHEMA_VERSION else changed)
    if statements := [*ddl, *comments]:
        _run(cursor, statements, "tables and columns that were missing", {"tables": sorted(schema.tables)})
        return columns(cursor), True
    return there, found < SCHEMA_VERSION


def _refuse_foreign_rows(cursor: duckdb.DuckDBPyConnection, place: LakeLocation) -> None:
    """Rows without their catalog are lost: a new lake over them would hide that."""
    # A process killed while it creates a lake has written only to `versions`.
    pattern = quoted(f"{literal(place.folder)}**/*.parquet")
    found = cursor.execute(f"SELECT file FROM glob({pattern})").fetchall()
    if rows := [file for (file,) in found if "/versions/" not in file.removeprefix(place.folder)]:
        raise LakeUsageError(
            f"{place}: {len(rows)} Parquet files are in {place.folder}, and the catalog that knows them is gone; bring "
            "it back from a backup (`alignery doctor` says more), or move the files away to start a new lake"
        )


def check(place: LakeLocation, found: int | None) -> None:
    """Refuse what is not a lake, and a lake of a newer version. (An older one is read through compatibility views.)

    Raises:
        LakeUsageError: with what to do.
    """
    if found is None:
        raise LakeUsageError(
            f"{place}: not a lake of alignery: it has no table 'versions'; correct the place, or choose another"
        )
    if found > SCHEMA_VERSION:
        known = f"the lake has schema version {found}, this alignery knows {SCHEMA_VERSION}"
        raise LakeUsageError(f"{place}: {known}; upgrade alignery")


def define_compat_views(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, there: Columns) -> LakeSchema:
    """Views in memory in the place of tables that an older lake, or an older snapshot of it, lacks.

    Args:
        there: the columns that it has.

    Returns:
        The schema with the tables that the lake has and it does not know, so that they stay readable.
    """
    for statement in compat_views(schema, there):
        cursor.execute(statement)
    return schema.with_found({name: _found(there[name]) for name in sorted(there) if name not in schema.tables})


def define_views(cursor: duckdb.DuckDBPyConnection, views: Mapping[str, str]) -> None:
    """Views (name → SQL), in memory, over whichever lake the search path names; after the compatibility views."""
    cursor.begin()  # one transaction: each of its own would read the newest snapshot from the catalog
    for name, text in views.items():
        try:
            cursor.execute(f"CREATE VIEW memory.main.{name} AS {text}")
        except duckdb.Error as error:
            raise LakeUsageError(f"view {name}: DuckDB refuses it: {excerpt(error)}; correct its SQL") from error
    cursor.commit()


def _missing(there: Columns, place: LakeLocation, schema: LakeSchema) -> tuple[list[str], list[str]]:
    """The statements that create what is declared and missing in the lake, and the tables that they change."""
    ddl, changed = list[str](), list[str]()
    for name, fields in schema.tables.items():
        has = there.get(name, {})
        missing = [field for field in fields if field.name not in has]
        if name not in there:
            ddl.append(schema.create(LAKE, name))
        elif needed := [field.name for field in missing if not field.nullable]:
            raise LakeUsageError(
                f"{place}: the table {name} has no column {needed[0]!r}, which may not be null, and its rows lack it; "
                "declare it as optional"
            )
        else:
            ddl += [f'ALTER TABLE {LAKE}.{name} ADD COLUMN "{field.name}" {sql_type(field)}' for field in missing]
        # Columns that had to have a value, and are declared as optional by now.
        loosened = [
            field.name for field in fields if field.nullable and field.name in has and has[field.name].is_needed
        ]
        ddl += [f'ALTER TABLE {LAKE}.{name} ALTER COLUMN "{column}" DROP NOT NULL' for column in loosened]
        if missing or loosened:
            changed.append(name)
    return ddl, changed


def _apply(cursor: duckdb.DuckDBPyConnection, number: int, statements: Iterable[str]) -> None:
    version = f"INSERT INTO {LAKE}.versions VALUES ({number}, now())"
    _run(cursor, [*statements, version], f"schema version {number}", {"schema_version": number})


def _run(cursor: duckdb.DuckDBPyConnection, statements: Iterable[str], message: str, info: Mapping[str, Any]) -> None:
    """The statements in one transaction."""
    with effects.BEGIN:
        cursor.execute("BEGIN")
    for statement in statements:
        cursor.execute(statement)
    set_commit_message(cursor, message, dict(info))
    with effects.COMMIT:
        cursor.execute("COMMIT")


def _statements(number: int) -> list[str]:
    text = (_HERE / "migrations" / f"{number:04}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


class _Column(NamedTuple):
    kind: str  # SQL type
    comment: str
    is_needed: bool  # may not be null


Columns = dict[str, dict[str, _Column]]  # table → column → what it is


def columns(cursor: duckdb.DuckDBPyConnection) -> Columns:
    """The columns of each table that the lake has at this snapshot."""
    there: Columns = {}
    for table, column, kind, comment, is_needed in cursor.execute(
        "SELECT table_name, column_name, data_type, comment, NOT is_nullable FROM duckdb_columns()"
        f" WHERE database_name = {quoted(LAKE)} ORDER BY column_index"
    ).fetchall():
        there.setdefault(table, {})[column] = _Column(kind, comment or "", is_needed)
    return there


def _found(columns: Mapping[str, _Column]) -> pa.Schema:
    """The schema of a table that no installed method declares, as far as we have its types."""
    known = {sql: type for type, sql in SQL_TYPES.items()} | {"TIMESTAMP WITH TIME ZONE": WHEN}
    fields = [may(name, known[kind], comment) for name, (kind, comment, _) in columns.items() if kind in known]
    return declared("a table of a method that is not installed", *fields)


def compat_views(schema: LakeSchema, there: Columns) -> Iterator[str]:
    """Views in the place of tables that this snapshot does not have, or has with fewer columns."""
    for name, columns in schema.tables.items():
        missing = [field for field in columns if field.name not in there.get(name, ())]
        if missing:
            nulls = ", ".join(f'{_old_name(name, field, there)} AS "{field.name}"' for field in missing)
            rows = f"SELECT snapshot_id, *, {nulls} FROM {LAKE}.{name}"
            yield f"CREATE VIEW memory.main.{name} AS {rows if name in there else no_rows(columns)}"


def no_rows(columns: pa.Schema) -> str:
    """The SQL of a table without rows."""
    nulls = ", ".join(f'NULL::{sql_type(field)} AS "{field.name}"' for field in columns)
    return f"SELECT NULL::BIGINT AS snapshot_id, {nulls} WHERE false"


def _old_name(table: str, field: pa.Field, there: Columns) -> str:
    """A missing column by the name that it had before it was renamed; null where it was not there either."""
    old = _RENAMED.get((table, field.name))
    return f'"{old}"' if old in there.get(table, ()) else f"NULL::{sql_type(field)}"
