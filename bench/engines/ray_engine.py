"""Replicas in Ray against the same replicas behind the openai engine, on a local Ray cluster and local servers.

    python bench/engines/ray_engine.py [--requests 3000] [--replicas 2] [--latency 0.2] [--rounds 5]

A replica answers each request after `latency` seconds, 64 at once, and computes nothing: what is measured is how many
requests a second each side can hand over and take back. Both sides stay open and take turns. The ideal is all places
over the latency.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import AsyncExitStack, ExitStack
from functools import partial

from bench.engines.mock_server import MODELS, MockServer, completion, response, serving
from tasks.engines import Engine, Sampling, open_engine

PLACES = 64  # of a replica
REPLY = "word " * 120
WHOLE = response(completion(REPLY))


class _Slow(MockServer):
    """Answers everything after that many seconds."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s

    def asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.answer(MODELS)
        else:
            asyncio.get_running_loop().call_later(self.latency_s, self.answer, WHOLE)


def prompt(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Request {number}. " + "Say a few words of tea and rain. " * 12}]


async def throughput(engine: Engine, requests: int) -> float:
    """Requests a second, all sent at once, as in a refresh."""
    began = time.perf_counter()
    asked = (engine.generate(prompt(n), Sampling(0.7, max_tokens=128, seed=n)) for n in range(requests))
    replies = await asyncio.gather(*asked)
    took_s = time.perf_counter() - began
    assert all(reply.text == REPLY for reply in replies)
    return requests / took_s


async def measure(given: argparse.Namespace, urls: list[str]) -> list[tuple[float, float]]:
    of = {"engine": "scripted", "replies": [REPLY], "latency_s": given.latency}
    in_ray = {"engine": "ray", "of": of, "replicas": given.replicas, "resources": {"CPU": 0.1}}
    served = {"engine": "openai", "base_url": urls, "model": "mock", "in_flight": PLACES}
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(open_engine(spec)) for spec in (in_ray, served)]
        while any(one.health_probe for one in engines[0].replicas.all):
            await asyncio.sleep(0.1)
        for engine in engines:
            await throughput(engine, 4 * PLACES)
        return [
            (await throughput(engines[0], given.requests), await throughput(engines[1], given.requests))
            for _ in range(given.rounds)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(partial(_Slow, given.latency))) for _ in range(given.replicas)]
        rounds = asyncio.run(measure(given, [f"http://127.0.0.1:{port}/v1" for port in ports]))
    ray, served = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratios = sorted(one / other for one, other in rounds)
    print("| replicas | latency, s | ideal, requests/s | in Ray | openai engine | ratio, median (range) |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {given.replicas} | {given.latency:g} | {given.replicas * PLACES / given.latency:.0f} | {ray:.0f} | "
        f"{served:.0f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
    )


if __name__ == "__main__":
    main()
