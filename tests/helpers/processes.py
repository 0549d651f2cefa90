"""Prefect homes of a test's own, and the processes that have one in their environment, which children inherit."""

from __future__ import annotations

import functools
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path


def prefect_home(folder: Path) -> Path:
    """A folder with a database of this Prefect, so that no server has to migrate one: that takes 15 s of CPU."""
    folder.mkdir(mode=0o700, exist_ok=True)
    database = folder / f"prefect-{version('prefect')}.db"
    if not database.exists():
        database.write_bytes(_migrated())
        database.chmod(0o600)
    return folder


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prefect.db"
        own = os.environ | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}"}
        upgrade = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "-y"]
        subprocess.run(upgrade, env=own, check=True, capture_output=True)
        with closing(sqlite3.connect(path)) as made:
            made.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it in the one file
        return path.read_bytes()


def started_in(prefect_home: Path) -> list[str]:
    """The command of every live process with this home."""
    mark = f"PREFECT_HOME={prefect_home}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def gone(prefect_home: Path, within_s: float) -> bool:
    """Whether all of them end in time."""
    end = time.monotonic() + within_s
    while (left := started_in(prefect_home)) and time.monotonic() < end:
        time.sleep(0.5)
    return not left
