"""What a plain `pip install alignery` leaves out: the libraries of models, each named with the extra that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from alignery.config.preset import Preset
from alignery.errors import UsageError

_EXTRAS = {
    "local": ("torch", "transformers"),
    "gguf": ("torch", "transformers", "gguf"),
    "vllm": ("vllm",),
    "train": ("torch", "transformers", "trl", "peft", "accelerate"),
}
_ASK = ("plan", "refresh", "evaluate", "promote", "bootstrap", "serve")  # verbs that open engines
_TRAIN = ("retrain", "bootstrap", "serve")


class NotInstalled(UsageError):
    """A library that the preset needs is not there."""


def check_installed(preset: Preset, verb: str) -> None:
    """Find now what an import would find under way; nothing is imported for it. Raises NotInstalled."""
    for who, extra in _needed(preset, verb):
        if missing := [module for module in _EXTRAS[extra] if find_spec(module) is None]:
            raise NotInstalled(
                f"preset {preset.name}: {who} needs {', '.join(missing)}, which this Python has not; "
                f"pip install 'alignery[{extra}]', or name another preset"
            )


def _needed(preset: Preset, verb: str) -> Iterator[tuple[str, str]]:
    if verb in _ASK:
        for alias, spec in preset.models.items():
            if spec.engine in ("transformers", "vllm"):
                yield f"models.{alias}: engine {spec.engine}", "local" if spec.engine == "transformers" else "vllm"
            if spec.engine == "transformers" and spec.model.endswith(".gguf"):
                yield f"models.{alias}.model", "gguf"
            if spec.engine == "transformers" and spec.lora:
                yield f"models.{alias}.lora", "train"
    if verb in _TRAIN and preset.retrain:
        yield "retrain", "train"
