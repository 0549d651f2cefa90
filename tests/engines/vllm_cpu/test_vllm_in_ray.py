"""Two replicas of the real vLLM in Ray, serving nano: their replies are those of one engine."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks.engines import Sampling, open_engine

pytestmark = [pytest.mark.engine, pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed")]

VLLM = {"engine": "vllm", "model": str(Path(__file__).parents[3] / "nano/checkpoint"), "dtype": "float32"}
RAY = {"engine": "ray", "of": VLLM, "replicas": 2, "resources": {"CPU": 1, "GPU": 0}}
PATIENCE = {"place_within_s": 120, "give_up_after_s": 600}
TEA = [(f"Human: Say something of {n} cups of tea.\nAssistant:", n) for n in range(64)]


async def texts(engine):
    asked = (engine.generate(prompt, Sampling(0.9, max_tokens=24, seed=seed)) for prompt, seed in TEA)
    return [reply.text for reply in await asyncio.gather(*asked)]


def test_two_replicas_reply_as_one_engine_does_and_both_are_asked(monkeypatch):
    from tasks.engines.ray.client import ActorClient

    ask, clients = ActorClient.ask, set()

    async def noted(self, method, *arguments):
        if method == "generate":
            clients.add(self)
        return await ask(self, method, *arguments)

    async def main():
        async with open_engine(VLLM) as engine:
            alone = await texts(engine)
        async with open_engine(RAY | PATIENCE) as engine, asyncio.timeout(PATIENCE["give_up_after_s"]):
            while any(replica.health_probe for replica in engine.replicas.all):
                await asyncio.sleep(0.05)
            return alone, await texts(engine)

    monkeypatch.setattr(ActorClient, "ask", noted)
    monkeypatch.setitem(os.environ, "RAY_worker_register_timeout_seconds", "300")  # busy cores start a worker slowly
    alone, together = asyncio.run(main())
    assert together == alone
    assert len(set(alone)) > len(TEA) / 2
    assert len(clients) == 2
