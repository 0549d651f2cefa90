"""How the lake is reached: DuckDB with the extensions of the installed wheels, and the catalog attached.

Nothing is fetched: the extensions load by path, and installing or loading any other is off. After the
catalog is attached the connection may touch no file outside the lake's data.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import duckdb

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database.location import LakeLocation
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.schema.tables import quoted

LAKE = "lake"  # the name under which SQL knows the catalog
CATALOG = f"__ducklake_metadata_{LAKE}"  # DuckLake's own tables, for what its functions do not return
AUTHOR = "alignery"
BUSY_MS = 10_000  # how long SQLite waits for another process's lock
MEMORY = "1GB"  # a query's memory before it uses temporary files; ALIGNERY_MEMORY overrides it
_verified: set[Path] = set()  # extensions whose signature this process has verified
_loading = threading.Lock()  # held while extensions are loaded: a second connection waits, and need not verify them
_at_work: set[duckdb.DuckDBPyConnection] = set()
_OFF = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Otherwise a mistyped table name could be answered by a variable of the calling Python code.
    "python_enable_replacements": "false",
    # Rows have no order of their own here, and keeping one costs memory.
    "preserve_insertion_order": "false",
}


class _TimeLimit:
    """A limit in seconds for all statements of a block together."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._until = seconds, time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._until

    def watch(self, cursor: duckdb.DuckDBPyConnection) -> threading.Timer:
        timer = threading.Timer(max(0.0, self._until - time.monotonic()), cursor.interrupt)
        timer.daemon = True
        timer.start()
        return timer


_time_limit: ContextVar[_TimeLimit | None] = ContextVar("_time_limit", default=None)


