"""Maintenance: small files merged, old snapshots expired, and unused files deleted.

`plan` reports what would be done; `apply` does it. It may run alongside refreshes and readers:

1. Each step is its own transaction under the lake's lock, so commits wait for seconds and can run in between.
2. A file is deleted only when it has been unused for longer than `age`: a reader, or a writer that does not hold
   our lock, may still have it open.
3. A snapshot that a tag names is never expired, and maintenance waits for a running publication.
4. The list of files that DuckLake would delete is checked against those that may be deleted, before it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb

from alignery import effects
from warehouse.database.connection import LAKE, as_rows, set_commit_message
from warehouse.database.lock import exclusive
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.lake import Lake
from warehouse.maintenance import data_files
from warehouse.maintenance.data_files import SMALL
from warehouse.maintenance.sort_order import set_sort_orders, sort_key, unset_sort_order
from warehouse.query.snapshots import parse_age
from warehouse.schema.tables import Row, quoted

KEEP, AGE = timedelta(days=7), timedelta(hours=1)
MINIMUM_AGE = timedelta(hours=1)
TARGET = "128MiB"  # a merged file's size; our choice: few enough to open, and one merge holds the lock for seconds
FEW = 8  # small files of a table that are not merged: merging them again and again costs more than they do
_DAY = timedelta(days=1)
Log = Callable[[str], None]


@dataclass
class Report:
    """What maintenance did, or would do (`applied` says which). Bytes are those of Parquet files."""

    applied: bool
    tables: list[Row] = field(default_factory=list)  # table, files, small, bytes; after: files_after, bytes_after
    expired: list[int] = field(default_factory=list)  # snapshots
    kept: list[Row] = field(default_factory=list)  # why, snapshots (how many), first, last
    deleted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("old", "orphaned", "bytes"), 0))
    waiting: dict[str, Any] = field(default_factory=lambda: {"files": 0, "bytes": 0, "until": None})
    left: str | None = None  # why orphaned files were left alone

    @property
    def merging(self) -> list[Row]:
        """The tables whose small files are worth merging."""
        return [row for row in self.tables if row["small"] > FEW]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.merging or self.expired or self.deleted["old"] or self.deleted["orphaned"])


def duration(text: str) -> timedelta:
    """A duration: '90m', '1h', '7d' or '2w'.

    Raises:
        LakeUsageError: it is not a duration.
    """
    if (found := parse_age(text)) is None:
        raise LakeUsageError(f"got the time {text!r}, expected a number and a unit, such as 90m, 1h, 7d or 2w")
    return found


def check_age(age: timedelta) -> None:
    """Refuse an age at which a file may still be in use.

    Raises:
        LakeUsageError: it is too short.
    """
    if age < MINIMUM_AGE:
        raise LakeUsageError(
            f"got an age of {_words(age)}, expected at least {_words(MINIMUM_AGE)}: a reader may still have a younger "
            "file open, or a writer may be about to commit it"
        )


def summary(report: Report) -> str:
    """The report in one sentence."""
    did = ("merged", "expired", "deleted") if report.applied else ("would merge", "would expire", "would delete")
    small = sum(row["small"] for row in report.merging)
    gone = report.deleted
    if report.idle:
        return "nothing to do"
    return (
        f"{did[0]} {small} small files, {did[1]} {len(report.expired)} snapshots, "
        f"{did[2]} {gone['old']} old and {gone['orphaned']} orphaned files ({gone['bytes']:,} bytes)"
    )


def plan(lake: Lake, *, keep: timedelta = KEEP, age: timedelta = AGE) -> Report:
    """What maintenance would do now. It reads only; see `apply` for the arguments."""
    report = Report(applied=False)
    with lake.cursor() as cursor:
        report.tables = _tables(cursor, lake)
        report.expired, report.kept = _snapshots(cursor, keep)
        _deletable(cursor, lake, age, report)
    return report


def apply(lake: Lake, *, keep: timedelta = KEEP, age: timedelta = AGE, log: Log = lambda line: None) -> Report:
    """Merge, expire and clean; several runs at once wait for each other.

    Args:
        keep: snapshots younger than this stay, and any that a tag names, and the newest.
        age: how long a file must have been unused before it is deleted; at least an hour.
        log: called with a line for each finished step.

    Raises:
        LakeUsageError: `age` is too short.
        LakeFailure: a step failed; the steps before it are done.
    """
    check_age(age)
    # A publication tags the snapshot that it has read when it ends, and it must still exist then.
    with exclusive(lake.place, "publish", "maintenance"):
        with lake.cursor() as cursor:
            before = _tables(cursor, lake)
        report = Report(applied=True, tables=before)
        merging = [row["table"] for row in report.merging]
        set_sort_orders(lake, merging)
        for table in merging:
            _merge_sorted(lake, table, log)
        report.expired, report.kept = lake.commit("maintenance, expiring", lambda cursor: _expire(cursor, keep))
        log(f"expired {len(report.expired)} snapshots, kept {sum(row['snapshots'] for row in report.kept)}")
        lake.commit("maintenance, cleaning", lambda cursor: _clean(cursor, lake, age, report))
        log(f"deleted {report.deleted['old']} old and {report.deleted['orphaned']} orphaned files")
        with lake.cursor() as cursor:
            after = {row["table"]: row for row in _tables(cursor, lake)}
    report.tables = [
        row | {f"{name}_after": after[row["table"]][name] for name in ("files", "bytes")} for row in before
    ]
    return report


def _tables(cursor: duckdb.DuckDBPyConnection, lake: Lake) -> list[Row]:
    """How many files each table has, how many of them are small, and their bytes."""
    tables: dict[str, Row] = {}
    for file in data_files.known(cursor, lake.place):
        if file["gone"] is None:
            row = tables.setdefault(file["table"], {"table": file["table"], "files": 0, "small": 0, "bytes": 0})
            row["files"] += 1
            row["small"] += file["bytes"] < SMALL
            row["bytes"] += file["bytes"]
    return list(tables.values())


def _merge_sorted(lake: Lake, table: str, log: Log) -> None:
    """Merge a table's small files, sorted; as they are where the memory does not suffice to sort so many rows."""
    try:
        _merge(lake, table, log)
    except LakeFailure as error:
        if not isinstance(error.__cause__, duckdb.OutOfMemoryException) or not sort_key(lake.schema, table):
            raise
        log(f"the rows of {table} do not fit into memory to be sorted: merging them unsorted (see ALIGNERY_MEMORY)")
        unset_sort_order(lake, table)
        _merge(lake, table, log)


