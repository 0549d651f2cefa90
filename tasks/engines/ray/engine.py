"""An engine in several processes: one Ray actor a replica, each with the whole engine that `of` names.

Requests are balanced as those of the openai engine are (`tasks.engines.replicas`). Their seeds are the caller's, so a
reply does not depend on the replica. An actor that died, with its process or its host, is out until it is placed again
and has loaded its model; its requests in flight, and no others, are sent again to another replica. A request that is in
flight at the death of replica after replica is refused.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from prompts import Message
from tasks.engines.identity import locate, locate_adapter
from tasks.engines.protocol import Completion, RequestRefused, Sampling
from tasks.engines.ray.actor import Opener
from tasks.engines.ray.cluster import LOCAL, joined
from tasks.engines.replicas import Advice, Replica, Replicas, RequestError, beginnings
from tasks.engines.specs import RaySpec, ScriptedSpec

ALONE_FROM = 2  # replicas that died with a request in flight, from which on such requests are sent one at a time
LOOK_EVERY_S = 0.5  # at the queue, for scaling
ADVICE = Advice(
    refusing="correct the spec's resources, replicas or model, or give the cluster more",
    silent="see Ray's logs (session_latest/logs below its --temp-dir), and run again: what was answered is kept",
)


class RayEngine:
    """Made by `open_ray`, in the event loop that it will be used in."""

    def __init__(self, spec: RaySpec, opener: Opener) -> None:
        from tasks.engines.ray.client import ActorClient

        self.identity = spec.identity()
        self._spec, self._added, self._client = spec, 0, partial(ActorClient, spec, opener)
        self.replicas: Replicas[ActorClient] = Replicas(spec, lambda replica: replica.client.revive(), ADVICE)
        self._suspects = asyncio.Lock()
        for _ in range(spec.replicas.min):
            self._add()
        self._scaling = asyncio.create_task(self._scale()) if spec.replicas.max > spec.replicas.min else None

    def _add(self) -> None:
        self._added += 1
        self.replicas.add(f"replica {self._added}", self._client(), ready=False)

    async def ready(self) -> None:
        """Wait until one replica answers. Raises EngineDown where none will."""
        self.replicas.leave(await self.replicas.enter())

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        return await self._ask("generate", prompt, sampling)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        return await self._ask("choose", prompt, options)

    async def _ask(
        self, method: str, prompt: str | list[Message], sampling_or_options: Sampling | Sequence[str]
    ) -> Any:
        begins = beginnings(_text(prompt)) if len(self.replicas.all) > 1 else ()
        last: Replica[Any] | None = None
        for deaths in range(self._spec.retries + 1):
            async with self._suspects if deaths >= ALONE_FROM else nullcontext():
                last = replica = await self.replicas.enter(last, begins)
                try:
                    answer = await replica.client.ask(method, prompt, sampling_or_options)
                    self.replicas.answered(replica)
                    return answer
                except RequestError as trouble:
                    self.replicas.check()
                    self.replicas.eject(replica, trouble)
                finally:
                    self.replicas.leave(replica)
        assert last is not None  # at least one was asked
        raise RequestRefused(f"{deaths + 1} replicas died while they had this request, the last one of {last.trouble}")

    async def _scale(self) -> None:
        """Add a replica when requests have waited for `up_after_s` without a break and none is being placed; remove one
        when half the places of the others would have been enough for `down_after_s`."""
        bounds, replicas = self._spec.replicas, self.replicas
        full_since = spare_since = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now, count, taken = time.monotonic(), len(replicas.all), sum(one.taken for one in replicas.all)
            if not replicas.waiting or count >= bounds.max or any(one.health_probe for one in replicas.all):
                full_since = now
            if replicas.waiting or count <= bounds.min or taken > (count - 1) * self._spec.in_flight / 2:
                spare_since = now
            if now - full_since >= bounds.up_after_s:
                self._add()
            elif now - spare_since >= bounds.down_after_s:
                replicas.remove(min(replicas.all, key=lambda one: (one.health_probe is None, one.taken)))
                spare_since = now

    async def close(self) -> None:
        if self._scaling:
            self._scaling.cancel()
            await asyncio.gather(self._scaling, return_exceptions=True)
        await self.replicas.close()


def _text(prompt: str | list[Message]) -> str:
    return prompt if isinstance(prompt, str) else "\0".join(turn["content"] for turn in prompt)


def _located(spec: RaySpec) -> RaySpec:
    """The spec with absolute paths: an actor has another working directory."""
    of = spec.of
    if isinstance(of, ScriptedSpec):
        return spec
    place, is_here = locate(of.model)
    changes = {"model": str(Path(place).resolve())} if is_here else {}
    changes |= {"lora": str(locate_adapter(of.lora).folder.resolve())} if of.lora else {}
    return spec.model_copy(update={"of": of.model_copy(update=changes)})


@asynccontextmanager
async def open_ray(spec: RaySpec, opener: Opener) -> AsyncIterator[RayEngine]:
    """Place the replicas, and serve them until the context is left; the first that is ready answers.

    Args:
        opener: opens the engine of a replica, in its process.

    Raises:
        SpecError: Ray is not installed, no such model, or no cluster at that address.
        EngineDown: no replica has a place, or none starts.
    """
    spec = _located(spec)
    async with joined(spec.address or os.environ.get("RAY_ADDRESS") or LOCAL):
        engine = RayEngine(spec, opener)
        try:
            await engine.ready()
            yield engine
        finally:
            await engine.close()
