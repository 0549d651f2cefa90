"""Prefect servers: a named one, or a child on a free port of this machine. `python -m flows.server` is the child."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from alignery.errors import AligneryError
from tasks.leash import leash

PATIENCE_S = 180
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # On a busy machine a SQLite database is locked for longer than the five seconds that it is given by itself.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    # What becomes of task runs is written down once a second, or in fifties, and not each by itself: a run of many
    # chunks then takes less than half of the server's time. What is left is written when the server ends.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
_BRIEF = _SETTINGS | {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"}  # as Prefect's own for a run


class ServerFault(AligneryError, RuntimeError):
    """The Prefect server did not start."""


def named_or_own() -> Callable[[], None]:
    """For this process's flows: the server that Prefect's settings name, or one that ends with the process.

    Prefect would start one itself, once it is imported. Both take seconds, so here they go on side by side: call what
    is returned where the flow is about to be run. Both raise as `own_server`.
    """
    stack, await_healthy = ExitStack(), None
    # The first to be registered is the last to be called: what Prefect has still to tell its server is told by then.
    atexit.register(stack.close)
    if not os.environ.get("PREFECT_API_URL"):
        home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
        await_healthy = stack.enter_context(_starting(home, _BRIEF))

    def settle() -> None:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        if PREFECT_API_URL.value():  # by the environment, by the user's profile, or for an earlier flow
            stack.close()
        elif await_healthy:
            stack.enter_context(temporary_settings({PREFECT_API_URL: await_healthy(PATIENCE_S)}))

    return settle


@contextmanager
def own_server(home: Path, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """A server, healthy; the address of its API. It ends with the block, or with this process, however that ends.

    Args:
        home: the folder of its database and its log (PREFECT_HOME).

    Raises:
        ServerFault: its folder cannot be written to, it ended, or it is not healthy in time.
    """
    with _starting(home) as await_healthy:
        yield await_healthy(patience_s)


@contextmanager
def _starting(home: Path, settings: Mapping[str, str] = _SETTINGS) -> Iterator[Callable[[float], str]]:
    """A server that is being started; what is yielded waits until it is healthy, for so many seconds at most."""
    log = home / "server.log"
    try:
        home.mkdir(parents=True, exist_ok=True)
        told = log.open("ab")
    except OSError as error:
        raise ServerFault(f"{home}: Prefect cannot keep its database there: {error}; set PREFECT_HOME") from error
    # In a session of its own, so that a terminal's Ctrl-C ends first what still talks to it.
    with told:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.server"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            env=os.environ | settings | {"PREFECT_HOME": str(home)},
            start_new_session=True,
        )
    assert child.stdout is not None
    try:
        yield partial(_await_healthy, child, child.stdout.readline().strip(), log)
    finally:
        child.terminate()
        try:
            child.wait(timeout=30)  # it still writes down what became of task runs
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def _await_healthy(child: subprocess.Popen[str], api: str, log: Path, patience_s: float) -> str:
    import httpx

    until = time.monotonic() + patience_s
    while child.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{api}/health", timeout=5).is_success:
                return api
        except httpx.HTTPError:
            pass  # not there yet
        time.sleep(0.1)
    how = f"ended with exit code {child.returncode}" if child.poll() is not None else f"is not healthy at {api}"
    raise ServerFault(
        f"the Prefect server {how} within {patience_s:.0f} s; see {log}, or start one, `prefect server start`, and "
        "name it in PREFECT_API_URL"
    )


def main() -> None:
    leash()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    os.environ["PREFECT_UI_API_URL"] = f"{address}/api"  # read when Prefect is imported
    print(f"{address}/api", flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on there
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app(final=True), log_level="critical", timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
