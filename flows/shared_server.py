"""A Prefect server that outlives its verb, so that the next verb need not wait for another.

Its address is in the file FACTS beside its database, readable only by its owner. A verb holds a shared lock on USE;
the server holds one on ALIVE, and ends after IDLE seconds without a lock on USE or a request that has the token. It
holds USE exclusively while it ends, so that no verb takes a server that is about to end.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alignery.errors import UsageError
from alignery.secrets import remember
from flows.prefect_server import (
    BRIEF,
    PATIENCE_S,
    SETTINGS,
    Server,
    ServerFault,
    await_healthy,
    bypass_proxy,
    cause_in,
    check_named,
    keep_settings_in,
    launch,
    log_file,
    private_home,
    starting,
)
from flows.prefect_server_process import ALIVE, FACTS, SHARED, START, USE

IDLE = "ALIGNERY_SERVER_IDLE_S"
IDLE_S = 600.0  # our choice; 0 in the environment: a server ends with its verb


@dataclass(frozen=True)
class Running:
    """A running server: its address and its process."""

    server: Server
    pid: int

    @property
    def url(self) -> str:
        """Its pages, which ask for what FACTS has under `auth`."""
        return self.server.api.removesuffix("/api")

    def facts(self, home: Path) -> dict[str, object]:
        """What there is to say of it; its password is in the file that is named."""
        return {"url": self.url, "login": f"auth in {home / FACTS}", "pid": self.pid, "in_use": in_use(home)}


def idle_s() -> float:
    """For how many seconds an idle server stays. Raises UsageError where the environment has no number."""
    given = os.environ.get(IDLE, str(IDLE_S))
    with suppress(ValueError):
        if 0 <= float(given) < 1e9:
            return float(given)
    raise UsageError(f"{IDLE}: got {given!r}, expected seconds, 0 or more; correct it, or unset it")


def use_or_start_server(lake: Path) -> Callable[[], None]:
    """For this process's flows: the server that Prefect's settings name, or one of ours, shared or for this process.

    Prefect would start one itself, once it is imported. Both take seconds, so here they go on side by side: call what
    is returned where the flow is about to be run. Both raise as `start_server`, and UsageError for a named server that
    lets us not in.

    Args:
        lake: the folder of the lake, beside which the server keeps its database.
    """
    bypass_proxy()
    stack, healthy = ExitStack(), None
    # Registered first, called last: by then Prefect has sent everything to its server.
    atexit.register(stack.close)
    if not os.environ.get("PREFECT_API_URL"):
        home = private_home(lake)
        keep_settings_in(home)
        healthy = stack.enter_context(shared(home) if idle_s() else starting(home, BRIEF))

    def wait_until_ready() -> None:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        if PREFECT_API_URL.value():  # by the environment, by the user's profile, or for an earlier flow
            stack.close()
            check_named()
        elif healthy:
            stack.enter_context(temporary_settings(healthy(PATIENCE_S).client_settings))

    return wait_until_ready


@contextmanager
def shared(home: Path) -> Iterator[Callable[[float], Server]]:
    """This home's server, in use until the block ends; where there is none, one is started, and stays.

    What is yielded waits until it is healthy, for so many seconds at most. Raises as `start_server`.
    """
    log = log_file(home)
    with locked(home / USE, fcntl.LOCK_SH):
        with locked(home / START, fcntl.LOCK_EX):
            found, began = running(home), log.stat().st_size
            if found is None:
                found = _started(home)
        ended = partial(_ended, home)
        yield partial(await_healthy, ended, found.server, partial(cause_in, log, began))


def running(home: Path) -> Running | None:
    """The running server of this version of Prefect, if there is one."""
    try:
        facts = json.loads((home / FACTS).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if _ended(home):
        return None
    remember(facts["auth"].partition(":")[2])
    return Running(Server(facts["api"], facts["auth"]), facts["pid"])


def stop(home: Path, patience_s: float = 30.0) -> bool:
    """End this home's server, even if in use; returns whether there was one. Raises ServerFault if it does not end."""
    if not home.is_dir():
        return False
    with locked(home / START, fcntl.LOCK_EX):  # no other verb may start one meanwhile
        found = running(home)
        if found is None:
            return False
        os.kill(found.pid, signal.SIGTERM)
        until = time.monotonic() + patience_s
        while not _ended(home):
            if time.monotonic() > until:
                raise ServerFault(f"process {found.pid} did not end within {patience_s:.0f} s; kill -9 {found.pid}")
            time.sleep(0.05)
        (home / FACTS).unlink(missing_ok=True)
    return True


def in_use(home: Path) -> bool:
    """Whether a verb uses the server now."""
    return _is_locked(home / USE, fcntl.LOCK_EX)


def _started(home: Path) -> Running:
    (home / FACTS).unlink(missing_ok=True)
    child, server = launch(home, SETTINGS | {SHARED: str(idle_s())})
    if not server.api:
        raise ServerFault(f"another Prefect server holds {home / ALIVE} and will end; wait a minute, and run again")
    facts = {"api": server.api, "auth": server.auth, "pid": child.pid}
    try:
        with os.fdopen(os.open(home / FACTS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(facts, file)
    except BaseException:
        child.terminate()  # no verb could find it
        raise
    return Running(server, child.pid)


def _ended(home: Path) -> str | None:
    """How it ended; None while it runs."""
    return None if _is_locked(home / ALIVE, fcntl.LOCK_SH) else "ended"


def _is_locked(path: Path, how: int) -> bool:
    """Whether another process holds a lock on the file that excludes one of ours."""
    try:
        with locked(path, how | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """A lock on a file, which is made. Raises BlockingIOError with LOCK_NB where another holds it."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600)) as file:
        fcntl.flock(file, how)
        yield
