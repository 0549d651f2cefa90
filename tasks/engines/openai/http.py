"""One request over HTTP: how it is sent, how long and how big its answer may be, and what an answer means.

Without an answer a `RequestError` is raised, whose kind says what is at fault; if the server refuses the request, it is
`RequestRefused`. No limits are defined here: all are the spec's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from alignery.secrets import mask_values, remember, secrets
from alignery.untrusted import excerpt
from tasks.engines.protocol import RequestRefused, SpecError
from tasks.engines.replicas import RequestError, Suspect
from tasks.engines.specs import OpenAISpec

REFUSING = {400, 413, 414, 422, 431, 451}  # of this request alone
BUSY = {429, 529}
FAILING = {408, 409, 425}  # and all of 5xx but 501, which means not implemented
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # a surrogate, in JSON's way of writing it
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


class Unreachable(RequestError):
    """Nothing listens at the address: the request was never sent."""


class Busy(RequestError):
    """The server is overloaded: HTTP 429 or 529, or 503 with a Retry-After."""


class Failed(RequestError):
    """The server failed on it, closed the connection, or returned something that is not a completion."""


class TimedOut(Failed):
    """It took longer than the spec allows."""


class Wire:
    """The connections to one base URL: one for each request in flight, kept for the next.

    aiohttp's session is used without browser features: no cookies, no redirects.
    """

    def __init__(self, base_url: str, spec: OpenAISpec) -> None:
        self._spec, self._url = spec, base_url
        self._headers = {"Content-Type": "application/json"}
        if key := key_of(spec.api_key_env):
            self._headers["Authorization"] = f"Bearer {key}"
        self._secrets = secrets()
        self._silence = spec.timeout_s if spec.read_timeout_s is None else spec.read_timeout_s
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._clocks: set[asyncio.Timeout] = set()

    async def send(self, path: str, content: bytes | None, limit_s: float) -> dict[str, Any]:
        """The JSON object that answers a POST of `content`, or a GET where there is none, within `limit_s` in all.

        `path` is relative to the base URL; one that starts with "/" is relative to the URL without its /v1.

        Raises:
            Trouble: no answer; its kind says why.
            RequestRefused: the server refuses this request, in its own words.
        """
        if path not in self._urls:
            whole = self._url.removesuffix("/v1") + path if path.startswith("/") else f"{self._url}/{path}"
            self._urls[path] = URL(whole)
        return self._meaning(*await self._exchange(self._urls[path], content, limit_s))

    async def _exchange(self, url: URL, content: bytes | None, limit_s: float) -> tuple[aiohttp.ClientResponse, bytes]:
        try:
            async with asyncio.timeout(limit_s) as clock:
                self._clocks.add(clock)
                try:
                    return await self._response(url, content)
                finally:
                    self._clocks.discard(clock)
        except (aiohttp.ClientError, TimeoutError) as error:
            trouble = self._trouble(error, limit_s)
        # Not in the handler: the library's error, which may contain a secret, must not be chained.
        raise trouble

    async def _response(self, url: URL, content: bytes | None) -> tuple[aiohttp.ClientResponse, bytes]:
        session = self._session = self._session or self._opened()
        method = "GET" if content is None else "POST"
        async with session.request(method, url, data=content, allow_redirects=False) as response:
            if response.status < 200:  # another protocol from here on: the connection cannot be reused
                response.close()
                return response, b""
            return response, await self._body(response)

    def _trouble(self, error: Exception, limit_s: float) -> RequestError:
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.ClientHttpProxyError():
                return Unreachable(_named(error))
            case aiohttp.SocketTimeoutError():
                return TimedOut(f"nothing came for {self._silence:g} s (read_timeout_s)")
            case TimeoutError():
                return TimedOut(f"no whole answer within {limit_s:g} s (see timeout_s)")
        return Failed(_named(error))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._spec.max_answer_bytes:
                raise RequestRefused(
                    f"the answer is longer than {self._spec.max_answer_bytes} bytes (max_answer_bytes)"
                )
        return b"".join(parts)

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # The replica limits the connections. Servers close idle ones after 5 s (uvicorn): we do so earlier.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
            timeout=aiohttp.ClientTimeout(connect=self._spec.connect_timeout_s, sock_read=self._silence),
            headers=self._headers,
            proxy=_proxy(urlsplit(self._url)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _meaning(self, response: aiohttp.ClientResponse, body: bytes) -> dict[str, Any]:
        status, answer = response.status, self._object(body)
        if 200 <= status < 300:
            if answer is None:
                raise Failed(f"the server's answer is not a JSON object: {_words(answer, body)!r}")
            return answer
        message, pause_s = f"HTTP {status}: {_words(answer, body)}", retry_after(response.headers.get("retry-after"))
        if status in REFUSING:
            raise RequestRefused(f"the server refuses the request with {message}")
        if status in BUSY or (status == 503 and pause_s is not None):
            raise Busy(message, pause_s)
        if status in FAILING or status < 200 or (status >= 500 and status != 501):
            raise Failed(message, pause_s)
        raise Suspect(message)

    def _object(self, body: bytes) -> dict[str, Any] | None:
        """The JSON object of a body, without secrets: a gateway may say the key again, in any field."""
        try:
            answer = mask_values(_parsed(body), self._secrets)
        except (ValueError, RecursionError):  # no JSON, or nested too deep
            return None
        return answer if isinstance(answer, dict) else None

    def cut(self) -> None:
        """End the requests in flight, as if they had timed out."""
        for clock in self._clocks:
            if not clock.expired():
                clock.reschedule(0.0)

    async def close(self) -> None:
        """Close the idle connections; requests in flight must have been ended before."""
        if self._session:
            await self._session.close()


def _proxy(url: SplitResult) -> str | None:
    """The proxy that the environment names for a URL; it is for other hosts than this one."""
    host = url.hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    known = {} if here or proxy_bypass(host) else getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which has seconds or a date; None if it has neither."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d*)?", header.strip()):
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date either
        return None


def key_of(variable: str) -> str | None:
    """The key in an environment variable, which is masked from now on. Raises SpecError where no header can hold it."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SpecError(
            f"the environment variable {variable} (api_key_env): got characters that a header cannot hold, expected a "
            "key in ASCII; set it again"
        )
    remember(key)
    return key or None


def _words(answer: dict[str, Any] | None, body: bytes) -> str:
    """The server's own message: of the error in its response, else the whole response."""
    error = (answer or {}).get("error")
    if message := error.get("message") if isinstance(error, dict) else error:
        return excerpt(message)
    # No JSON, perhaps because it was cut; a secret may still be written in JSON's way.
    return excerpt(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), body[:100_000].decode(errors="replace")))


def _parsed(body: bytes) -> Any:
    """The JSON value of a body in UTF-8, -16 or -32.

    Half a character in it (a lone surrogate), which no table can hold, becomes U+FFFD, as do bytes that are no text. A
    number too long to be read becomes null. Raises ValueError or RecursionError if it is not JSON.
    """
    code, is_whole = json.detect_encoding(body), True
    try:
        text = body.decode(code)
    except UnicodeDecodeError:
        text, is_whole = _decoded(body, code), False
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than Python reads
        answer = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else None)
    if not is_whole or ("\\u" in text and _HALF.search(text)):
        text = json.dumps(answer, ensure_ascii=False)
        answer = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return answer


def _decoded(body: bytes, code: str) -> str:
    try:
        return body.decode(code, "surrogatepass")
    except UnicodeDecodeError:
        return body.decode(code, "replace")


def _named(error: Exception) -> str:
    return excerpt(f"{type(error).__name__}: {error}".removesuffix(": "))
