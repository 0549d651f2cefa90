"""Engines: what answers requests. One small protocol, one request per call; batching is up to the engine.

Importing this package loads neither torch nor vllm: `open_engine` imports the one engine that the spec names.
"""

from __future__ import annotations

from tasks.engines.factory import open_engine
from tasks.engines.protocol import (
    Completion,
    Engine,
    EngineDown,
    Probabilities,
    RequestRefused,
    Sampling,
    SpecError,
    Verbatim,
)
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.specs import (
    EngineSpec,
    OpenAISpec,
    RaySpec,
    RewardSpec,
    ScriptedSpec,
    TransformersSpec,
    VllmSpec,
    parse_spec,
)

__all__ = [
    "Completion",
    "Engine",
    "EngineDown",
    "EngineSpec",
    "OpenAISpec",
    "Probabilities",
    "RaySpec",
    "RequestRefused",
    "RewardSpec",
    "Sampling",
    "ScriptedEngine",
    "ScriptedSpec",
    "SpecError",
    "TransformersSpec",
    "Verbatim",
    "VllmSpec",
    "open_engine",
    "parse_spec",
]
