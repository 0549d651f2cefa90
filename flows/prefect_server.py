"""Prefect servers: the one that the user names, or a child on a free port (`flows.prefect_server_process`).

A child is private: it has its own home, requires a token that is made for it, and takes nothing from the user's Prefect
settings. A named server is the user's: nothing is set for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe

from alignery.errors import AligneryError, UsageError
from alignery.secrets import mask, remember
from alignery.untrusted import excerpt

PATIENCE_S = 180
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_CLI_COLORS": "false",
    # The process does it itself, one at a time; and our flows use no blocks.
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # by a file in ~/.prefect, whatever PREFECT_HOME says
    # On a busy machine a SQLite database is locked for longer than the default of five seconds.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    # States of task runs are written once a second, or in batches of fifty, and not one by one: a run of many
    # chunks then takes less than half of the server's time. The rest is written when the server ends.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
BRIEF = SETTINGS | {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"}  # as Prefect's own for a run
_CAUSE = re.compile(r"^(?:\w+\.)*[A-Z]\w*[a-z]\w*(?:: .*)?$", re.MULTILINE)  # a traceback's line with the reason


class ServerFault(AligneryError, RuntimeError):
    """The Prefect server did not start."""


@dataclass(frozen=True)
class Server:
    """A server of ours: the address of its API, and what it asks for, as `user:password`."""

    api: str
    auth: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """Prefect's settings for its clients."""
        return {"PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": self.auth}

    @property
    def client_settings(self) -> dict[str, str | bool]:
        """Prefect's settings for clients in this process, by their places.

        They spare requests before a flow's first task: the server is of this process's version of Prefect, and asks
        for no token against forged requests (`AccessCheck` refuses those).
        """
        own: dict[str, str | bool] = {"api.url": self.api, "api.auth_string": self.auth}
        return own | {"client.server_version_check_enabled": False, "client.csrf_support_enabled": False}

    @contextmanager
    def login_file(self, home: Path) -> Iterator[Path]:
        """A file, for its owner to read, with what Prefect's pages in a browser ask for; gone after the block."""
        path = home / f"login-{self.api.rsplit(':', 1)[-1].removesuffix('/api')}"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.auth + "\n")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def bypass_proxy() -> None:
    """Bypass proxies for requests to this machine, in this process and in those that it starts.

    Raises:
        UsageError: a proxy is set that prevents making any client, even one that would not use it.
    """
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"):
        if os.environ.get(name, "").lower().startswith("socks") and find_spec("socksio") is None:
            raise UsageError(
                f"{name}: got a SOCKS proxy, which needs the package socksio; install it (pip install socksio), or "
                f"unset {name}"
            )
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host for host in (word.strip() for word in no_proxy.split(",")) if host]
    # Both spellings are read, by one library this one first and by another that one.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))


