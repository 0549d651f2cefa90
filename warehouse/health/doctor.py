"""Problems of a lake: findings that name each fault and say what to do. Read-only; the lake need not open.

Call it when no lake is open in the process: it opens a SQLite catalog with its own connection, whose end frees the
locks that any other connection of the process holds on that file.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from warehouse.database.catalog_copy import catalog_copy
from warehouse.database.location import LakeLocation, as_location
from warehouse.database.lock import holder, known
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.health.checks import CHECKS, Finding, bounded
from warehouse.health.data_files import data_files
from warehouse.lake import Lake

LOCKS = ("lake", "publish")
LOW, VERY_LOW = 2 << 30, 200 << 20  # free bytes below which a disk is a warning, a problem; our choice
_BACKUP = "bring the catalog back from a backup; only it tells which Parquet files hold which rows, so delete none"


def doctor(where: Path | LakeLocation, *, deep: bool = False) -> list[Finding]:
    """Check for everything that is known to go wrong.

    Args:
        where: the lake's home or place.
        deep: read every row of every file, and add up the ledger.

    Returns:
        What is wrong, and one finding for each check that found nothing.
    """
    where = as_location(where)
    found = [*_disks(where), *(lost := list(_catalog(where)))]
    if lost:
        return found
    try:
        lake = Lake.open(where, read_only=True)
    except (LakeUsageError, LakeFailure) as error:
        return [*found, Finding("catalog", "problem", str(error), _BACKUP), *_remains(where)]
    with lake:
        found.append(Finding("catalog", "ok", f"{where} opens; the newest snapshot is {lake.snapshot()}", ""))
        found += _locks(where)
        found += _checked("files", lambda: data_files(lake, deep), "")
        for name, (check, well) in CHECKS.items():
            found += _checked(name, lambda check=check: check(lake, deep), well)  # type: ignore[misc]
    return found


def _checked(name: str, check: Callable[[], Iterable[Finding]], well: str) -> list[Finding]:
    """A check's findings; or, if a file that it reads is damaged, that."""
    try:
        return bounded(list(check())) or [Finding(name, "ok", well, "")]
    except (LakeUsageError, LakeFailure) as error:
        return [Finding(name, "problem", f"could not be looked at: {error}", "fix the files that are named first")]


def _catalog(where: LakeLocation) -> Iterator[Finding]:
    """A missing or broken SQLite catalog, and then what is left. (Postgres is checked when the lake is opened.)"""
    if where.on_postgres:
        return
    if not where.file.is_file():
        fix = _BACKUP if any(_parquet(where)) else "nothing is lost: `alignery refresh` makes a lake"
        yield Finding("catalog", "problem", f"there is no catalog {where.file}", fix)
        yield from _remains(where)
    elif why := _broken(where):
        yield Finding("catalog", "problem", f"{where.file} is damaged: {why}", _BACKUP)
        yield from _remains(where)


def _broken(where: LakeLocation) -> str | None:
    try:
        copy = catalog_copy(where)
    except OSError as error:
        return str(error)
    try:
        return _quick_check(copy.file if copy else where.file)
    finally:
        if copy:
            copy.close()


def _quick_check(file: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=10)) as db:
            lines = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return None if lines == ["ok"] else "; ".join(" ".join(line.split()) for line in lines)


def _remains(where: LakeLocation) -> Iterator[Finding]:
    """The content of the data folder of a lake whose catalog does not open."""
    if where.on_s3:
        yield Finding("files", "warning", f"the data in {where.folder} was not looked at", "list it with an S3 client")
        return
    there = [file.stat().st_size for file in _parquet(where)]
    what = f"{len(there)} Parquet files, {sum(there):,} bytes, are in {where.folder}"
    yield Finding("files", "warning", what, "delete none of them" if there else "")


def _parquet(where: LakeLocation) -> Iterator[Path]:
    return Path(where.folder).rglob("*.parquet") if not where.on_s3 else iter(())


def _disks(where: LakeLocation) -> Iterator[Finding]:
    folders = {"home": where.home, "temporary files": where.home / "tmp"}
    folders |= {} if where.on_s3 else {"data": Path(where.folder)}
    free: dict[int, tuple[list[str], Path, int]] = {}
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free.setdefault(there.stat().st_dev, ([], there, shutil.disk_usage(there).free))[0].append(name)
    for names, folder, size in free.values():
        state = "problem" if size < VERY_LOW else "warning" if size < LOW else "ok"
        fix = "" if size >= LOW else f"free some; below {VERY_LOW >> 20} MiB commits may fail, though none is then lost"
        yield Finding("disk", state, f"{size >> 20:,} MiB free for {', '.join(names)} ({folder})", fix)  # type: ignore[arg-type]


def _locks(where: LakeLocation) -> Iterator[Finding]:
    locks = {name: who for name in dict.fromkeys((*LOCKS, *known(where))) if (who := holder(where, name))}
    holders = "; ".join(f"{name} is held by {who}" for name, who in locks.items())
    yield Finding("locks", "ok", holders or f"nobody holds {', '.join(LOCKS)}", "")
