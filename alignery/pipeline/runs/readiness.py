"""Whether a preset can run here: its prompts and data, its libraries, one request to each model, the lake, the disk.

Nothing is written except by the engines themselves, and only one short request is sent to each model.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alignery.config import extras
from alignery.config.preset import Preset
from alignery.errors import AligneryError, UsageError
from alignery.pipeline import own_data
from alignery.pipeline.runs.gpus import gpus
from alignery.untrusted import excerpt
from tasks.engines import Sampling, open_engine
from tasks.engines.output import warned_to
from tasks.engines.protocol import RequestRefused
from tasks.engines.specs import Bounds, EngineSpec, OpenAISpec, RaySpec
from warehouse import LakeLocation
from warehouse.health.checks import Finding
from warehouse.health.doctor import doctor
from warehouse.schema.shapes import check_shapes

_PROBE = "Say hello in one word."
_PATIENCE_S = 15  # for a server; a run has the preset's own


async def check(preset: Preset, place: LakeLocation, *, ask: bool = True) -> AsyncIterator[Finding]:
    """Each finding as soon as it is known: what was checked, its state, and the fix if one is needed.

    Args:
        ask: send one request to each model; else no model is loaded.
    """
    yield _sound(preset)
    for finding in _sources(preset):
        yield finding
    for finding in _machine(preset):
        yield finding
    if ask:
        for alias, spec in preset.models.items():
            yield await _answers(preset, alias, spec)
    for finding in _lake(place):
        yield finding


def _sound(preset: Preset) -> Finding:
    """The preset, every word file that it asks for, and the views of its methods."""
    try:
        preset.check()
        for verb in ("refresh", *(("retrain",) if preset.retrain else ())):
            extras.check_installed(preset, verb)
        check_shapes(preset.lake_schema)
    except UsageError as error:
        return Finding("preset", "problem", str(error), "")
    summary = f"methods: {', '.join(preset.line.configs)}"
    if preset.retrain:
        summary += f"; recipes: {', '.join(preset.retrain.order())}"
    return Finding("preset", "ok", f"{preset.name}: {summary}", "")


def _sources(preset: Preset) -> Iterator[Finding]:
    """What is wrong with the data that `line.prompts` names."""
    for entry in preset.line.prompts.root if preset.line.prompts else ():
        try:
            own_data.check(entry)
        except AligneryError as error:
            yield Finding(f"prompts.{entry.name}", "problem", excerpt(str(error), 600), "")


def _machine(preset: Preset) -> Iterator[Finding]:
    """The processors that models run on, where an engine of the preset runs here."""
    here = {spec.engine for spec in preset.models.values()} & {"transformers", "vllm"}
    if not here:
        return
    if "vllm" in here:
        try:
            yield Finding("vllm", "ok", f"vLLM {version('vllm')}", "")
        except PackageNotFoundError:
            yield Finding("vllm", "problem", "vLLM is not installed", "pip install 'alignery[vllm]'")
    yield from gpus(vllm="vllm" in here)


async def _answers(preset: Preset, alias: str, spec: EngineSpec) -> Finding:
    """One request to a model, in the form that its prompts have."""
    if isinstance(spec, OpenAISpec):
        spec = spec.model_copy(update={"give_up_after_s": min(spec.give_up_after_s, _PATIENCE_S)})
    if isinstance(spec, RaySpec):
        spec = spec.model_copy(update={"replicas": Bounds(min=1, max=1)})
    prompt = preset.library().prompt("respond/answer").in_form(preset.form(alias))
    began = time.monotonic()
    try:
        with warned_to(Path(os.devnull)):  # a run has a log for them
            async with open_engine(spec) as engine:
                opened = time.monotonic() - began
                reply = await engine.generate(prompt.render(instruction=_PROBE), Sampling(max_tokens=16))
    except (AligneryError, RequestRefused) as error:
        return Finding(f"models.{alias}", "problem", excerpt(str(error), 600), "")
    summary = (
        f"{spec.engine}: ready after {opened:.1f} s, answered in {reply.latency_s:.2f} s: {excerpt(reply.text, 60)!r}"
    )
    return Finding(f"models.{alias}", "ok", summary, "")


def _lake(place: LakeLocation) -> Iterator[Finding]:
    """What the doctor finds wrong; a lake that is not there yet is nothing wrong."""
    if not place.on_postgres and not place.file.is_file():
        found = [one for one in doctor(place) if one.check == "disk"]
        yield from found
        yield Finding("lake", "ok", f"none in {place} yet; the first refresh makes it", "")
        return
    found = doctor(place)
    yield from (one for one in found if one.check in ("disk", "catalog") or one.state != "ok")