def check_named() -> None:
    """Raise UsageError unless the server in Prefect's settings answers; Prefect's own error has 400 lines."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": 10}) as client,
        ):
            client.hello()
    except httpx.HTTPError as error:
        raise unreachable(str(PREFECT_API_URL.value()), error) from None


def unreachable(api: str, error: Exception) -> UsageError:
    """The error for a named server that answered like this."""
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
        return UsageError(
            f"PREFECT_API_URL: the server at {mask(api)} refuses us as unauthorized; give what it asks for in "
            "PREFECT_API_AUTH_STRING (or PREFECT_API_KEY), or unset PREFECT_API_URL"
        )
    return UsageError(
        f"PREFECT_API_URL: nothing healthy answers at {mask(api)} ({excerpt(error)}); start that server, or unset the "
        "variable"
    )


@contextmanager
def start_server(home: Path, patience_s: float = PATIENCE_S) -> Iterator[Server]:
    """A server, healthy. It ends with the block, or with this process, however that ends.

    Args:
        home: the folder of its database and its log.

    Raises:
        UsageError: its folder cannot be written to.
        ServerFault: it ended, or it is not healthy in time.
    """
    with starting(home) as healthy:
        yield healthy(patience_s)


def private_home(lake: Path) -> Path:
    """Where our server for a lake keeps its database: never in ~/.prefect, which other installations write to.

    It is PREFECT_HOME if that is set; else beside the lake; else, where that folder is another user's, in this user's
    cache.
    """
    if given := os.environ.get("PREFECT_HOME"):
        return Path(given).expanduser().absolute()
    home = lake.absolute() / "prefect"
    with suppress(OSError):  # reported where the server is started, which writes there
        if home.exists() and home.stat().st_uid != os.geteuid():
            cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")).absolute()
            home = cache / "alignery" / "prefect" / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
    return home


def keep_settings_in(home: Path) -> None:
    """For a user without a folder ~/.prefect: Prefect, once imported, would make one."""
    if not os.path.exists(os.path.expanduser("~/.prefect")):
        os.environ.setdefault("PREFECT_HOME", str(home))
        os.environ.setdefault("PREFECT_RESULTS_LOCAL_STORAGE_PATH", str(home / "storage"))  # ignores PREFECT_HOME


@contextmanager
def starting(home: Path, settings: Mapping[str, str] = SETTINGS) -> Iterator[Callable[[float], Server]]:
    """A server that is being started; what is yielded waits until it is healthy, for so many seconds at most."""
    began = log_file(home).stat().st_size
    child, own = launch(home, settings)

    def ended() -> str | None:
        return None if child.poll() is None else f"ended with exit code {child.returncode}"

    try:
        yield partial(await_healthy, ended, own, partial(cause_in, log_file(home), began))
    finally:
        child.terminate()
        try:
            child.wait(timeout=30)  # it still writes states of task runs
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def log_file(home: Path) -> Path:
    """The file of a server's log, made if it is not there.

    Raises:
        UsageError: the folder cannot be written to.
    """
    log = home / "server.log"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        raise UsageError(
            f"{home}: Prefect cannot keep its database there ({error.strerror}); a run writes to its folder: give "
            "another --home, or set PREFECT_HOME, which moves only Prefect's files"
        ) from error
    return log


def launch(home: Path, settings: Mapping[str, str]) -> tuple[subprocess.Popen[str], Server]:
    """Start the process of a server, which listens and is not healthy yet.

    Raises:
        UsageError: its folder cannot be written to.
    """
    token = token_urlsafe(32)
    auth = f"alignery:{token}"
    remember(token)
    # In a session of its own, so that a terminal's Ctrl-C first ends its clients.
    with log_file(home).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.prefect_server_process"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=home,
            env=_environment() | dict(settings) | _places(home) | {"PREFECT_SERVER_API_AUTH_STRING": auth},
            start_new_session=True,
        )
    assert child.stdout is not None
    with child.stdout:
        return child, Server(child.stdout.readline().strip(), auth)


def _environment() -> dict[str, str]:
    """Our environment without Prefect's settings, which are for the user's servers; the child has another folder."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("PREFECT_")}
    if path := own.get("PYTHONPATH"):
        own["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, path.split(os.pathsep))))
    return own


def _places(home: Path) -> dict[str, str]:
    """Prefect looks for its logging's settings in ~/.prefect, whatever PREFECT_HOME says."""
    return {"PREFECT_HOME": str(home), "PREFECT_LOGGING_CONFIG_PATH": str(home / "logging.yml")}


def await_healthy(
    ended: Callable[[], str | None], own: Server, cause: Callable[[], str], patience_s: float = PATIENCE_S
) -> Server:
    """The server, once it is healthy.

    Args:
        ended: how its process ended; None while it lives.
        cause: what its log says of it, as a part of a sentence.

    Raises:
        ServerFault: it ended, or it is not healthy in time.
    """
    import httpx

    until = time.monotonic() + patience_s
    auth = httpx.BasicAuth(*own.auth.split(":"))
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificates, which take as long to read as an import
    with httpx.Client(auth=auth, timeout=5, trust_env=False, verify=no_tls) as client:
        while not ended() and time.monotonic() < until:
            try:
                if client.get(f"{own.api}/ready").is_success:
                    return own
            except httpx.HTTPError:
                pass  # not there yet
            time.sleep(0.1)
    how = ended() or f"is not healthy at {own.api} within {patience_s:.0f} s"
    raise ServerFault(
        f"the Prefect server {how}{cause()}; fix that, or start one with `prefect server start` and name it in "
        "PREFECT_API_URL, or run without one (--no-prefect; all verbs but serve)"
    )


def cause_in(log: Path, began: int) -> str:
    """What the server said of its end, as a part of a sentence; `began` is the log's length at its start."""
    with log.open("rb") as log_file:
        log_file.seek(began)
        words = log_file.read().decode(errors="replace")
    found = _CAUSE.findall(words) or [line for line in words.splitlines() if line.strip()]
    return f": {excerpt(found[-1])}; the whole log is {log}" if found else f"; see {log}"