def _merge(lake: Lake, table: str, log: Log) -> None:
    """Merge a table's small neighbours, one new file a transaction, until none are left."""

    def once(cursor: duckdb.DuckDBPyConnection) -> int:
        cursor.execute(f"SET GLOBAL ducklake_target_file_size = '{TARGET}'")
        with effects.MERGE:
            cursor.execute(
                f"CALL ducklake_merge_adjacent_files('{LAKE}', {quoted(table)}, max_compacted_files => 1,"
                f" max_file_size => {SMALL})"
            )
        merged = sum(row["files_processed"] for row in as_rows(cursor))
        if merged < 2:
            return 0
        set_commit_message(cursor, f"maintain: {merged} files of {table} merged", {"maintain": table})
        with effects.COMMIT:
            cursor.execute("COMMIT")
        return merged

    while merged := lake.commit(f"maintenance, merging {table}", once):
        log(f"merged {merged} files of {table} into one")


def _snapshots(cursor: duckdb.DuckDBPyConnection, keep: timedelta) -> tuple[list[int], list[Row]]:
    """The snapshots to expire, and why the others stay."""
    tagged: dict[int, str] = {}
    for number, why in cursor.execute(
        "SELECT t.snapshot_id, 'tag ' || string_agg(DISTINCT t.name, ', ')"
        " || coalesce(', which trained ' || string_agg(DISTINCT m.id, ', '), '')"
        " FROM tags t LEFT JOIN models m ON m.tag = t.name GROUP BY t.snapshot_id"
    ).fetchall():
        tagged[number] = why
    found = cursor.execute(f"SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('{LAKE}') ORDER BY 1").fetchall()
    # A clock that was set back makes no snapshot older than earlier ones.
    times = accumulate((time for _, time in found), max)
    # A reader that started an hour ago may still be reading.
    keep = max(keep, MINIMUM_AGE)
    before, doomed = datetime.now(UTC) - keep, []
    kept: dict[str, list[int]] = {}
    for (number, _), time in zip(found, times, strict=True):
        if number == found[-1][0]:
            why = "newest"
        elif not (why := tagged.get(number)) and time >= before:
            why = f"younger than {_words(keep)}"
        if why:
            kept.setdefault(why, []).append(number)
        else:
            doomed.append(number)
    rows = [{"why": why, "snapshots": len(ids), "first": ids[0], "last": ids[-1]} for why, ids in kept.items()]
    return doomed, rows


