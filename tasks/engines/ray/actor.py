"""The Ray actor of a replica: one engine, opened in its process from a spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from alignery.errors import AligneryError
from prompts import Message
from tasks.engines.protocol import Completion, Engine, EngineDown, RequestRefused, Sampling

DOWN = "its engine is down"  # for requests that were sent before the replica was taken out

Fault = RequestRefused | AligneryError
Opener = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Engine]]


class EngineActor:
    """An engine's errors are returned and not raised: Ray would put its own traceback into their messages."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None

    async def open(self, spec: Mapping[str, Any]) -> str | Fault:
        """The identity of what was opened."""
        try:
            self._engine = await self._stack.enter_async_context(self._opener(spec))
        except AligneryError as fault:
            return fault
        return self._engine.identity

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion | Fault:
        if self._engine is None:
            return EngineDown(DOWN)
        try:
            return await self._engine.generate(prompt, sampling)
        except (RequestRefused, EngineDown) as fault:
            return self._noted(fault)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float] | Fault:
        if self._engine is None:
            return EngineDown(DOWN)
        try:
            return await self._engine.choose(prompt, options)
        except (RequestRefused, EngineDown) as fault:
            return self._noted(fault)

    def _noted(self, fault: Fault) -> Fault:
        if isinstance(fault, EngineDown):
            self._engine = None
        return fault

    async def is_open(self) -> bool:
        return self._engine is not None

    async def close(self) -> None:
        """Close the engine, so that its own processes, such as vLLM's, end too."""
        await self._stack.aclose()
