"""The Parquet files: those in the catalog, those that a snapshot needs, and those in the data folder.

A file is identified by its name, which is a UUID: the folder may be spelled in several ways, and a lake may be moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import duckdb

from warehouse.database.connection import CATALOG, LAKE, as_rows, literal
from warehouse.database.location import LakeLocation
from warehouse.schema.tables import Row, quoted

SMALL = 64 << 20  # bytes below which a file is worth merging
_UUID = re.compile(r"ducklake-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.parquet")


def name(path: str) -> str:
    """The file's name, which identifies it."""
    return path.rpartition("/")[2]


def known(cursor: duckdb.DuckDBPyConnection, place: LakeLocation) -> list[Row]:
    """Every data file of the catalog, by table and age.

    Its table, path, rows and bytes; the snapshots that wrote its rows (`first` to `last`), and the one from which on
    it is gone (`gone`, null while it is there).
    """
    cursor.execute(
        f"SELECT t.table_name AS table, {quoted(place.folder)} || s.path || t.path || f.path AS path,"
        " f.record_count AS rows, f.file_size_bytes AS bytes,"
        " f.begin_snapshot AS first, coalesce(f.partial_max, f.begin_snapshot) AS last, f.end_snapshot AS gone"
        f" FROM {CATALOG}.ducklake_data_file f JOIN {CATALOG}.ducklake_table t USING (table_id)"
        f" JOIN {CATALOG}.ducklake_schema s USING (schema_id)"
        " WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL ORDER BY ALL"
    )
    return as_rows(cursor)


def needed(files: list[Row], snapshot: int) -> list[Row]:
    """Those of the known files that a snapshot reads."""
    return [file for file in files if file["first"] <= snapshot and (file["gone"] is None or snapshot < file["gone"])]


def scheduled(cursor: duckdb.DuckDBPyConnection) -> dict[str, datetime]:
    """Name → since when the catalog no longer needs it: merged, or only of expired snapshots."""
    cursor.execute(
        f"SELECT path, schedule_start::TIMESTAMPTZ AS since FROM {CATALOG}.ducklake_files_scheduled_for_deletion"
    )
    return {name(path): since for path, since in cursor.fetchall()}


def listed(cursor: duckdb.DuckDBPyConnection, place: LakeLocation) -> dict[str, Row]:
    """Name → path, bytes and time of last change of each Parquet file in the data folder."""
    # The content is not selected, so it is not read: on S3 this is one listing.
    pattern = quoted(f"{literal(place.folder)}**/*.parquet")
    cursor.execute(f"SELECT filename AS path, size AS bytes, last_modified AS changed FROM read_blob({pattern})")
    return {name(row["path"]): row for row in as_rows(cursor)}


def is_data(path: str, place: LakeLocation) -> bool:
    """Whether a file of the data folder has the name and the place of a data file of DuckLake's."""
    return re.fullmatch(rf"[^/]+/[^/]+/{_UUID.pattern}", path.removeprefix(place.folder)) is not None


def strays(cursor: duckdb.DuckDBPyConnection, there: dict[str, Row]) -> dict[str, Row]:
    """Those of the listed files that the catalog does not know: left by a writer that died, or of another lake."""
    tables = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
    cursor.execute(" UNION ALL ".join(f"SELECT path FROM {CATALOG}.{table}" for table in tables))
    ours = {name(path) for (path,) in cursor.fetchall()}
    return {key: row for key, row in there.items() if key not in ours}


def foreign(cursor: duckdb.DuckDBPyConnection, place: LakeLocation, there: Iterable[Row]) -> list[Row]:
    """Those of the files that are older than this lake, and so belong to another one.

    A file's name says when it was made (UUIDv7), and copying does not change that; else its last change does. Files of
    `versions` may be this lake's: one that was killed before its first commit wrote no other.
    """
    found = cursor.execute(f"SELECT min(created_at) FROM {LAKE}.versions").fetchone()
    assert found is not None
    rows = (file for file in there if "/versions/" not in file["path"].removeprefix(place.folder))
    return [file for file in rows if _made(file) < found[0].timestamp()]


def _made(file: Row) -> float:
    found = _UUID.fullmatch(name(file["path"]))
    return (UUID(found[1]).int >> 80) / 1000 if found else file["changed"].timestamp()
