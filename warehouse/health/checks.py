"""The doctor's checks of an open lake. Each yields one finding per fault, and nothing if all is well."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import file_digest
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Literal

from warehouse import journal, recovery
from warehouse.database.connection import LAKE
from warehouse.database.lock import holder, of_preset
from warehouse.lake import Lake
from warehouse.maintenance import maintain
from warehouse.query import status
from warehouse.schema import migrate
from warehouse.schema.tables import SCHEMA_VERSION

State = Literal["ok", "warning", "problem"]
MANY = 100  # small files of a table from which on maintenance is worthwhile; our choice
SKEW = timedelta(seconds=2)  # by which two hosts' clocks may differ without a finding
NAMED = 20  # faults of one kind that are listed one by one
_LOCK_OF = {"maintain": "publish"}  # the lock that a flow holds, if it does not have the flow's name
_HAND = "rows were written by something other than alignery; compare with a backup, or with the exports of the tags"


@dataclass(frozen=True)
class Finding:
    """What was checked, its state, and what to do (empty if nothing needs to be done)."""

    check: str
    state: State
    what: str
    fix: str


Check = Callable[[Lake, bool], Iterator[Finding]]


def versions(lake: Lake, deep: bool) -> Iterator[Finding]:
    with lake.cursor() as cursor:
        found = migrate.version(cursor)
    if found is not None and found < SCHEMA_VERSION:
        what = f"the lake has schema version {found}, this alignery {SCHEMA_VERSION}"
        yield Finding("versions", "warning", what, "nothing: the next run that writes migrates it")
    mine = version("alignery")
    newer = {row["code_version"] for row in status.runs(lake, 10_000) if _number(row["code_version"]) > _number(mine)}
    if newer:
        what = f"runs were made by alignery {max(newer, key=_number)}, this is {mine}"
        yield Finding("versions", "warning", what, "upgrade alignery here: two versions on one lake may disagree")


def clock(lake: Lake, deep: bool) -> Iterator[Finding]:
    with lake.cursor() as cursor:
        found = cursor.execute(f"SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('{LAKE}') ORDER BY 1")
        snapshots = found.fetchall()
    ahead = snapshots[-1][1] - datetime.now(UTC)
    if ahead > SKEW:
        what = f"the newest snapshot, {snapshots[-1][0]}, is dated {ahead} ahead of this machine's clock"
        yield Finding("clock", "warning", what, "set the clock; until it is past that time, new dates look old")
    latest = accumulate((time for _, time in snapshots), max)
    back = [(number, time, by) for (number, time), by in zip(snapshots, latest, strict=True) if by - time > SKEW]
    if back:
        number, time, by = back[0]
        what = f"{len(back)} snapshots are dated before an earlier one, first {number} ({time:%Y-%m-%d %H:%M:%S})"
        what += f" after one of {by:%Y-%m-%d %H:%M:%S}: a clock was set back"
        fix = "set the clock; nothing is lost, for order is by commit, but name these snapshots by number, not by date"
        yield Finding("clock", "warning", what, fix)


def runs(lake: Lake, deep: bool) -> Iterator[Finding]:
    seen = set()
    for row in status.runs(lake, 10_000):  # newest first
        lock = _LOCK_OF.get(row["flow"]) or str(row["flow"])
        if row["flow"] == "refresh":
            lock = of_preset(lock, row["preset"] or "")
        alive = lock not in seen and holder(lake.place, lock) is not None
        seen.add(lock)
        if row["state"] == "started" and not alive:
            what = f"the run {row['id'][:12]} of {row['flow']} is open since {row['started_at']:%Y-%m-%d %H:%M:%S}, "
            what += f"and nobody holds the lock {lock!r}"
            fix = "if no process is at it, it died: run the same command again, which goes on from what was committed"
            yield Finding("runs", "warning", what, fix)


def tags(lake: Lake, deep: bool) -> Iterator[Finding]:
    with lake.cursor() as cursor:
        there = {id for (id,) in cursor.execute(f"SELECT snapshot_id FROM ducklake_snapshots('{LAKE}')").fetchall()}
    for tag in status.tags(lake):
        if tag["snapshot_id"] not in there:
            what = f"the snapshot {tag['snapshot_id']} of the tag {tag['name']} is gone"
            fix = "keep its export, which cannot be made again; the rows themselves are in newer snapshots"
            yield Finding("tags", "problem", what, fix)


def exports(lake: Lake, deep: bool) -> Iterator[Finding]:
    for tag in status.tags(lake):
        if tag["export_path"] is None:
            continue
        fix = f"move away what is left of it, and make it again: alignery publish --tag {tag['name']}"
        folder = Path(tag["export_path"])
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            yield Finding("exports", "warning", f"the export of {tag['name']} is gone from {folder}", fix)
            continue
        except (OSError, ValueError) as error:
            yield Finding("exports", "problem", f"{folder / 'manifest.json'} cannot be read: {error}", fix)
            continue
        for name, file in manifest.get("files", {}).items():
            if (why := _differs(folder / name, file["sha256"])) is not None:
                yield Finding("exports", "problem", f"{folder / name} {why}, in the export of {tag['name']}", fix)


def models(lake: Lake, deep: bool) -> Iterator[Finding]:
    newest = {row["path"]: row for row in status.models(lake)}
    for path, row in newest.items():
        if not Path(path).is_dir():
            what = f"the folder of the {row['recipe']} model trained on {row['tag']} is gone: {path}"
            yield Finding("models", "warning", what, "bring it back, or train it again: alignery retrain")


def upkeep(lake: Lake, deep: bool) -> Iterator[Finding]:
    report, fix = maintain.plan(lake), "alignery maintain --apply"
    if small := sum(row["small"] for row in report.merging):
        # The same number as in `alignery maintain`; so few do not slow anything down enough for a warning.
        names = ", ".join(row["table"] for row in report.merging)
        state: State = "warning" if any(row["small"] > MANY for row in report.merging) else "ok"
        what = f"{small} small files are worth merging, of {names}"
        yield Finding("upkeep", state, what, fix)
    if report.left:
        yield Finding("upkeep", "problem", report.left, "leave them until you know whose they are")
    if count := report.deleted["orphaned"]:
        what = f"{count} orphaned Parquet files, left by writers that died; with other useless files they take "
        yield Finding("upkeep", "warning", f"{what}{report.deleted['bytes']:,} bytes", fix)


def ledger(lake: Lake, deep: bool) -> Iterator[Finding]:
    """No duplicates; and, if `deep`, every record has its attempt, and the commits' counts add up."""
    queries = {
        "work keys have more than one final attempt": "SELECT work_key AS id FROM attempts WHERE final",
        "attempts are there more than once": "SELECT id FROM attempts",
    }
    queries |= {f"{table} are there more than once": f"SELECT id FROM {table}" for table in lake.schema.records}
    faults = {what: f"FROM ({query}) GROUP BY id HAVING count(*) > 1" for what, query in queries.items()}
    if deep:
        gone = "ANTI JOIN attempts a ON a.id = r.attempt_id WHERE r.attempt_id IS NOT NULL"
        faults |= {
            f"{table} name an attempt that is not there": f"FROM {table} r {gone}" for table in lake.schema.records
        }
    for what, rest in faults.items():
        found = lake.rows(f"SELECT count(*) AS n, min(id) AS id FROM (SELECT id {rest})")[0]
        if found["n"]:
            yield Finding("ledger", "problem", f"{found['n']} {what}, such as {found['id']}", _HAND)
    if deep:
        yield from _sums(lake)


