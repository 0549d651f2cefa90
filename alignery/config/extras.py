"""What a plain `pip install alignery` leaves out: the libraries of models, each named with its extra."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from alignery.config.preset import Preset
from alignery.errors import UsageError
from tasks.engines import EngineSpec, RaySpec

_EXTRAS = {
    "local": ("torch", "transformers"),
    "gguf": ("torch", "transformers", "gguf"),
    "vllm": ("vllm",),
    "ray": ("ray",),
    "train": ("torch", "transformers", "trl", "peft", "accelerate"),
}
_ASK = ("plan", "refresh", "evaluate", "promote", "bootstrap", "serve")  # verbs that open engines
_TRAIN = ("retrain", "bootstrap", "serve")


class NotInstalled(UsageError):
    """A library that the preset needs is not installed."""


def check_installed(preset: Preset, verb: str) -> None:
    """Report missing libraries before the run, without importing them. Raises NotInstalled."""
    for who, extra in _needed(preset, verb):
        if missing := [module for module in _EXTRAS[extra] if find_spec(module) is None]:
            raise NotInstalled(
                f"preset {preset.name}: {who} needs {', '.join(missing)}, which this Python has not; "
                f"pip install 'alignery[{extra}]', or name another preset"
            )


def _needed(preset: Preset, verb: str) -> Iterator[tuple[str, str]]:
    if verb in _ASK:
        for alias, spec in preset.models.items():
            yield from _of_engine(alias, spec)
    if verb in _TRAIN and preset.retrain:
        yield "retrain", "train"


def _of_engine(alias: str, spec: EngineSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec, RaySpec):
        yield f"models.{alias}: engine ray", "ray"
        if not (spec.address or os.environ.get("RAY_ADDRESS")):  # else the cluster's hosts have the rest
            yield from _of_engine(alias, spec.of)
    if spec.engine in ("transformers", "vllm"):
        yield f"models.{alias}: engine {spec.engine}", "local" if spec.engine == "transformers" else "vllm"
    if spec.engine == "transformers" and spec.model.endswith(".gguf"):
        yield f"models.{alias}.model", "gguf"
    if spec.engine == "transformers" and spec.lora:
        yield f"models.{alias}.lora", "train"
