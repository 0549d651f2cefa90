"""Access to our local servers: no foreign web page, and if a token is required, only its holder.

A browser sends the page that makes a request (Origin) and the name of the server (Host): neither may be foreign. Else
any web page could make its visitor's browser send requests to a server that only this machine can reach.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, MutableMapping
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Scope = MutableMapping[str, Any]


class Addresses:
    """The addresses of a server, as a browser writes them.

    Args:
        port: that it listens on.
        names: further hosts, an IPv6 address in brackets; the port may be missing, as behind a proxy that terminates
            TLS.
    """

    def __init__(self, port: int, names: Collection[str] = ()) -> None:
        ported = {f"{name}:{port}".lower().encode() for name in (*LOOPBACK, *names)}
        bare = {name.lower().encode() for name in names}
        self._hosts = ported | bare
        self._origins = {b"http://" + host for host in ported | bare} | {b"https://" + host for host in bare}

    def refused(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, if a request names a foreign host or comes from a foreign page."""
        hosts = given(scope, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 400, "Foreign host"
        if not all(origin.lower() in self._origins for origin in given(scope, b"origin")):
            return 403, "Foreign origin"
        return None


def given(scope: Scope, name: bytes) -> list[bytes]:
    """The values of a header, by its name in small letters."""
    return [value for key, value in scope["headers"] if key == name]


def same(given: bytes, expected: bytes) -> bool:
    """Whether a secret is the expected one, in a time that does not reveal where they differ."""
    return hmac.compare_digest(given, expected)
