"""Whether the data files match the catalog: each that a snapshot needs exists and is intact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from alignery.untrusted import excerpt
from warehouse.database.connection import LAKE, literal
from warehouse.errors import LakeFailure
from warehouse.health.checks import Finding
from warehouse.lake import Lake
from warehouse.maintenance import data_files as files
from warehouse.query import status
from warehouse.schema.tables import Row, quoted

_BATCH = 500  # files asked for in one query


def data_files(lake: Lake, deep: bool) -> Iterator[Finding]:
    """Every file that the newest snapshot or a tagged one needs; if `deep`, each of its rows is read."""
    needed: dict[str, Row] = {}
    with lake.cursor() as cursor:
        known, there = files.known(cursor, lake.place), files.listed(cursor, lake.place)
        for label, snapshot in _snapshots(lake):
            for file in files.needed(known, snapshot):
                needed.setdefault(file["path"], file | {"for": []})["for"].append(label)
        bad = {path: why for path, file in needed.items() if (why := _misplaced(file, there))}
        bad |= _unreadable(cursor, [file for path, file in needed.items() if path not in bad], deep)
        for path, why in bad.items():
            yield _finding(cursor, needed[path], why)
    if not bad:
        rows, size = (sum(file[name] for file in needed.values()) for name in ("rows", "bytes"))
        read = "every row was read" if deep else "their footers were read"
        yield Finding("files", "ok", f"{len(needed)} data files, {rows:,} rows, {size:,} bytes: whole, {read}", "")


def _snapshots(lake: Lake) -> Iterator[tuple[str, int]]:
    yield "the newest snapshot", lake.snapshot()
    try:
        named = status.tags(lake)
    except LakeFailure:
        return  # the file that holds the tags is itself among those of the newest snapshot
    for tag in named:
        yield f"tag {tag['name']}", tag["snapshot_id"]


def _misplaced(file: Row, there: dict[str, Row]) -> str | None:
    found = there.get(files.name(file["path"]))
    if found is None:
        return "is gone"
    if found["bytes"] != file["bytes"]:
        return f"has {found['bytes']:,} bytes, the catalog says {file['bytes']:,}"
    return None


def _unreadable(cursor: duckdb.DuckDBPyConnection, needed: Sequence[Row], deep: bool) -> dict[str, str]:
    """Path → why, of the files whose footer (if `deep`, whose every row) cannot be read, or has other rows."""
    # One file at a time: this shows which cannot be read, and can read files of several schema versions.
    size = 1 if deep else _BATCH
    bad = {}
    for start in range(0, len(needed), size):
        batch = needed[start : start + size]
        try:
            rows = _rows(cursor, [file["path"] for file in batch], deep)
        except duckdb.Error as error:
            if len(batch) == 1:
                bad[batch[0]["path"]] = f"cannot be read: {excerpt(error)}"
            else:
                bad |= {path: why for file in batch for path, why in _unreadable(cursor, [file], deep).items()}
            continue
        for file in batch:
            if (found := rows.get(file["path"])) != file["rows"]:
                bad[file["path"]] = f"has {found:,} rows, the catalog says {file['rows']:,}"
    return bad


def _rows(cursor: duckdb.DuckDBPyConnection, paths: list[str], deep: bool) -> dict[str, int]:
    """Path → rows."""
    if deep:
        # The hash makes DuckDB read every value.
        query = f"SELECT count(*), bit_xor(hash(t)) FROM read_parquet({quoted(literal(paths[0]))}) t"
        found = cursor.execute(query).fetchone()
        assert found is not None
        return {paths[0]: found[0]}
    listed = ", ".join(quoted(literal(path)) for path in paths)
    return dict(cursor.execute(f"SELECT file_name, num_rows FROM parquet_file_metadata([{listed}])").fetchall())


def _finding(cursor: duckdb.DuckDBPyConnection, file: Row, why: str) -> Finding:
    wrote = cursor.execute(
        "SELECT DISTINCT commit_extra_info->>'run' AS run"
        f" FROM ducklake_snapshots('{LAKE}') WHERE snapshot_id BETWEEN ? AND ? AND run IS NOT NULL ORDER BY run",
        [file["first"], file["last"]],
    ).fetchall()
    runs = ", ".join(run[:12] for (run,) in wrote) or "runs whose snapshots are expired"
    what = f"{file['path']} {why}; it holds {file['rows']:,} rows of {file['table']}, written by {runs}, and is needed "
    return Finding(
        "files",
        "problem",
        f"{what}by {', '.join(file['for'])}",
        "put that file back from a backup; without one these rows are lost, except those in an export",
    )
