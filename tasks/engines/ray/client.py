"""The driver's client of one replica: its placement group, and the actor in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from alignery.errors import AligneryError
from alignery.untrusted import excerpt
from tasks.engines.protocol import RequestRefused, SpecError
from tasks.engines.ray.actor import EngineActor, Opener
from tasks.engines.replicas import RequestError, Suspect
from tasks.engines.specs import RaySpec

CLOSE_WITHIN_S = 30.0  # of an engine; then its process is killed
ANSWER_WITHIN_S = 10.0  # of an actor, to `is_open`
OWN_CALLS = 4  # calls of an actor at once that are no requests: open, is_open, close


class ActorClient:
    """Made without a placement group and an actor: `revive` makes both."""

    def __init__(self, spec: RaySpec, opener: Opener) -> None:
        self._spec, self._opener = spec, opener
        self._group: PlacementGroup | None = None
        self._actor: Any = None
        self._clocks: set[asyncio.Timeout] = set()

    async def revive(self) -> None:
        """Make a new actor and open its engine, unless the present one still answers.

        Raises:
            Suspect: the cluster has no room for it, or the spec is wrong on its host.
            RequestError: it does not start.
        """
        if self._actor and await self._is_open():
            return
        await self._drop()
        await self._place()
        try:
            identity = await self.ask("open", self._spec.of.model_dump(mode="json"))
        except RayTaskError as error:  # not an AligneryError: a library fails on that host
            raise Suspect(f"its engine does not open: {excerpt(repr(error.cause))}") from error
        if identity != (expected := self._spec.identity()):
            raise Suspect(f"the host has another model at that path: got {identity}, expected {expected}")

    async def _is_open(self) -> bool:
        with suppress(RequestError, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return bool(await self.ask("is_open"))
        return False

    async def _place(self) -> None:
        spec, bundles = self._spec, self._spec.bundles
        self._group = placement_group(bundles, strategy="PACK")
        until = asyncio.get_running_loop().time() + spec.place_within_s
        while not await asyncio.to_thread(self._group.wait, min(1.0, spec.place_within_s)):
            if asyncio.get_running_loop().time() >= until:
                there, free = await asyncio.to_thread(_resources)
                await self._drop()
                raise Suspect(
                    f"no place within {spec.place_within_s:g} s (place_within_s): asked for {bundles}, the cluster has "
                    f"{there}, of which {free} is free"
                )
        strategy = PlacementGroupSchedulingStrategy(
            self._group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
        self._actor = (
            ray.remote(EngineActor)
            .options(
                num_cpus=bundles[0].get("CPU", 0),
                num_gpus=0 if len(bundles) > 1 else bundles[0].get("GPU", 0),  # else for vLLM's workers
                max_concurrency=spec.in_flight + OWN_CALLS,
                scheduling_strategy=strategy,
            )
            .remote(self._opener)
        )

    async def ask(self, method: str, *arguments: Any) -> Any:
        """What the actor returns.

        Raises:
            RequestRefused: the engine refuses the request.
            RequestError: the actor is gone, or its engine is down.
        """
        if self._actor is None:
            raise RequestError("it has no process")
        try:
            call = getattr(self._actor, method).remote(*arguments)
            async with asyncio.timeout(None) as clock:
                self._clocks.add(clock)
                try:
                    answer = await call
                except asyncio.CancelledError:
                    ray.cancel(call)
                    raise
                finally:
                    self._clocks.discard(clock)
        except TimeoutError as error:
            raise RequestError("it was cut off") from error
        except RayTaskError:  # a defect of the engine's ends the run, as without Ray
            raise
        except RayError as error:
            raise RequestError(f"{type(error).__name__}: {excerpt(error)}") from error
        if isinstance(answer, RequestRefused):
            raise answer
        if isinstance(answer, AligneryError):
            raise (Suspect if isinstance(answer, SpecError) else RequestError)(str(answer))
        return answer

    def cut(self) -> None:
        """Time out the calls in flight."""
        for clock in self._clocks:
            clock.reschedule(0.0)

    async def close(self) -> None:
        if self._actor:
            with suppress(RequestError, TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self.ask("close")
        await self._drop()

    async def _drop(self) -> None:
        """Remove the placement group; Ray kills the actor in it."""
        group, self._group, self._actor = self._group, None, None
        if group:
            await asyncio.to_thread(remove_placement_group, group)


def _resources() -> tuple[dict[str, float], dict[str, float]]:
    """The cluster's resources, in all and free: CPU, GPU and a user's own."""
    return tuple(  # type: ignore[return-value]
        {name: amount for name, amount in found.items() if not name.startswith(("node:", "object_store", "memory"))}
        for found in (ray.cluster_resources(), ray.available_resources())
    )
