"""Alignery: a self-alignment data factory.

    import alignery

    alignery.refresh("nano", home="lake")
    with alignery.open_lake("lake") as lake:
        lake.pandas("SELECT step, reason, count(*) AS n FROM rejects GROUP BY ALL")

The names in `__all__` are the public ones. They are imported when they are first used, so that `import alignery` costs
nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignery.api import (
        aevaluate,
        aplan,
        apromote,
        apublish,
        arefresh,
        aretrain,
        evaluate,
        plan,
        promote,
        publish,
        refresh,
        retrain,
    )
    from alignery.config.preset import Preset
    from alignery.config.schema import PresetError
    from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Shape, Table
    from alignery.errors import AligneryError, UsageError
    from alignery.lake_reader import OpenLake, load_preset, open_lake
    from alignery.pipeline import marks
    from alignery.pipeline.estimate import Estimate
    from alignery.pipeline.executor import RejectLimitExceeded
    from alignery.pipeline.runs.evaluation import Evaluation
    from alignery.pipeline.runs.promotion import Decided
    from alignery.pipeline.runs.refreshing import Summary
    from alignery.pipeline.runs.training import Trained, TrainingStopped
    from prompts import Library
    from tasks.engines import EngineDown, Sampling
    from tasks.methods.base import MethodConfig, SourceConfig
    from tasks.methods.score.propositions import fitted as fit_propositions
    from tasks.stage import Context, Method, Stage
    from tasks.step import ParseError, Rejected, Row, Step
    from tasks.train.config import Recipe
    from tasks.train.recipes import declared as recipes
    from warehouse import Lake, LakeFailure, Publication
    from warehouse.export.export import Export

# Nothing leaves the machine. Set before Prefect, vLLM or a hub client is imported; what the user set wins.
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)

_RUNS = ("refresh", "publish", "retrain", "evaluate", "promote", "plan")
# Where each public name is from.
_PUBLIC = {
    **dict.fromkeys((*_RUNS, *(f"a{run}" for run in _RUNS)), "alignery.api"),
    **dict.fromkeys(("open_lake", "load_preset", "OpenLake"), "alignery.lake_reader"),
    "Preset": "alignery.config.preset",
    "PresetError": "alignery.config.schema",
    "Summary": "alignery.pipeline.runs.refreshing",
    "Decided": "alignery.pipeline.runs.promotion",
    **dict.fromkeys(("Trained", "TrainingStopped"), "alignery.pipeline.runs.training"),
    "Evaluation": "alignery.pipeline.runs.evaluation",
    "Estimate": "alignery.pipeline.estimate",
    "RejectLimitExceeded": "alignery.pipeline.executor",
    **dict.fromkeys(("Lake", "LakeFailure", "Publication"), "warehouse"),
    "Export": "warehouse.export.export",
    **dict.fromkeys(("AligneryError", "UsageError"), "alignery.errors"),
    **dict.fromkeys(("Column", "Table", "Shape", "INSTRUCTION_ID", "RESPONSE_ID"), "alignery.declarations"),
    **dict.fromkeys(("Method", "Stage", "Context"), "tasks.stage"),
    **dict.fromkeys(("Step", "Row", "Rejected", "ParseError"), "tasks.step"),
    **dict.fromkeys(("MethodConfig", "SourceConfig"), "tasks.methods.base"),
    **dict.fromkeys(("Sampling", "EngineDown"), "tasks.engines"),
    "Library": "prompts",
    "Recipe": "tasks.train.config",
    "fit_propositions": "tasks.methods.score.propositions",
}
_MODULES = {"marks": "alignery.pipeline.marks", "recipes": "tasks.train.recipes.declared"}
_NAMED = {"fit_propositions": "fitted"}  # those with another name where they are from

__all__ = [
    "INSTRUCTION_ID",
    "RESPONSE_ID",
    "AligneryError",
    "Column",
    "Context",
    "Decided",
    "EngineDown",
    "Estimate",
    "Evaluation",
    "Export",
    "Lake",
    "LakeFailure",
    "Library",
    "Method",
    "MethodConfig",
    "OpenLake",
    "ParseError",
    "Preset",
    "PresetError",
    "Publication",
    "Recipe",
    "RejectLimitExceeded",
    "Rejected",
    "Row",
    "Sampling",
    "Shape",
    "SourceConfig",
    "Stage",
    "Step",
    "Summary",
    "Table",
    "Trained",
    "TrainingStopped",
    "UsageError",
    "aevaluate",
    "aplan",
    "apromote",
    "apublish",
    "arefresh",
    "aretrain",
    "evaluate",
    "fit_propositions",
    "load_preset",
    "marks",
    "open_lake",
    "plan",
    "promote",
    "publish",
    "recipes",
    "refresh",
    "retrain",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _PUBLIC:
        raise AttributeError(f"module 'alignery' has no attribute {name!r}; its names are {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), _NAMED.get(name, name))


def __dir__() -> list[str]:
    return __all__