def _sums(lake: Lake) -> Iterator[Finding]:
    records = " UNION ALL ".join(
        f"SELECT run_id, 0 AS attempts, 1 AS records FROM {table}" for table in lake.schema.records
    )
    stored = f"SELECT run_id, 1 AS attempts, 0 AS records FROM attempts UNION ALL {records}"
    for row in lake.rows(
        f"SELECT run_id, sum(attempts) AS attempts, sum(records) AS records FROM (FROM ({stored}) UNION ALL"
        " SELECT run_id, -attempts, -records FROM commits) GROUP BY run_id"
        " HAVING sum(attempts) <> 0 OR sum(records) <> 0 ORDER BY run_id"
    ):
        more = ", ".join(f"{int(row[name]):+} {name}" for name in ("attempts", "records") if row[name])
        what = f"the rows of the run {row['run_id'][:12]} do not add up to its commits: {more}"
        yield Finding("ledger", "problem", what, _HAND)


def journals(lake: Lake, deep: bool) -> Iterator[Finding]:
    folder, found = lake.home / journal.FOLDER, recovery.journal_state(lake.home)
    if found.dead:
        what = f"{folder}: {len(found.dead)} files hold answers that killed runs had not committed"
        yield Finding("journal", "warning", what, "nothing: the next run takes them into the lake; do not delete them")
    for path, lines in found.rejected.items():
        what = f"{path}: {lines} lines of a killed run's journal could not be taken into the lake"
        yield Finding("journal", "warning", what, "look at them; move the file away when nothing in it is needed")
    for path, why in found.unreadable.items():
        fix = "make it readable for this user: the next run takes it in; do not delete it"
        yield Finding("journal", "warning", f"{path} cannot be read: {why}", fix)
    if found.live:
        yield Finding("journal", "ok", f"{folder}: {len(found.live)} files are those of a run that is at work", "")


# Check → its function, and the text if it finds nothing.
CHECKS: dict[str, tuple[Check, str]] = {
    "versions": (versions, "schema and program are of one version"),
    "clock": (clock, "the snapshots' times are in the order of their numbers, and none is ahead of this clock"),
    "runs": (runs, "no run was left open"),
    "journal": (journals, "no killed run left answers behind"),
    "tags": (tags, "every tag has its snapshot"),
    "exports": (exports, "every export of a tag is as its manifest says"),
    "models": (models, "every model has its folder"),
    "upkeep": (upkeep, "no small files worth merging, none orphaned"),
    "ledger": (ledger, "nothing is there twice"),
}


def bounded(found: list[Finding]) -> list[Finding]:
    """The first of many alike, and how many more there are."""
    if len(found) <= NAMED:
        return found
    last, more = found[NAMED - 1], len(found) - NAMED
    return [*found[:NAMED], Finding(last.check, last.state, f"and {more} more of this kind", last.fix)]


def _differs(path: Path, sha256: str) -> str | None:
    try:
        with path.open("rb") as file:
            return None if file_digest(file, "sha256").hexdigest() == sha256 else "is not as the manifest says"
    except FileNotFoundError:
        return "is gone"


def _number(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text or ""))
