"""Which model stands behind an alias now.

An alias that a preset lists under `follow` is served by the newest promoted model; a refresh takes it up when it
begins. Without that the preset's own model stays, whatever is promoted.
"""

from __future__ import annotations

from alignery.config.preset import Preset, PresetError
from alignery.config.schema import Alias
from tasks.engines import TransformersSpec, VllmSpec
from warehouse import Lake, model_registry

ALIAS: Alias = "generator"  # the alias that the gate decides on


def resolve_models(preset: Preset, lake: Lake) -> Preset:
    """The preset as it stands now: each alias that it follows bound to the newest promoted model, if there is one.

    Raises:
        PresetError: a followed alias has an engine whose weights are not here.
    """
    models = dict(preset.models)
    for alias in preset.follow:
        spec = preset.spec(alias)
        if not isinstance(spec, TransformersSpec | VllmSpec):
            raise PresetError(
                f"preset {preset.name}: follow: got {alias}, whose engine {spec.engine!r} serves weights of its own; "
                "follow aliases of 'transformers' or 'vllm', and point a server at the folder that `alignery models` "
                "shows"
            )
        if placed := model_registry.current(lake, ALIAS):
            models[alias] = spec.model_copy(update={"model": placed["model_path"]})
    return preset.model_copy(update={"models": models})
