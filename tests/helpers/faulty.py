"""A server that misbehaves on demand: a script says what each request gets, and each is counted by its words."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.engines import Sampling, open_engine

QUESTION = "Say yes"  # how the engine asks a server whether it lives
CHAT = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class Act:
    """One answer. `end`: sent whole; the connection reset; broken off half way; never sent; a byte now and then."""

    status: int = 200
    body: Any = None  # JSON, or bytes as they are
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    end: Literal["whole", "reset", "broken", "stall", "drip"] = "whole"


def ok(text: str = "fine", reason: str = "stop", usage: Any = None, after_s: float = 0.0, **more: Any) -> Act:
    choice = {"text": text, "message": {"content": text}, "finish_reason": reason, **more}
    usage = usage or {"prompt_tokens": 5, "completion_tokens": 2}
    return Act(body={"choices": [choice], "usage": usage}, after_s=after_s)


def error(status: int, message: str = "no", **headers: str) -> Act:
    return Act(
        status, {"error": {"message": message}}, {name.replace("_", "-"): value for name, value in headers.items()}
    )


FAULTS = {
    "500": error(500, "boom"),
    "503": error(503, "boom"),
    "reset": Act(end="reset"),
    "broken off": Act(body=b'{"choices": [{"text": "half', end="broken"),
    "truncated JSON": Act(body=b'{"choices": [{"text": "half'),
    "wrong schema": Act(body={"oops": 1}),
    "a list": Act(body=["no object"]),
    "text of another type": Act(body={"choices": [{"message": {"content": 7}, "text": 7, "finish_reason": "stop"}]}),
}

# (the prompt's words, how often they had come before) → what they get
Script = Callable[[str, int], Act]


class Faulty:
    """Serves on 127.0.0.1 in the running loop, always at one port; `die` and `live` as often as a test likes."""

    def __init__(self, script: Script = lambda words, number: ok(), owner: str | None = "somebody") -> None:
        self.script = script
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()  # with 200, and to the last byte
        self.seen: list[tuple[str, Any, dict[str, str], float]] = []  # path, body, headers, time
        self.now = self.most = 0
        self.port = 0
        self.owner = owner  # of its models; None leaves the list of models to the script
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def rows(self) -> Counter[str]:
        """How often each prompt was asked, without the engine's own questions."""
        return Counter({words: count for words, count in self.asked.items() if not words.startswith(QUESTION)})

    async def live(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        if self._server:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._server = None

    async def __aenter__(self) -> Faulty:
        await self.live()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection is to be kept."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        body = json.loads(await reader.readexactly(int(headers.get("Content-Length", 0))) or b"null")
        path = first.split(" ")[1]
        if path == "/v1/models" and self.owner is not None:
            content = json.dumps({"data": [{"id": "m", "owned_by": self.owner}]}).encode()
            writer.write(f"HTTP/1.1 200 X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
            return True
        words = _words(path, body)
        self.seen.append((path, body, headers, time.monotonic()))
        self.asked[words] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._act(self.script(words, self.asked[words] - 1), words, writer)
        finally:
            self.now -= 1

    async def _act(self, act: Act, words: str, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(act.after_s)
        if act.end == "stall":
            await asyncio.sleep(60)
        content = act.body if isinstance(act.body, bytes) else json.dumps(act.body).encode()
        length = 10**9 if act.end == "drip" else len(content) + (9 if act.end == "broken" else 0)
        head = "".join(
            f"{name}: {value}\r\n" for name, value in (act.headers | {"Content-Length": str(length)}).items()
        )
        if act.end == "reset":
            linger = struct.pack("ii", 1, 0)  # so that closing sends RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        writer.write(f"HTTP/1.1 {act.status} X\r\n{head}\r\n".encode() + content)
        await writer.drain()
        while act.end == "drip":
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        self.answered[words] += act.status == 200 and act.end == "whole"
        return act.end == "whole"


def _words(path: str, body: Any) -> str:
    if not isinstance(body, dict):
        return path
    return str(body["messages"][-1]["content"] if "messages" in body else body.get("prompt"))


def spec(*urls: str, **changes: Any) -> dict[str, Any]:
    common = {"engine": "openai", "base_url": list(urls), "model": "m"}
    return common | {"give_up_after_s": 5.0, "first_pause_s": 0.01, "longest_pause_s": 0.1} | changes


async def ask(
    urls: str | Iterable[str], *prompts: Any, sampling: Sampling = Sampling(max_tokens=9), **changes: Any
) -> list[Any]:
    """Every prompt at once; what came of each, exceptions included."""
    async with open_engine(spec(*([urls] if isinstance(urls, str) else urls), **changes)) as engine:
        return await asyncio.gather(*(engine.generate(p, sampling) for p in prompts), return_exceptions=True)