def _expire(cursor: duckdb.DuckDBPyConnection, keep: timedelta) -> tuple[list[int], list[Row]]:
    doomed, kept = _snapshots(cursor, keep)
    if doomed:
        with effects.EXPIRE:
            cursor.execute(f"CALL ducklake_expire_snapshots('{LAKE}', versions => {doomed})")
        with effects.COMMIT:
            cursor.execute("COMMIT")
    return doomed, kept


def _deletable(
    cursor: duckdb.DuckDBPyConnection, lake: Lake, age: timedelta, report: Report
) -> tuple[set[str], set[str]]:
    """The names of the old and of the orphaned files that may go now; fills in the report."""
    now, there = datetime.now(UTC), data_files.listed(cursor, lake.place)
    ripe = {name: _ripe(lake, since, age) for name, since in data_files.scheduled(cursor).items()}
    unknown = data_files.strays(cursor, there)
    # Any other file there (an export, say) is the user's.
    strays = {name: row for name, row in unknown.items() if data_files.is_data(row["path"], lake.place)}
    ripe |= {name: row["changed"] + age for name, row in strays.items()}
    old = {name for name, when in ripe.items() if when <= now and name not in strays}
    orphaned = {name for name in strays if ripe[name] <= now}
    if foreign := [row["path"] for row in data_files.foreign(cursor, lake.place, strays.values())]:
        report.left = (
            f"{len(foreign)} Parquet files in {lake.place.folder} are older than this lake, such as {foreign[0]}: they "
            "belong to another catalog, so no orphaned file was deleted; move them away, or bring that catalog back"
        )
        orphaned = set()
    if lake.place.on_s3 and len(unknown) > len(strays):
        # There DuckLake itself deletes, and would take them for orphans.
        other = next(row["path"] for name, row in unknown.items() if name not in strays)
        report.left = f"{other} is no data file of this lake, so no orphaned file was deleted; move it away"
        orphaned = set()
    waiting = ripe.keys() - old - strays.keys() | ({name for name in strays if ripe[name] > now})
    report.deleted = {"old": len(old), "orphaned": len(orphaned), "bytes": _bytes(there, old | orphaned)}
    report.waiting = {"files": len(waiting), "bytes": _bytes(there, waiting)}
    report.waiting["until"] = max((ripe[name] for name in waiting), default=None)
    return old, orphaned


def _ripe(lake: Lake, since: datetime, age: timedelta) -> datetime:
    """From when on an unused file may be deleted."""
    if lake.place.on_postgres:
        return since + age
    # On SQLite this build compares a time with '2026-01-02T…' as text, where '2026-01-02 …' always comes first: any
    # time of a day counts as older than any other of it. So the day must be over.
    return since.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY + age


def _clean(cursor: duckdb.DuckDBPyConnection, lake: Lake, age: timedelta, report: Report) -> None:
    old, orphaned = _deletable(cursor, lake, age, report)
    limit = datetime.now(UTC) - age
    if old:
        _delete(cursor, "cleanup_old_files", limit - (timedelta() if lake.place.on_postgres else _DAY), old)
    if not lake.place.on_s3:
        # DuckLake would find them by a pattern, in which the folder's own name may mean other folders.
        paths = [row["path"] for name, row in data_files.listed(cursor, lake.place).items() if name in orphaned]
    elif orphaned:
        _delete(cursor, "delete_orphaned_files", limit, orphaned)
    with effects.COMMIT:
        cursor.execute("COMMIT")
    if not lake.place.on_s3:
        for path in paths:
            with effects.DELETE:
                Path(path).unlink(missing_ok=True)


def _delete(cursor: duckdb.DuckDBPyConnection, function: str, limit: datetime, allowed: set[str]) -> None:
    """Have DuckLake delete those files, if they are the ones that it would delete."""
    call = f"CALL ducklake_{function}('{LAKE}', older_than => {quoted(limit.isoformat())}::TIMESTAMPTZ"
    would = {data_files.name(path) for (path,) in cursor.execute(f"{call}, dry_run => true)").fetchall()}
    if more := would - allowed:
        raise LakeFailure(
            f"ducklake_{function} would delete {len(more)} files that are needed or too young, such as {min(more)}; "
            "nothing was deleted: run `alignery doctor`, and report this with the version of DuckDB"
        )
    with effects.DELETE:
        cursor.execute(f"{call})")


def _bytes(there: dict[str, Row], names: set[str]) -> int:
    return sum(there[name]["bytes"] for name in names if name in there)


def _words(time: timedelta) -> str:
    minutes = int(time.total_seconds()) // 60
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes and minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"
