"""The Prefect server that `flows.prefect_server` starts: `python -m flows.prefect_server_process`.

It works in its home, the folder of its database, so that no path has to be quoted in a database URL and no settings
are read from the folder that the user happens to be in.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alignery.access import Addresses, Scope, given, same
from tasks.process import exit_with_parent

_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
SHARED = "ALIGNERY_SHARED_SERVER_S"  # seconds without a user after which it ends; without it, it ends with its parent
# Files of a shared server in its home, as its database of this version of Prefect: an upgrade starts another one.
FACTS, USE, ALIVE, START = (f"server-{version('prefect')}.{name}" for name in ("json", "use", "alive", "start"))
_ADOPTION_S = 15.0  # within which the verb that started it must write FACTS
_DOCUMENTATION = ("/docs", "/redoc", "/openapi.json")  # FastAPI's own, beside the API

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AccessCheck:
    """In front of Prefect's app: requests need the token, and none may come from a foreign web page.

    Prefect checks the token as well, but leaves out some routes; for a websocket only Prefect can
    check it, because there the token comes in the first message.
    """

    def __init__(self, app: Any, port: int, auth: str, ui: bool) -> None:
        self._app, self._ui, self._own = app, ui, Addresses(port)
        self._token = b"Basic " + base64.b64encode(auth.encode())
        self.asked = time.monotonic()  # when the last request with the token came

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] != "lifespan" and self._refused(scope)
        if not refused:
            if self._has_token(scope):
                self.asked = time.monotonic()
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        else:
            status, why = refused
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"exception_message": "%s"}' % why.encode()})

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        if refused := self._own.refused(scope):
            return refused
        if scope["type"] == "websocket" or self._is_open(scope["path"]):
            return None
        return None if self._has_token(scope) else (401, "Unauthorized")

    def _has_token(self, scope: Scope) -> bool:
        tokens = given(scope, b"authorization") if scope["type"] == "http" else []
        return len(tokens) == 1 and same(tokens[0], self._token)

    def _is_open(self, path: str) -> bool:
        """The pages of the UI, which ask for the token themselves; one of them looks first whether the API is there."""
        return self._ui and (path == "/api/health" or not path.startswith(("/api", *_DOCUMENTATION)))


def _open_database() -> None:
    """Name the database of this version of Prefect, made if it is not there: another version's has another name.

    It is made under another name, and by one process at a time, so that one that is there is whole.
    """
    database = Path(f"prefect-{version('prefect')}.db")
    os.environ[_URL] = f"sqlite+aiosqlite:///{database}"
    if not database.exists():
        with open("migrate.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not database.exists():
                _make(database, lock.fileno())
    try:
        with closing(sqlite3.connect(database, timeout=60)) as there:
            there.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:  # Prefect would repeat the error for minutes, and keep running
        sys.exit(f"{database} cannot be read ({error}): delete it, because finished work is recorded in the lake")


def _make(database: Path, lock: int) -> None:
    new = Path(f"{database}.new")
    for name in (new, database):
        for left in ("", "-wal", "-shm", "-journal"):
            Path(f"{name}{left}").unlink(missing_ok=True)
    upgrade = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "-y"]
    own = os.environ | {_URL: f"sqlite+aiosqlite:///{new}"}
    # The lock is inherited: it is held as long as the migrating process lives, even if this one dies.
    with subprocess.Popen(upgrade, env=own, pass_fds=[lock]) as migrating:
        try:
            import prefect.server.api.server  # noqa: F401  (seconds, in which that one works)

            migrating.wait()
        except BaseException:
            migrating.kill()
            raise
    if migrating.returncode:
        sys.exit(migrating.returncode)  # it has printed why
    with closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it in the one file that is renamed
    new.rename(database)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so end our child processes
    os.umask(0o077)
    idle = os.environ.pop(SHARED, None)  # set if it outlives the process that started it
    if idle:
        alive = open(ALIVE, "w")  # noqa: SIM115  # held until this process ends, however that ends
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another server holds {ALIVE}")
    else:
        exit_with_parent()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        print(f"{address}/api", flush=True)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing reads from there any more
        # Read when Prefect is imported, as is the database's URL.
        os.environ["PREFECT_UI_API_URL"] = f"{address}/api"
        os.environ["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] = address
        _open_database()
        _serve(listener, port, float(idle) if idle else None)


def _serve(listener: socket.socket, port: int, idle_s: float | None = None) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    ui = "PREFECT__SERVER_EPHEMERAL" not in os.environ
    app = AccessCheck(create_app(final=True), port, os.environ["PREFECT_SERVER_API_AUTH_STRING"], ui)
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)

    def end() -> None:
        server.should_exit = True

    if idle_s is not None:
        threading.Thread(target=_end_when_idle, args=(app, idle_s, end), daemon=True).start()
    server.run(sockets=[listener])


def _end_when_idle(app: AccessCheck, idle_s: float, end: Callable[[], None]) -> None:
    """Call `end` once the server was idle for that long; its users' lock is then held until the process ends."""
    begun = used = time.monotonic()
    with open(USE, "a") as users:
        while True:
            time.sleep(min(1.0, idle_s / 4))
            if time.monotonic() - begun > _ADOPTION_S and not _is_named():
                return end()  # no verb can find it
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                used = time.monotonic()
                continue
            if time.monotonic() - max(used, app.asked) >= idle_s:
                Path(FACTS).unlink(missing_ok=True)
                end()
                time.sleep(3600)  # holds the lock meanwhile: a verb that comes now waits, and starts another
            fcntl.flock(users, fcntl.LOCK_UN)


def _is_named() -> bool:
    """Whether FACTS names this process."""
    try:
        return bool(json.loads(Path(FACTS).read_text(encoding="utf-8"))["pid"] == os.getpid())
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


if __name__ == "__main__":
    main()