def connect(
    place: LakeLocation,
    *,
    read_only: bool,
    snapshot: int | None = None,
    threads: int | None = None,
    catalog: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the lake attached as `lake`.

    Args:
        threads: of DuckDB; by default ALIGNERY_THREADS, or one for each core.
        catalog: a copy of the SQLite catalog to read in its place.

    Raises:
        LakeUsageError: an extension is not installed, credentials are missing, or there is no lake of ours.
        LakeFailure: the Postgres server does not answer.
    """
    # Paths in the catalog are relative to the data folder, so a lake may be moved.
    options = [f"DATA_PATH {quoted(place.folder)}", "OVERRIDE_DATA_PATH true"]
    options += [] if place.on_postgres else [f"META_BUSY_TIMEOUT {BUSY_MS}", "META_JOURNAL_MODE 'WAL'"]
    options += [f"SNAPSHOT_VERSION {snapshot}"] if snapshot is not None else []
    options += ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"] if read_only or snapshot is not None else []
    db = _with_extensions(place)
    try:
        if threads or (threads := _threads()):
            db.execute(f"SET threads = {threads}")
        db.execute(f"SET memory_limit = {quoted(_memory())}")
        if place.on_s3:
            db.execute(_secret(place))
        # No retry after a concurrent commit: its rows are not among those that ours was checked against.
        db.execute("SET GLOBAL ducklake_max_retry_count = 0")
        if not place.on_postgres:  # else each thread reopens the catalog for each small query: half of their time
            db.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
        source = f"ducklake:sqlite:{catalog}" if catalog else place.source
        db.execute(f"ATTACH {quoted(source)} AS {LAKE} ({', '.join(options)})")
        db.execute("SET GLOBAL TimeZone = 'UTC'")
        db.execute(f"SET temp_directory = {quoted(str(_spill(place)))}")
        # Unchanged, and escaped for places where DuckDB takes a pattern.
        allowed = ", ".join(quoted(folder) for folder in (place.folder, literal(place.folder)))
        db.execute(f"SET allowed_directories = [{allowed}]")
        db.execute("SET enable_external_access = false")
    except duckdb.Error as error:
        db.close()
        if "nable to connect to Postgres" in str(error):
            raise LakeFailure(
                f"{place}: the Postgres server does not answer: {excerpt(error)}; start it, or correct the URL"
            ) from error
        raise _unopened(place, error) from error
    except LakeUsageError:
        db.close()
        raise
    return db


def preload(place: LakeLocation) -> threading.Thread:
    """Verify and load the extensions of a lake that this process is about to open, in a thread, which is returned.

    DuckDB verifies 70 MiB: a quarter of a second, in which Python need not wait for it.
    """

    def load() -> None:
        with suppress(LakeUsageError):  # reported where the lake is opened
            _with_extensions(place).close()

    thread = threading.Thread(target=load)  # no daemon: DuckDB must not outlive the interpreter
    thread.start()
    return thread


def _with_extensions(place: LakeLocation) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the extensions that a lake needs. Raises LakeUsageError where one cannot be loaded."""
    files = [extension(name) for name in _extensions(place)]
    with _loading:
        # DuckDB would verify the signatures again for each connection.
        unsigned: dict[str, Any] = {"allow_unsigned_extensions": "true"} if _verified.issuperset(files) else {}
        db = duckdb.connect(":memory:", config=_OFF | unsigned)
        try:
            for file in files:
                db.execute(f"LOAD {quoted(str(file))}")
        except duckdb.Error as error:
            db.close()
            raise _unopened(place, error) from error
        _verified.update(files)
    return db


def _unopened(place: LakeLocation, error: duckdb.Error) -> LakeUsageError:
    return LakeUsageError(f"{place}: the lake cannot be opened: {excerpt(error)}; see what `alignery doctor` says")


def literal(path: str) -> str:
    """The path escaped for places where DuckDB takes a pattern: it matches only this file."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def extension(name: str) -> Path:
    """The extension's file in its wheel, which is built for exactly one version of DuckDB."""
    package = f"duckdb_extension_{name}"
    fix = f"install {package.replace('_', '-')}=={duckdb.__version__}"
    try:
        folder = Path(str(resources.files(package))) / "extensions" / f"v{duckdb.__version__}"
    except ModuleNotFoundError as error:
        raise LakeUsageError(f"the DuckDB extension {name} is not installed; {fix}") from error
    file = folder / f"{name}.duckdb_extension"
    if not file.is_file():
        raise LakeUsageError(
            f"the DuckDB extension {name} is not there for DuckDB {duckdb.__version__} ({file}); {fix}"
        )
    return file


@contextmanager
def interruptible(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let `interrupt` end the cursor's statement, which then raises KeyboardInterrupt.

    Raises:
        LakeUsageError: the time of `time_limit` was over.
    """
    _at_work.add(cursor)
    limit = _time_limit.get()
    timer = limit and limit.watch(cursor)
    try:
        yield
    except duckdb.InterruptException as error:
        if limit and limit.is_over:
            raise LakeUsageError(
                f"the query took more than {limit.seconds:g} s and was stopped; ask for less, by a filter or a LIMIT"
            ) from error
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        # DuckDB's own check of Python's signals between two parts of a statement.
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise
    finally:
        if timer:
            timer.cancel()
        _at_work.discard(cursor)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt this thread's queries in the block after that many seconds; they raise LakeUsageError."""
    token = _time_limit.set(_TimeLimit(seconds))
    try:
        yield
    finally:
        _time_limit.reset(token)


def interrupt() -> None:
    """End every running statement of this process, from any thread. DuckDB itself would not check until it is done."""
    for cursor in tuple(_at_work):
        cursor.interrupt()


def set_commit_message(cursor: duckdb.DuckDBPyConnection, message: str, extra: Mapping[str, Any]) -> str:
    """Give the open transaction's snapshot its author, message and JSON; returns that JSON."""
    info = json.dumps(extra, sort_keys=True, ensure_ascii=False)
    # As literals: bound values would make DuckDB import pandas.
    author, words, about = map(quoted, (AUTHOR, message, info))
    cursor.execute(f"CALL {LAKE}.set_commit_message({author}, {words}, extra_info => {about})")
    return info


def as_rows(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """An executed statement's rows as dicts. (Arrow's own `to_pylist` imports pandas to make a time.)"""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def filled_tables(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables that have rows, or had some that were deleted: those with files, or with rows in the catalog.

    DuckLake takes longer to plan the reading of a table without files than to read one with a thousand rows.
    """
    rows = cursor.execute(
        f"SELECT table_name FROM ducklake_table_info('{LAKE}') WHERE file_count > 0 UNION SELECT t.table_name"
        f" FROM {CATALOG}.ducklake_inlined_data_tables i JOIN {CATALOG}.ducklake_table t ON t.table_id = i.table_id"
    ).fetchall()
    return {name for (name,) in rows}


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without its line breaks."""
    return " ".join(str(error).split())


def _threads() -> int | None:
    given = os.environ.get("ALIGNERY_THREADS")
    if given is not None and not re.fullmatch(r"[1-9]\d{0,3}", given, re.ASCII):
        raise LakeUsageError(f"ALIGNERY_THREADS: got '{excerpt(given, 60)}', expected 1 to 9999; correct it")
    return int(given) if given else None


def _memory() -> str:
    given = os.environ.get("ALIGNERY_MEMORY", MEMORY)
    if not re.fullmatch(r"\d+(\.\d+)? *([KMGT]i?)?B", given, re.ASCII | re.IGNORECASE):
        raise LakeUsageError(f"ALIGNERY_MEMORY: got '{excerpt(given, 60)}', expected a size such as 4GB; correct it")
    return given


def _spill(place: LakeLocation) -> Path:
    """A separate folder for a connection's temporary files, because DuckDB deletes it when it closes.

    Files that a killed process left there are deleted now.
    """
    folder = place.home / "tmp"
    with suppress(OSError):  # a reader may not be allowed to
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        return Path(tempfile.gettempdir()) / f"alignery-{os.getpid()}-{uuid4().hex[:8]}"
    for old in folder.glob("*-*"):
        pid = old.name.partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            with effects.SPILL_REMOVE:
                shutil.rmtree(old, ignore_errors=True)
    return folder / f"{os.getpid()}-{uuid4().hex[:8]}"


def _extensions(place: LakeLocation) -> list[str]:
    catalog = "postgres_scanner" if place.on_postgres else "sqlite_scanner"
    return ["ducklake", catalog, *(["httpfs"] if place.on_s3 else [])]


def _secret(place: LakeLocation) -> str:
    """The statement that gives DuckDB S3's keys, from the environment and valid only for this lake's data."""
    needed = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in needed if not os.environ.get(name)]:
        raise LakeUsageError(f"{place}: S3 needs {' and '.join(missing)} in the environment; export them")
    values = {"KEY_ID": os.environ[needed[0]], "SECRET": os.environ[needed[1]]}
    values["REGION"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        values["SESSION_TOKEN"] = token
    if url := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        # A custom endpoint has its buckets in the path, because it has no host names for them.
        parts = urlsplit(url)
        values |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "URL_STYLE": "path"}
        values["USE_SSL"] = "false" if parts.scheme == "http" else "true"
    options = ", ".join(f"{name} {quoted(value)}" for name, value in values.items())
    return f"CREATE SECRET (TYPE s3, SCOPE {quoted(place.folder)}, {options})"
