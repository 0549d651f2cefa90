"""The locks of a lake: one holder at a time, among threads, processes and hosts; a dead holder's lock frees itself.

On a SQLite catalog a lock is a file under `flock`, which the kernel frees with its holder. On a Postgres catalog it
is an advisory lock of a session, which the server frees with its connection. What concerns the home of one host is a
file there, too.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database.location import LakeLocation
from warehouse.errors import LakeFailure, LakeUsageError

if TYPE_CHECKING:
    import psycopg

PATIENCE_S = 5.0  # after which a waiting writer logs the holder
_POLL_S = 0.02
_LONGEST = 150  # characters of a name: a file system takes 255 bytes
_NAMED = 63  # characters that Postgres keeps of a session's name
# So that the server notices within about a minute if a holder's host has disappeared.
_KEEPALIVE = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
_log = logging.getLogger(__name__)


@contextmanager
def exclusive(place: LakeLocation, name: str, who: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lake's lock of that name, exclusively.

    Args:
        who: describes the holder; shown to waiting processes.
        wait: for as long as it takes; else LakeFailure names the holder at once.

    Raises:
        LakeFailure: it is held and `wait` is false, or the Postgres server cannot be reached.
    """
    hold = _advisory if place.on_postgres else _flock
    with hold(place, name, who, wait):
        yield


@contextmanager
def exclusive_on_host(place: LakeLocation, name: str, who: str) -> Iterator[None]:
    """Hold a lock among the processes that share the lake's home, wherever the catalog is; wait as long as it takes.

    Raises:
        LakeUsageError, LakeFailure: the lock's file cannot be written.
    """
    with _flock(place, name, who, wait=True):
        yield


def of_preset(flow: str, preset: str) -> str:
    """The lock's name of a flow that runs once per preset, and for several presets at once."""
    name = quote(preset, safe="")
    return f"{flow}.{name if len(name) <= _LONGEST else hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def known(place: LakeLocation) -> list[str]:
    """The names of locks that were ever held on this host; a Postgres server does not list them."""
    return [] if place.on_postgres else sorted(path.stem for path in place.home.glob("*.lock"))


def holder(place: LakeLocation, name: str) -> str | None:
    """Who holds the lock now, if anyone does."""
    if place.on_postgres:
        with _session(place, "looking") as session:
            return _who(session, _key(name))
    path = place.home / f"{name}.lock"
    if not path.is_file():
        return None
    # On NFS only a file that is open for writing can be locked; a read-only file is checked as it is.
    with path.open("a+" if os.access(path, os.W_OK) else "r", encoding="utf-8") as file:
        return None if _taken(file) else _read(path)


def _busy(place: LakeLocation, name: str, who: str) -> LakeFailure:
    return LakeFailure(f"{place}: the lock {name!r} is held by {who}; wait for it to end, or stop it")


def _told(place: LakeLocation, name: str, who: str) -> None:
    _log.warning("waiting for the lock %r of %s, held by %s", name, place, who)


@contextmanager
def _flock(place: LakeLocation, name: str, who: str, wait: bool) -> Iterator[None]:
    path = place.home / f"{name}.lock"
    asked, warned = time.monotonic(), False
    while True:
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            todo = "free some space, and run again" if full else "choose a home that you may write to"
            raise LakeUsageError(f"{path}: {os.strerror(error.errno or 0).lower()}; {todo}") from error
        # A lock file that was deleted meanwhile locks nothing: the next process would create another.
        if _taken(file) and _same(file, path):
            break
        file.close()
        if not wait:
            raise _busy(place, name, _read(path))
        if not warned and time.monotonic() - asked > PATIENCE_S:
            warned = True
            _told(place, name, _read(path))
        time.sleep(_POLL_S)
    with file:  # closing it frees the lock
        try:
            with effects.LOCK:
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"pid {os.getpid()} on {socket.gethostname()} since {_now()}: {who}\n".encode())
        except OSError as error:
            raise LakeFailure(
                f"{path}: {who}: cannot be written: {error.strerror}; free some space, run again"
            ) from error
        yield
        with effects.UNLOCK:
            file.close()


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "somebody"
    except FileNotFoundError:
        return "somebody"


@contextmanager
def _advisory(place: LakeLocation, name: str, who: str, wait: bool) -> Iterator[None]:
    # The holder's name is the session's, so that it can be read from any host.
    with _session(place, f"pid {os.getpid()} on {socket.gethostname()}: {who}") as session:
        with _reached(place), effects.LOCK:
            _acquire(session, place, name, wait)
        yield
        with effects.UNLOCK:  # the session's end frees the lock
            session.close()


def _acquire(session: psycopg.Connection, place: LakeLocation, name: str, wait: bool) -> None:
    """Take the lock, or wait in Postgres's own queue, which is fair; look up the holder once."""
    import psycopg

    key, warned = _key(name), False
    if session.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (True,):
        return
    if not wait:
        raise _busy(place, name, _who(session, key) or "somebody")
    session.execute("SELECT set_config('lock_timeout', %s, false)", [str(int(PATIENCE_S * 1000))])
    while True:
        try:
            session.execute("SELECT pg_advisory_lock(%s)", [key])
        except psycopg.errors.LockNotAvailable:
            if (found := _who(session, key)) and not warned:
                warned = True
                _told(place, name, found)
        else:
            return


@contextmanager
def _reached(place: LakeLocation) -> Iterator[None]:
    """The error of a server that does not answer."""
    import psycopg

    try:
        yield
    except psycopg.OperationalError as error:
        raise LakeFailure(
            f"{place}: the Postgres server does not answer: {excerpt(error)}; start it, or correct the URL"
        ) from error


@contextmanager
def _session(place: LakeLocation, name: str) -> Iterator[psycopg.Connection]:
    """A connection of its own to the catalog's server."""
    import psycopg

    assert place.catalog is not None
    with _reached(place):
        session = psycopg.connect(
            place.catalog, autocommit=True, application_name=name[:_NAMED], options=_KEEPALIVE, connect_timeout=10
        )
    try:
        yield session
    finally:
        session.close()


def _who(session: psycopg.Connection, key: int) -> str | None:
    high, low = (key >> 32) & 0xFFFFFFFF, key & 0xFFFFFFFF
    found = session.execute(
        "SELECT a.application_name, a.client_addr, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::bigint AND l.objid = %s::bigint"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [high, low],
    ).fetchone()
    return f"{found[0]} ({found[1] or 'local'}, since {found[2]:%Y-%m-%d %H:%M:%S})" if found else None


def _key(name: str) -> int:
    """The lock's number; advisory locks belong to one database, so the name alone is enough."""
    return int.from_bytes(hashlib.blake2b(f"alignery:{name}".encode(), digest_size=8).digest(), "big", signed=True)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
