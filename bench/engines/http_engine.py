"""The openai engine against bare async clients, 64 in flight, on a mock server in a process of its own.

    python bench/engines/http_engine.py [--requests 2000] [--in-flight 64] [--rounds 5]

All sides send the same chat requests and read the reply's text; they take turns, with new connections each time.
`instant` is answered at once, `constant` after 0.2 s, `heavy tail` after 0.06 s (50 %), 0.14 (30 %), 0.4 (15 %) or 1.04
(5 %), by the request's own number. The ceiling is what raw sockets get from the server, with nothing built or read.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import httpx

from bench.engines.mock_server import MODELS, MockServer, completion, response, serving
from tasks.engines import Sampling, open_engine

TAIL = (*[0.06] * 10, *[0.14] * 6, *[0.4] * 3, 1.04)  # seconds: a fifth of 0.3, 0.7, 2.0 and 5.2
LATENCIES: dict[str, Callable[[int], float]] = {
    "instant": lambda number: 0.0,
    "constant": lambda number: 0.2,
    "heavy tail": lambda number: TAIL[number * 7 % len(TAIL)],
}
REPLY = "word " * 120
WHOLE = response(completion(REPLY))


class _BySeed(MockServer):
    """Reads of a request no more than its seed, which is its number."""

    def __init__(self, latency: str) -> None:
        self.latency = LATENCIES[latency]

    def asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.answer(MODELS)
        elif delay := self.latency(int(body.rpartition(b'"seed":')[2].strip(b" }"))):
            asyncio.get_running_loop().call_later(delay, self.answer, WHOLE)
        else:
            self.answer(WHOLE)


@dataclass(frozen=True)
class Load:
    port: int
    requests: int
    in_flight: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def prompt(self, number: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"Request {number}. " + "Say a few words of tea and rain. " * 12}]

    async def shared(self, one: Callable[[int], Awaitable[object]]) -> None:
        """`in_flight` workers that share the numbers."""
        numbers = iter(range(self.requests))

        async def worker() -> None:
            for number in numbers:
                await one(number)

        await asyncio.gather(*(worker() for _ in range(self.in_flight)))


async def by_engine(load: Load) -> None:
    """As in a refresh: all at once, and the engine bounds the number in flight."""
    spec = {"engine": "openai", "base_url": load.url, "model": "mock", "in_flight": load.in_flight}
    async with open_engine(spec) as engine:
        asked = (
            engine.generate(load.prompt(number), Sampling(0.7, max_tokens=128, seed=number))
            for number in range(load.requests)
        )
        for reply in await asyncio.gather(*asked):
            assert reply.text == REPLY


async def by_aiohttp(load: Load) -> None:
    """One session for all: the fastest of the maintained clients."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            async with session.post(f"{load.url}/chat/completions", json=_body(load, number)) as response:
                _read(await response.json())

        await load.shared(one)


async def by_httpx(load: Load) -> None:
    """One client for all, as its documentation advises."""
    limits = httpx.Limits(max_connections=load.in_flight, max_keepalive_connections=load.in_flight)
    async with httpx.AsyncClient(timeout=600, limits=limits) as client:

        async def one(number: int) -> None:
            _read((await client.post(f"{load.url}/chat/completions", json=_body(load, number))).json())

        await load.shared(one)


def _body(load: Load, number: int) -> dict[str, Any]:
    body = {"model": "mock", "messages": load.prompt(number), "max_tokens": 128, "temperature": 0.7}
    return body | {"seed": number}


def _read(answer: dict[str, Any]) -> None:
    assert answer["choices"][0]["message"]["content"] == REPLY


async def by_sockets(load: Load) -> None:
    """The server's ceiling: bytes made once, and an answer counted by its length."""
    spare: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one(number: int) -> None:
        reader, writer = spare.pop() if spare else await asyncio.open_connection("127.0.0.1", load.port)
        body = b'{"seed": %d}' % number
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readexactly(len(WHOLE))
        spare.append((reader, writer))

    await load.shared(one)
    for _, writer in spare:
        writer.close()


def measure(side: Callable[[Load], Awaitable[None]], load: Load) -> float:
    """Requests a second."""

    async def timed() -> float:
        began = time.perf_counter()
        await side(load)
        return load.requests / (time.perf_counter() - began)

    return asyncio.run(timed())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{given.requests} requests, {given.in_flight} in flight, medians of {given.rounds} alternating rounds\n")
    print("| latency | engine, requests/s | aiohttp | ratio (range) | httpx | ratio (range) | ceiling |")
    print("|---|---|---|---|---|---|---|")
    for name in LATENCIES:
        with serving(partial(_BySeed, name)) as port:
            load = Load(port, given.requests, given.in_flight)
            ceiling = measure(by_sockets, load)
            rounds = [[measure(side, load) for side in (by_engine, by_aiohttp, by_httpx)] for _ in range(given.rounds)]
        ours, quick, plain = (f"{statistics.median(side):.0f}" for side in zip(*rounds, strict=True))
        of_quick, of_plain = (_ratio([row[0] / row[side] for row in rounds]) for side in (1, 2))
        print(f"| {name} | {ours} | {quick} | {of_quick} | {plain} | {of_plain} | {ceiling:.0f} |", flush=True)


def _ratio(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    main()
