"""An engine that is loaded at its first request: a run with nothing to do loads no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prompts import Message
from tasks.engines.factory import open_engine
from tasks.engines.protocol import Completion, Engine, EngineDown, Sampling, SpecError
from tasks.engines.specs import EngineSpec


class LazyEngine:
    """Made by `open_lazily`. Its identity is the spec's, so that work keys need no model."""

    def __init__(self, spec: EngineSpec, stack: AsyncExitStack, logs: Path | None = None) -> None:
        self.identity = spec.identity()
        self._spec, self._stack, self._logs = spec, stack, logs
        self._loading = asyncio.Lock()
        self._engine: Engine | None = None
        self._fault: SpecError | EngineDown | None = None

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        return await (await self._loaded()).generate(prompt, sampling)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        return await (await self._loaded()).choose(prompt, options)

    async def _loaded(self) -> Engine:
        async with self._loading:
            if self._fault:  # raised for each row that waits; loading is not tried again
                raise self._fault
            if self._engine is None:
                try:
                    self._engine = await self._stack.enter_async_context(open_engine(self._spec, self._logs))
                except (SpecError, EngineDown) as fault:
                    self._fault = fault
                    raise
        return self._engine


@asynccontextmanager
async def open_lazily(spec: EngineSpec, logs: Path | None = None) -> AsyncIterator[LazyEngine]:
    """As `open_engine`, but loaded at the first call, which then raises what loading raises.

    Raises:
        SpecError: there is no such model.
    """
    async with AsyncExitStack() as stack:
        yield LazyEngine(spec, stack, logs)
