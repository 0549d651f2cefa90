"""From a spec to an engine: the engine's own module is imported only here, and with it torch or vllm."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tasks.engines.protocol import Engine
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.specs import (
    EngineSpec,
    OpenAISpec,
    RaySpec,
    RewardSpec,
    ScriptedSpec,
    TransformersSpec,
    VerifierSpec,
    VllmSpec,
    parse_spec,
)

_THRESHOLD = gc.get_threshold()


@asynccontextmanager
async def open_engine(spec: EngineSpec | Mapping[str, Any], logs: Path | None = None) -> AsyncIterator[Engine]:
    """Load the engine that the spec names, and close it again; what is then in flight gets `EngineDown`.

    Args:
        logs: the folder for what its libraries print, in `vllm.log` or `transformers.log`; None leaves it to the
            terminal. Those of replicas are in Ray's own logs.

    Raises:
        SpecError: the spec or its model is wrong, with the fix.
    """
    if isinstance(spec, Mapping):
        spec = parse_spec(spec)
    if isinstance(spec, ScriptedSpec):
        yield ScriptedEngine(spec.replies, latency_s=spec.latency_s)
        return
    if isinstance(spec, VerifierSpec):
        from tasks.engines.verifier import VerifierEngine

        yield VerifierEngine(spec)
        return
    async with _opener(spec, logs) as engine:
        with _few_collections():
            yield engine


@contextmanager
def _few_collections() -> Iterator[None]:
    """A full garbage collection takes a second with the million objects of torch and vLLM, and rows in progress trigger
    many: existing objects are excluded, and collections become rare."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*_THRESHOLD)  # not what it was at first here: engines close in any order
        gc.unfreeze()


def _opener(
    spec: TransformersSpec | VllmSpec | RewardSpec | OpenAISpec | RaySpec, logs: Path | None
) -> AbstractAsyncContextManager[Engine]:
    """What opens an engine of that kind."""
    log = logs / f"{spec.engine}.log" if logs else None
    if isinstance(spec, OpenAISpec):
        from tasks.engines.openai.engine import open_server

        return open_server(spec)
    if isinstance(spec, RaySpec):
        from tasks.engines.ray.engine import open_ray

        return open_ray(spec, open_engine)
    if isinstance(spec, TransformersSpec):
        from tasks.engines.transformers.engine import open_transformers

        return open_transformers(spec, log)
    if isinstance(spec, RewardSpec):
        from tasks.engines.transformers.reward import open_reward

        return open_reward(spec, log)
    from tasks.engines.vllm import open_vllm

    return open_vllm(spec, log)
