"""An engine that is loaded in a thread, and closed when its context is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from tasks.engines.output import printed_to, warned_to


class _Closing(Protocol):
    async def close(self) -> None: ...


_E = TypeVar("_E", bound=_Closing)


@asynccontextmanager
async def loaded(load: Callable[[], _E], model: str, log: Path | None) -> AsyncIterator[_E]:
    """Load an engine in a thread and serve it until the context is left. Raises what `load` raises.

    Args:
        log: the file for warnings, and for what is printed while the model is loaded, such as the bar of dequantising;
            None leaves them to the terminal.
    """

    def logged() -> _E:
        with printed_to(log, model):
            return load()

    with warned_to(log):
        loading = asyncio.ensure_future(asyncio.to_thread(logged))
        try:
            engine = await asyncio.shield(loading)
        except asyncio.CancelledError:
            # The thread continues loading whatever happens here; its engine must not be left without an owner.
            await (await loading).close()
            raise
        try:
            yield engine
        finally:
            await engine.close()
