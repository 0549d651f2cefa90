"""Snapshots for people: listed, and found by a tag, a number, a date or an age.

The newest is the one with the highest snapshot number, whatever the clock: "as of a time" is the snapshot with the
highest number among those whose time is not after it. Times are UTC unless they state an offset.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from warehouse.database.connection import LAKE
from warehouse.errors import LakeUsageError
from warehouse.export.dataset_card import Release
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row, quoted

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_AGE = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Snapshot 0 is from before the tables were made.
_KEPT = f"(SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('{LAKE}') WHERE snapshot_id > 0)"


def snapshots(lake: Lake, limit: int = 20) -> list[Row]:
    """The newest snapshots, the newest first: snapshot_id, time, message, step, run_id, tags, models trained on it."""
    found = lake.rows(
        "SELECT snapshot_id, snapshot_time AS time, commit_message AS message,"
        " json_extract_string(commit_extra_info, 'step') AS step,"
        " json_extract_string(commit_extra_info, 'run') AS run_id"
        f" FROM ducklake_snapshots('{LAKE}') ORDER BY snapshot_id DESC LIMIT {int(limit)}"
    )
    names = status.tags(lake)
    trained = lake.rows("SELECT path, tag FROM models ORDER BY snapshot_id, created_at")
    for row in found:
        row["tags"] = [tag["name"] for tag in names if tag["snapshot_id"] == row["snapshot_id"]]
        row["models"] = [model["path"] for model in trained if model["tag"] in row["tags"]]
    return found


def resolve(lake: Lake, name: str) -> int:
    """The snapshot that a tag, a number, a date (its end), a time or an age (`30m`, `12h`, `7d`, `2w`) refers to.

    Raises:
        LakeUsageError: none has that name or time, or it has been expired.
    """
    known = {row["name"]: row["snapshot_id"] for row in status.tags(lake)}
    if name in known:
        return _kept(lake, known[name], f", which the tag {name} names,")
    if _NUMBER.fullmatch(name):
        return _kept(lake, int(name))
    if (moment := _moment(name)) is not None:
        return _as_of(lake, moment)
    there = f"the tags are {', '.join(known)}" if known else "there are no tags yet"
    raise LakeUsageError(
        f"{name!r} is no tag, snapshot or time: {there}; a time is 2026-11-17, 2026-11-17T08:00, or an age such as "
        "12h or 7d; see `alignery snapshots`"
    )


def release_of(lake: Lake, name: str) -> Release:
    """The name of an export of that snapshot; for a tag, the tag's.

    Raises:
        LakeUsageError: as `resolve` does.
    """
    snapshot = resolve(lake, name)
    for row in status.tags(lake):
        if row["name"] == name:
            return Release(name, snapshot, row["run_id"], row["message"], row["created_at"])
    when = f"SELECT snapshot_time AS time FROM {_KEPT} WHERE snapshot_id = {snapshot}"
    return Release(None, snapshot, None, None, lake.rows(when)[0]["time"])


def check_name(lake: Lake, name: str) -> None:
    """Refuse a tag's name that is not a plain name, or that would be read as a number, a date or an age."""
    if not _NAME.fullmatch(name):
        raise LakeUsageError(
            f"tag: got {name!r}, expected a name of a-z, 0-9, '.', '_' and '-', at most 100 characters, such as "
            f"{lake.next_tag()}"
        )
    if _NUMBER.fullmatch(name) or _moment(name) is not None:
        raise LakeUsageError(f"the tag {name!r} reads as a snapshot or a time; choose another, e.g. {lake.next_tag()}")


def parse_age(text: str) -> timedelta | None:
    """An age, such as `30m`, `12h`, `7d` or `2w`; None for anything else."""
    found = _AGE.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def _moment(name: str) -> datetime | None:
    """The time that a date, a time or an age means; None for anything else."""
    if (age := parse_age(name)) is not None:
        return datetime.now(UTC) - age
    try:
        found = datetime.fromisoformat(name)
        if len(name) == len("2026-11-17"):
            found = datetime.combine(found, time.max)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _kept(lake: Lake, snapshot: int, whose: str = "") -> int:
    if lake.rows(f"SELECT 1 AS one FROM {_KEPT} WHERE snapshot_id = {snapshot}"):
        return snapshot
    (ends,) = lake.rows(f"SELECT min(snapshot_id) AS first, max(snapshot_id) AS last FROM {_KEPT}")
    if 0 < snapshot < ends["last"]:
        raise LakeUsageError(
            f"snapshot {snapshot}{whose} has been expired; see `alignery snapshots` for those that are left"
        )
    raise LakeUsageError(f"there is no snapshot {snapshot}{whose}; they go from {ends['first']} to {ends['last']}")


def _as_of(lake: Lake, moment: datetime) -> int:
    at = f"TIMESTAMPTZ {quoted(moment.isoformat())}"
    (found,) = lake.rows(f"SELECT max(snapshot_id) AS id FROM {_KEPT} WHERE snapshot_time <= {at}")
    below = found["id"] or 0
    # Rows committed by then in a snapshot that has been expired: that state can no longer be read.
    (hidden,) = lake.rows(
        f"SELECT max(c.snapshot_id) AS id FROM commits c ANTI JOIN {_KEPT} k ON k.snapshot_id = c.snapshot_id"
        f" WHERE c.created_at <= {at} AND c.snapshot_id > {below}"
    )
    if hidden["id"] is None and below:
        return int(below)
    nearest = lake.rows(
        f"SELECT snapshot_id, snapshot_time FROM {_KEPT} WHERE snapshot_id = {below} OR snapshot_id ="
        f" (SELECT min(snapshot_id) FROM {_KEPT} WHERE snapshot_id > greatest({below}, {hidden['id'] or 0}))"
        " ORDER BY snapshot_id"
    )
    left = " and ".join(f"{row['snapshot_id']} of {row['snapshot_time']:%Y-%m-%d %H:%M}" for row in nearest)
    if hidden["id"] is None:
        raise LakeUsageError(f"{moment:%Y-%m-%d %H:%M} UTC is before the lake, which begins with snapshot {left}")
    raise LakeUsageError(
        f"the snapshot of {moment:%Y-%m-%d %H:%M} UTC has been expired; the nearest that are left: {left}"
    )
