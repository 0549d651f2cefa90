"""Hostile HTTP replies as data, and a raw-socket server that gives one of them to every request but the engine's probe.

`HOSTILE` lists them; `serving(reply)` yields the base URL of a server that gives one. The probe ("Say yes") and the
list of models are answered well, so the server counts as alive and what fails is the row.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

PROBE = b"Say yes"
TEXT = "It is a fine day."
_HALF = "\ud83d"
Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Reply:
    """`raw` is written as it is and the connection closed, or it is a coroutine that writes to the socket itself.

    `gives` is what a request must come to: a sound completion (`text`), or one refused row with a reason.
    """

    name: str
    raw: bytes | Serve
    gives: Literal["completion", "refusal"] = "refusal"
    text: str = TEXT


def http(body: bytes, status: str = "200 OK", *headers: str, length: object = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def completion(content: Any = TEXT, finish: Any = "stop", usage: Any = None, **changes: Any) -> dict[str, Any]:
    """A chat completion and a text completion in one: the same reply serves both paths."""
    choice = {
        "index": 0,
        "text": content,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish,
    }
    return {"id": "x", "choices": [choice], "usage": usage or {"prompt_tokens": 5, "completion_tokens": 2}} | changes


def chat(content: Any = TEXT, finish: Any = "stop", usage: Any = None, **changes: Any) -> bytes:
    return http(json.dumps(completion(content, finish, usage, **changes)).encode())


def literal(name: str, value: str) -> bytes:
    """A completion whose `usage.prompt_tokens` is this JSON text, or whose other field is."""
    whole = json.dumps(completion(usage={"prompt_tokens": "@", "completion_tokens": 2} if name == "usage" else None))
    return http((whole.replace('"@"', value) if name == "usage" else whole[:-1] + f', "{name}": {value}}}').encode())


def _without(field: str) -> bytes:
    return http(json.dumps({name: value for name, value in completion().items() if name != field}).encode())


def _message(**fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | fields, "finish_reason": "stop"}
    return http(json.dumps({"choices": [choice]}).encode())


async def _forever(writer: asyncio.StreamWriter, part: bytes, pause_s: float = 0.0) -> None:
    while True:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause_s)


def _endless(head: bytes, part: bytes, pause_s: float = 0.0) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await _forever(writer, part, pause_s)

    return serve


async def _silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


_WHOLE = json.dumps(completion()).encode()
_BOMB = gzip.compress(bytes(64 << 20), 9)  # 64 kB that become 64 MB, which is over max_answer_bytes
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

_COUNTS = {
    "2147483648": "2147483648",
    "2 to the 63rd": "9223372036854775808",
    "negative": "-1",
    "fractional": "1.5",
    "boolean": "true",
    "a string": '"12"',
    "null": "null",
    "a list": "[1]",
    "an object": '{"a": 1}',
    "1e999": "1e999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "5,000 digits": "9" * 5000,
}

HOSTILE: list[Reply] = [
    # Counts that no column holds: the answer is sound, the count is unknown.
    *(Reply(f"usage: {name}", literal("usage", value), "completion") for name, value in _COUNTS.items()),
    Reply("usage is a list", chat(usage=[1]), "completion"),
    Reply("usage is a string", chat(usage="many"), "completion"),
    Reply("usage: missing", _without("usage"), "completion"),
    Reply("usage: details are a number", chat(usage={"prompt_tokens": 5, "prompt_tokens_details": 7}), "completion"),
    Reply(
        "usage: cached tokens out of range",
        chat(usage={"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2**31}}),
        "completion",
    ),
    # Encodings.
    Reply("lone surrogate, escaped", chat(f"a{_HALF} b"), "completion", "a\ufffd b"),
    Reply(
        "lone surrogate in UTF-8",
        http(json.dumps(completion(f"a{_HALF} b"), ensure_ascii=False).encode("utf-8", "surrogatepass")),
        "completion",
        "a\ufffd b",
    ),
    *(
        Reply(
            f"lone surrogate in {code}",
            http(json.dumps(completion(f"a{_HALF} b"), ensure_ascii=False).encode(code, "surrogatepass")),
            "completion",
            "a\ufffd b",
        )
        for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
    ),
    *(Reply(f"JSON in {code}", http(_WHOLE.decode().encode(code)), "completion") for code in ("utf-16", "utf-32-le")),
    Reply("a byte-order mark", http(b"\xef\xbb\xbf" + _WHOLE), "completion"),
    Reply("bytes that are no UTF-8", http(_WHOLE.replace(b"fine", b"f\xffne")), "completion", "It is a f\ufffdne day."),
    Reply("a null character", chat("a\0b"), "completion", "a\0b"),
    # JSON.
    Reply("nested 100,000 deep", http(b"[" * 100_000 + b"]" * 100_000)),
    Reply("a field nested 100,000 deep", literal("x", "[" * 100_000 + "]" * 100_000)),
    Reply("a field nested 200 deep", literal("x", "[" * 200 + "]" * 200), "completion"),
    Reply("objects nested 100,000 deep", http(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    Reply("a field of NaN", literal("created", "NaN"), "completion"),
    Reply("a field of 5,000 digits", literal("created", "9" * 5000), "completion"),
    Reply("duplicate keys", http(b'{"choices": [],' + _WHOLE[1:]), "completion"),
    Reply("empty body", http(b"")),
    Reply("a JSON string", http(b'"hello"')),
    Reply("a list", http(b"[1, 2]")),
    Reply("an HTML page", http(b"<html><body>It works!</body></html>")),
    Reply("truncated JSON", http(_WHOLE[:-20])),
    Reply("two JSON values", http(_WHOLE + _WHOLE)),
    Reply("server-sent events", http(b"data: " + _WHOLE + b"\n\ndata: [DONE]\n\n")),
    Reply("an error with status 200", http(b'{"error": {"message": "out of credit", "code": 402}}')),
    # Shapes.
    *(
        Reply(f"choices: {name}", http(json.dumps({"choices": value}).encode()))
        for name, value in {
            "null": None,
            "empty": [],
            "a number": 7,
            "an object": {"a": 1},
            "of numbers": [7],
            "of null": [None],
            "of lists": [[[]]],
            "an empty choice": [{}],
        }.items()
    ),
    Reply("choices: 20,000", http(json.dumps({"choices": completion()["choices"] * 20_000}).encode()), "completion"),
    Reply("choices: missing", _without("choices")),
    Reply("message: null", http(b'{"choices": [{"message": null, "finish_reason": "stop"}]}')),
    Reply("message: a list", http(b'{"choices": [{"message": ["a"], "finish_reason": "stop"}]}')),
    Reply("content: a number", chat(7)),
    Reply("content: true", chat(True)),
    Reply("content: an object", chat({"a": 1})),
    Reply("content: a list of numbers", chat([1, 2])),
    Reply(
        "content: parts", chat([{"type": "text", "text": TEXT[:5]}, {"type": "text", "text": TEXT[5:]}]), "completion"
    ),
    Reply("content: a part without text", chat([{"type": "text"}])),
    Reply("content: a part whose text is a list", chat([{"type": "text", "text": ["a"]}])),
    Reply("content: null and a refusal", _message(content=None, refusal="I will not.")),
    Reply("content: null", _message(content=None), "completion", ""),
    # Why it ended.
    Reply("finish_reason: 5 MB", chat(finish="x" * (5 << 20)), "completion"),
    Reply("finish_reason: 5 MB and no text", chat("", finish="x" * (5 << 20))),
    Reply("finish_reason: a terminal's commands and no text", chat("", finish="\x1b]0;owned\x07\u202e[/]")),
    Reply("finish_reason: an object", chat(finish={"type": "stop"}), "completion"),
    Reply("finish_reason: content_filter", chat(finish="content_filter")),
    Reply("model name: 5 MB", chat(model="m" * (5 << 20)), "completion"),
    # Statuses.
    Reply("400 of 5 MB", http(b'{"error": {"message": "' + b"x" * (5 << 20) + b'"}}', "400 Bad Request")),
    Reply("400 whose error is a list", http(b'{"error": ["a", {"b": 1}]}', "400 Bad Request")),
    Reply("400 nested deep", http(b'{"error":' * 50_000, "400 Bad Request")),
    Reply("400 in HTML with markup", http(b"<b>[bold]\x1b[31mno[/]</b>", "400 Bad Request")),
    Reply("422 without a body", http(b"", "422 Unprocessable Entity")),
    Reply("204 without a body", b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
    Reply("204 with a body", http(_WHOLE, "204 No Content")),
    Reply("a redirect", http(b"", "302 Found", "Location: http://127.0.0.1:9/v1/elsewhere")),
    Reply("a redirect to a file", http(b"", "307 Temporary Redirect", "Location: file:///etc/hostname")),
    Reply("100 and then the answer", b"HTTP/1.1 100 Continue\r\n\r\n" + http(_WHOLE), "completion"),
    Reply("103 and then the answer", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + http(_WHOLE), "completion"),
    Reply("101 Switching Protocols", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0"),
    Reply("status 999", http(_WHOLE, "999 Odd")),
    Reply("status 0", http(_WHOLE, "000 Nothing")),
    Reply("500 with an odd Retry-After", http(b"later", "500 Oops", "Retry-After: \u00e9\u00e9")),
    # Headers and framing.
    Reply("a cookie", http(_WHOLE, "200 OK", "Set-Cookie: session=1; Domain=127.0.0.1"), "completion"),
    Reply("a header of 1 MB", http(_WHOLE, "200 OK", "X-Long: " + "x" * (1 << 20))),
    Reply("a header without a colon", http(_WHOLE, "200 OK", "nonsense")),
    Reply("bytes in a header", http(_WHOLE, "200 OK", "X-Odd: \udcff\udcfe"), "completion"),
    Reply("two lengths", http(_WHOLE, "200 OK", "Content-Length: 3")),
    Reply("a length too long", http(_WHOLE, length=len(_WHOLE) + 9)),
    Reply("a length too short", http(_WHOLE, length=len(_WHOLE) - 9)),
    Reply("a negative length", http(_WHOLE, length=-1)),
    Reply("a length that is no number", http(_WHOLE, length="many")),
    Reply("a chunk size that is no number", _CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n"),
    Reply("a chunk size of 64 bits", _CHUNKED + b"ffffffffffffffff\r\nabc\r\n"),
    Reply("chunks that never end", _CHUNKED + b"%x\r\n%b\r\n" % (len(_WHOLE), _WHOLE)),
    Reply(
        "a transfer encoding that nobody knows",
        _HEAD + b"Transfer-Encoding: rot13\r\n\r\n" + _WHOLE,
        "completion",
    ),
    Reply("HTTP/0.9", _WHOLE),
    Reply("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
    Reply("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    Reply("nothing", b""),
    Reply("a reset", _reset),
    Reply("gzip", http(gzip.compress(_WHOLE), "200 OK", "Content-Encoding: gzip"), "completion"),
    Reply("deflate", http(zlib.compress(_WHOLE), "200 OK", "Content-Encoding: deflate"), "completion"),
    Reply("a gzip bomb", http(_BOMB, "200 OK", "Content-Encoding: gzip")),
    Reply("gzip that is none", http(_WHOLE, "200 OK", "Content-Encoding: gzip")),
    Reply("an encoding that nobody knows", http(_WHOLE, "200 OK", "Content-Encoding: x-odd"), "completion"),
    # Without end: time limits and max_answer_bytes end them.
    Reply("silence", _silence),
    Reply("a slow drip", _endless(_HEAD + b"Content-Length: 100000\r\n\r\n", b" ", 0.05)),
    Reply("headers without end", _endless(_HEAD, b"X-More: " + b"y" * 4000 + b"\r\n")),
    Reply("100 Continue without end", _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01)),
    Reply("a body without end", _endless(_HEAD + b"\r\n", b" " * 65536)),
]


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[str]:
    """The base URL of a server on 127.0.0.1 that gives this reply to each request, until the block is left."""
    writers: set[asyncio.StreamWriter] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if head.startswith(b"GET"):
                writer.write(http(b'{"object": "list", "data": [{"id": "m", "owned_by": "nobody"}]}'))
            elif PROBE in body:
                writer.write(chat("yes"))
            elif isinstance(reply.raw, bytes):
                writer.write(reply.raw)
            else:
                await reply.raw(writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=256)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
