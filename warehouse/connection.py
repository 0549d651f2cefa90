"""How the lake is reached: DuckDB with the extensions of the installed wheels, the catalog, and the lock.

Nothing is fetched: the extensions load by path, and installing or loading any other is off. After the
catalog is attached the connection may touch no file outside the lake's data.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any

import duckdb

from warehouse.schema import LakeError, quoted

LAKE = "lake"  # the name under which SQL knows the catalog
AUTHOR = "alignery"
BUSY_MS = 10_000  # how long SQLite waits for another reader's or writer's lock
PATIENCE_S = 5.0  # after which a waiting writer says whom it waits for
_POLL_S = 0.02
_EXTENSIONS = ("ducklake", "sqlite_scanner")
_OFF = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Otherwise a mistyped table name could be answered by a variable of the calling Python code.
    "python_enable_replacements": "false",
}
_log = logging.getLogger(__name__)


def connect(home: Path, *, read_only: bool, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the lake of `home` attached as `lake`.

    Raises:
        LakeError: an extension is not installed, or the catalog cannot be attached.
    """
    data = home / "data"
    options = [f"DATA_PATH {quoted(f'{data}/')}", f"META_BUSY_TIMEOUT {BUSY_MS}", "META_JOURNAL_MODE 'WAL'"]
    # Paths in the catalog are relative to the data folder, so a lake may be moved.
    options += ["OVERRIDE_DATA_PATH true"]
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot}")
    elif read_only:
        options.append("READ_ONLY")
    db = duckdb.connect(":memory:", config=dict(_OFF))
    try:
        for name in _EXTENSIONS:
            db.execute(f"LOAD {quoted(str(extension(name)))}")
        db.execute(f"ATTACH {quoted(f'ducklake:sqlite:{home}/catalog.sqlite')} AS {LAKE} ({', '.join(options)})")
        db.execute("SET GLOBAL TimeZone = 'UTC'")
        db.execute(f"SET temp_directory = {quoted(str(home / 'tmp'))}")
        db.execute(f"SET allowed_directories = [{quoted(f'{data}/')}]")
        db.execute("SET enable_external_access = false")
    except duckdb.Error as error:
        db.close()
        raise LakeError(f"{home}: the lake cannot be opened: {one_line(error)}") from error
    return db


def extension(name: str) -> Path:
    """The extension's file in its wheel, which is built for exactly one version of DuckDB."""
    package = f"duckdb_extension_{name}"
    fix = f"install {package.replace('_', '-')}=={duckdb.__version__}"
    try:
        folder = Path(str(resources.files(package))) / "extensions" / f"v{duckdb.__version__}"
    except ModuleNotFoundError as error:
        raise LakeError(f"the DuckDB extension {name} is not installed; {fix}") from error
    file = folder / f"{name}.duckdb_extension"
    if not file.is_file():
        raise LakeError(f"the DuckDB extension {name} is not there for DuckDB {duckdb.__version__} ({file}); {fix}")
    return file


@contextmanager
def exclusive(path: Path, who: str) -> Iterator[None]:
    """Hold a file's lock alone, waiting for as long as it takes; the kernel frees a dead holder's lock.

    The holder writes its process id and `who` into the file, for whoever waits to report.
    """
    try:
        file = path.open("a+", encoding="utf-8")
    except PermissionError as error:
        raise LakeError(f"{path}: permission denied; choose a home that you may write to") from error
    with file:
        _wait(file, path)
        file.truncate(0)
        file.write(f"pid {os.getpid()}: {who}\n")
        file.flush()
        yield  # closing the file frees the lock


def sign(cursor: duckdb.DuckDBPyConnection, message: str, extra: Mapping[str, Any]) -> str:
    """Give the open transaction's snapshot its author, message and JSON; returns that JSON."""
    info = json.dumps(extra, sort_keys=True, ensure_ascii=False)
    cursor.execute(f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", [AUTHOR, message, info])
    return info


def as_rows(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """An executed statement's rows as dicts. (Arrow's own `to_pylist` imports pandas to make a time.)"""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without its line breaks."""
    return " ".join(str(error).split())


def _wait(file: IO[str], path: Path) -> None:
    asked, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told and time.monotonic() - asked > PATIENCE_S:
                told = True
                _log.warning("waiting for %s, held by %s", path, path.read_text(encoding="utf-8").strip())
            time.sleep(_POLL_S)
        else:
            return
