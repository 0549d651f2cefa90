"""DuckDB's errors as messages with what to do."""

from __future__ import annotations

import duckdb

from alignery.secrets import mask
from alignery.untrusted import excerpt
from warehouse.database.connection import one_line
from warehouse.database.location import LakeLocation
from warehouse.errors import LakeFailure

_CONFLICTS = ("ducklake_snapshot_pkey", "UNIQUE constraint", "database is locked")  # on Postgres, on SQLite twice
# SQLite says "I/O error" where the disk has no room for its journal's index.
_FULL = ("No space left", "disk is full", "Disk quota", "File too large", "disk I/O error")
_NOISE = ("Failed to flush changes into DuckLake: ", "Failed to commit: ")  # precedes what matters
_BOUND = 400  # characters of DuckDB's text in a message; on Postgres it holds all the SQL that failed


class CommitConflict(LakeFailure):
    """A concurrent commit, so what ours was checked against no longer holds; nothing was committed."""


def is_data_file_error(where: LakeLocation, error: duckdb.Error) -> bool:
    """Whether a data file cannot be read. A corrupt one raises the bare class, and does not say which file it is."""
    words = one_line(error)
    on_the_way = where.folder in words or isinstance(error, duckdb.HTTPException)
    return (on_the_way and ".parquet" in words) or (type(error) is duckdb.Error and "DuckLake" not in words)


def unreadable(where: LakeLocation, error: duckdb.Error) -> LakeFailure:
    """A failed read as a message with what to do."""
    words = excerpt(error, _BOUND)
    if is_data_file_error(where, error):
        todo = "`alignery doctor` says what it held and what to do"
        return LakeFailure(f"{where}: a data file is gone or damaged: {words}; {todo}")
    todo = "free some space" if any(sign in str(error) for sign in _FULL) else "see what `alignery doctor` says"
    return LakeFailure(f"{where}: the lake cannot be read: {words}; {todo} and run again")


def failed(where: LakeLocation, who: str, error: duckdb.Error) -> LakeFailure:
    """A failed commit as a message with what to do."""
    what = one_line(error)
    for noise in _NOISE:
        what = what.rpartition(noise)[2]
    if any(sign in what for sign in _CONFLICTS):
        done = "another program wrote to the lake without holding its lock"
        return CommitConflict(
            f"{where}: {who}: nothing was committed: {done}; write only through alignery, and run again"
        )
    # The reason is at the end, after the SQL that failed; secrets are masked first, so that none is cut in two.
    words = mask(what)
    words = excerpt(words if len(words) <= _BOUND else f"… {words[-_BOUND + 2 :]}", _BOUND)
    todo = "free some space" if any(sign in what for sign in _FULL) else "fix that"
    return LakeFailure(f"{where}: {who}: nothing was committed: {words}; {todo} and run again, which goes on from here")
