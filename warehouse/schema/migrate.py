"""The schema's life: a new lake is made, an older one migrated, a newer one refused.

Migrations are numbered files, `migrations/NNNN.sql`; each lands in one transaction with its row in `versions`. A
lake or snapshot from before a migration is read through stand-ins: what it does not have is null, or no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from alignery import effects
from warehouse.database.connection import LAKE, literal, set_commit_message
from warehouse.database.location import LakeLocation
from warehouse.schema import lake_schema
from warehouse.schema import tables as schema
from warehouse.schema.tables import SCHEMA_VERSION, LakeUsageError, quoted

# In this order: a later view may read an earlier one.
VIEWS = (
    "revised",
    "sft",
    "engrave",
    "preferences",
    "qac",
    "qac_warmup",
    "qac_revised",
    "corrected",
    "verbose_cloning",
    "constitutional",
    "compared",
    "soft_preferences",
    "instructed",
    "candidates",
    "funnel",
    "usage",
    "rejects",
    "lineage",
    "principles",
    "rated",
    "retention",
    "scores",
    "plan_vs_actual",
    "inspectors",
)
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
    tables = f"SELECT 1 FROM duckdb_tables() WHERE database_name = '{LAKE}' AND table_name = 'versions'"
    if cursor.execute(tables).fetchone() is None:
        return None
    found = cursor.execute(f"SELECT max(version) FROM {LAKE}.versions").fetchone()
    return int(found[0]) if found else None


def migrate(cursor: duckdb.DuckDBPyConnection, place: LakeLocation) -> None:
    """Make the tables of a new lake, or run the migrations that an older one lacks; runs under the lake's lock.

    Raises:
        LakeUsageError: the lake was made by a newer version, or there are rows whose catalog is gone.
    """
    found = version(cursor)
    if found is None:
        _refuse_foreign_rows(cursor, place)
        for option, value in _OPTIONS.items():
            cursor.execute(f"CALL {LAKE}.set_option('{option}', {value})")
        _land(cursor, SCHEMA_VERSION, schema.ddl(LAKE))
        return
    check(place, found)
    for number in range(found + 1, SCHEMA_VERSION + 1):
        # Comments come with the last one: before it there may be tables and columns that are still missing.
        comments = schema.comments(LAKE) if number == SCHEMA_VERSION else ()
        _land(cursor, number, [*_statements(number), *comments])


def _refuse_foreign_rows(cursor: duckdb.DuckDBPyConnection, place: LakeLocation) -> None:
    """Rows without their catalog are rows that were lost: a new lake over them would hide it."""
    # A lake that died in the making has written to `versions` alone.
    pattern = quoted(f"{literal(place.folder)}**/*.parquet")
    found = cursor.execute(f"SELECT file FROM glob({pattern})").fetchall()
    if rows := [file for (file,) in found if "/versions/" not in file.removeprefix(place.folder)]:
        raise LakeUsageError(
            f"{place}: {len(rows)} Parquet files are in {place.folder}, and the catalog that knows them is gone; bring "
            "it back from a backup (`alignery doctor` says more), or move the files away to begin anew"
        )


def check(place: LakeLocation, found: int | None) -> None:
    """Refuse what is no lake, and a lake of a newer version. (An older one is read through stand-ins.)

    Raises:
        LakeUsageError: with what to do.
    """
    if found is None:
        raise LakeUsageError(
            f"{place}: not a lake of alignery: it has no table 'versions'; mend the place, or choose another"
        )
    if found > SCHEMA_VERSION:
        known = f"the lake has schema version {found}, this alignery knows {SCHEMA_VERSION}"
        raise LakeUsageError(f"{place}: {known}; upgrade alignery")


def define_stand_ins(cursor: duckdb.DuckDBPyConnection) -> None:
    """Views in memory in the place of tables that an older lake, or an older snapshot of it, lacks."""
    for statement in compat_views(cursor):
        cursor.execute(statement)


def define_views(cursor: duckdb.DuckDBPyConnection) -> None:
    """The views, in memory, over whichever lake the search path names; after the stand-ins."""
    for name in VIEWS:
        cursor.execute(f"CREATE VIEW memory.main.{name} AS {view_sql(name)}")


def view_sql(name: str) -> str:
    """The text of a view's file, its leading comment included."""
    declared = lake_schema.default().views
    text = declared.get(name) or (_HERE / "views" / f"{name}.sql").read_text(encoding="utf-8")
    return text.strip().removesuffix(";")


def view_comment(name: str) -> str:
    """The first paragraph of a view's leading comment."""
    lines = [line.removeprefix("--").strip() for line in view_sql(name).splitlines() if line.startswith("--")]
    return " ".join(lines[: lines.index("")] if "" in lines else lines)


def _land(cursor: duckdb.DuckDBPyConnection, number: int, statements: Iterator[str] | list[str]) -> None:
    with effects.BEGIN:
        cursor.execute("BEGIN")
    for statement in statements:
        cursor.execute(statement)
    cursor.execute(f"INSERT INTO {LAKE}.versions VALUES ({number}, now())")
    set_commit_message(cursor, f"schema version {number}", {"schema_version": number})
    with effects.COMMIT:
        cursor.execute("COMMIT")


def _statements(number: int) -> list[str]:
    text = (_HERE / "migrations" / f"{number:04}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def compat_views(cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Views in the place of tables that this snapshot does not have, or has with fewer columns."""
    there: dict[str, set[str]] = {}
    for table, column in cursor.execute(
        f"SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = {quoted(LAKE)}"
    ).fetchall():
        there.setdefault(table, set()).add(column)
    for name, columns in schema.TABLES.items():
        missing = [field for field in columns if field.name not in there.get(name, set())]
        if missing:
            nulls = ", ".join(f"{_old_name(name, field, there)} AS {field.name}" for field in missing)
            rows = f"SELECT snapshot_id, *, {nulls} FROM {LAKE}.{name}"
            if name not in there:
                rows = f"SELECT NULL::BIGINT AS snapshot_id, {nulls} WHERE false"
            yield f"CREATE VIEW memory.main.{name} AS {rows}"


def _old_name(table: str, field: pa.Field, there: Mapping[str, set[str]]) -> str:
    """A missing column by the name that it had before it was renamed; null where it was not there either."""
    old = _RENAMED.get((table, field.name))
    return f'"{old}"' if old in there.get(table, ()) else f"NULL::{schema.sql_type(field)}"
