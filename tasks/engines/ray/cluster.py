"""The Ray cluster that a process is part of: joined, or started on this machine for as long as an engine needs it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from alignery.untrusted import excerpt
from tasks.engines.protocol import SpecError

# Read by Ray when it is imported and by its processes when they start: no usage statistics, the loopback address alone
# (the variable was made for other systems, where that is the default), no copy of the working folder, and the normal
# priority for its workers, which are the engines.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
STORE = 80 << 20  # bytes; Ray's least. Prompts and replies are small and do not pass through its object store
LOCAL = "local"  # Ray's name for a new cluster on this machine

_LOCK = threading.Lock()
_users: list[str] = []  # an address for each open engine
_ours: list[str] = []  # the address, where `ray.init` was called here and not by the process before


@asynccontextmanager
async def joined(address: str) -> AsyncIterator[None]:
    """Be part of the cluster at `address` (host:port or auto), or start one ("local"), until the context is left.

    A process is in one cluster at a time, which all its open engines share. Where it called `ray.init` itself before,
    that cluster is used and not shut down.

    Raises:
        SpecError: Ray is not installed, no cluster can be joined there, or the process is part of another one.
    """
    await asyncio.to_thread(_join, address)
    if threading.current_thread() is threading.main_thread():  # Ray puts a handler of its own over that of the process
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    try:
        yield
    finally:
        await asyncio.to_thread(_leave, address)


def _join(address: str) -> None:
    with _LOCK:
        if _users and _users[0] != address:
            raise SpecError(
                f"engine.address: got {excerpt(address)}, but this process is part of the Ray cluster {_users[0]}; "
                "give all engines of a preset one address"
            )
        if not _users:
            _initialise(address)
        _users.append(address)


def _initialise(address: str) -> None:
    """Call it in a thread: in the main one Ray replaces the process's signal handlers."""
    if address == LOCAL:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise SpecError(f"engine: ray cannot be imported ({excerpt(error)}); pip install 'alignery[ray]'") from error
    if ray.is_initialized():
        return
    if "://" in address:  # of RAY_ADDRESS
        raise SpecError("RAY_ADDRESS: got Ray's client protocol, expected host:port or auto; set it again")
    start: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **start)
    except Exception as error:  # Ray raises a bare Exception where a node starts too slowly; all others are re-raised
        known = ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError
        if type(error) is not Exception and not isinstance(error, known):
            raise
        raise SpecError(
            f"engine.address: cannot join the Ray cluster {excerpt(address)}: {excerpt(error)}; fix the address, and "
            "run `ray start --address=HOST:PORT` on this host, which must be part of the cluster"
            if address != LOCAL
            else f"engine: Ray does not start here: {excerpt(error)}; see session_latest/logs below its --temp-dir"
        ) from error
    _ours.append(address)


def _leave(address: str) -> None:
    with _LOCK:
        _users.remove(address)
        if _ours and not _users:
            import ray

            ray.shutdown()
            _ours.clear()
