"""Access control of the pages: requests for another host name, from another site's page, or without the token where one
is set, are refused; a Content-Security-Policy lets pages load, send and run nothing that is not the site's own."""

from __future__ import annotations

from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from alignery.access import Addresses, Scope, given, same

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READS = ("GET", "HEAD")
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class AccessControl:
    """An application behind the checks of every request.

    Args:
        port: that the server listens on.
        names: hosts by which it may be asked for, beside this machine's loopback names.
        token: that each request must show, in a cookie, an Authorization header (Bearer), or once as `?token=`; None
            accepts the requests of all users of this machine.
    """

    def __init__(self, app: Any, port: int, names: Collection[str] = (), token: str | None = None) -> None:
        self._app, self._own = app, Addresses(port, names)
        self._token = token.encode() if token else None
        self._cookie = f"alignery-view-{port}"  # a cookie is sent to every port of a host

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *_RAW]}
            await send(message)

        answer = self._refusal(scope) if scope["type"] == "http" else None
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif answer is not None:
            await answer(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if refused := self._own.refused(scope):
            status, why = refused
            return PlainTextResponse(why, status)
        if _is_embedded(scope):
            return PlainTextResponse("A foreign page may link here, and not embed or fetch", 403)
        if scope["method"] not in _READS and len(given(scope, b"origin")) != 1:
            return PlainTextResponse("A form without its Origin", 403)  # which every browser sends
        if self._token is None or self._shows_token(scope):
            return None
        params = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name == "token" and same(value.encode(), self._token) for name, value in params):
            rest = urlencode([(name, value) for name, value in params if name != "token"])
            answer = RedirectResponse("/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(self._cookie, self._token.decode(), httponly=True, samesite="lax")
            return answer
        return PlainTextResponse("Unauthorized: open the address that `alignery view` printed, token and all", 401)

    def _shows_token(self, scope: Scope) -> bool:
        assert self._token is not None
        if any(same(value, b"Bearer " + self._token) for value in given(scope, b"authorization")):
            return True
        jar = SimpleCookie()
        try:
            for value in given(scope, b"cookie"):
                jar.load(value.decode("latin-1"))
        except CookieError:
            return False
        return self._cookie in jar and same(jar[self._cookie].value.encode(), self._token)


def _is_embedded(scope: Scope) -> bool:
    """Whether, by the browser's Sec-Fetch headers, a page of another origin embeds or fetches this."""
    site, mode = (given(scope, name) for name in (b"sec-fetch-site", b"sec-fetch-mode"))
    return site in ([b"cross-site"], [b"same-site"]) and mode != [b"navigate"]
