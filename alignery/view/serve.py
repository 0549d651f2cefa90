"""The HTTP server of the pages: bound to loopback by default; on other addresses each request needs a token."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from ipaddress import ip_address
from secrets import token_urlsafe

from alignery.errors import UsageError
from alignery.secrets import remember
from alignery.untrusted import excerpt
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application

PORT = 8765


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    site: Site,
    host: str,
    port: int,
    names: Collection[str],
    token: str | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        names: host names of the pages, besides this machine's own.
        token: the required token; without one, if others can reach the address, a token is made.
        ready: called with the address to open, before the first request is answered.

    Raises:
        UsageError: the address is not this machine's, or the port is in use.
    """
    import uvicorn

    if not token and (names or not is_loopback(host)):  # behind a proxy others reach it, too
        token = token_urlsafe(24)
    if token:
        remember(token)
    with _listener(host, port) as listener:
        port = listener.getsockname()[1]
        own = [f"[{host}]" if ":" in host else host, socket.gethostname(), *names]
        app = AccessControl(application(site), port, own, token)
        shown = own[0] if host not in ("0.0.0.0", "::") else socket.gethostname()
        ready(f"http://{shown}:{port}/" + (f"?token={token}" if token else ""))
        config = uvicorn.Config(
            app, log_level="error", access_log=False, timeout_graceful_shutdown=2, server_header=False
        )
        with suppress(KeyboardInterrupt):  # which it raises again once it has ended
            uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # a browser that comes before uvicorn waits
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--host, --port: cannot listen on {excerpt(host, 100)}:{port} ({error.strerror}); choose another --port "
            "(0 takes a free one), or an address of this machine"
        ) from error
    return listener
