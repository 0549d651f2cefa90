"""Which model an alias is bound to now, and the current values of settings that depend on the lake.

An alias that a preset lists under `follow` is served by the newest model that was promoted for it: `generator` by a
generator, `aligner` by an Aligner. A refresh binds it when it starts. Other aliases keep the preset's own model,
whatever is promoted. An alias of a model that only scores may be followed without a model of the preset's own: what
needs it is left out until one has been promoted.
"""

from __future__ import annotations

from collections.abc import Iterable

from alignery.config.preset import Preset
from alignery.config.schema import Alias, PresetError
from alignery.config.soup import SOUP
from tasks.engines import RaySpec, TransformersSpec, VllmSpec
from tasks.engines.specs import EngineSpec, RewardSpec
from tasks.stage import GENERATOR
from tasks.train.config import Recipe
from warehouse import Lake, model_registry
from warehouse.query import status

_ROWS = 1000  # of a view that settings depend on; our choice
Weights = TransformersSpec | VllmSpec | RewardSpec | RaySpec  # engines that load a folder of weights
ALIAS: Alias = GENERATOR  # the alias that a decision is on where none is named


def resolve_models(preset: Preset, lake: Lake) -> Preset:
    """The current preset: each alias that it follows bound to its newest promoted model, if there is one.

    Raises:
        PresetError: a followed alias has an engine whose weights are not here.
    """
    for alias in preset.follow:
        if alias not in unbound_scorers(preset):
            _own_weights(preset, alias, "follow")
    return bind_current(_with_resolved_settings(preset, lake), lake, preset.follow)


def _with_resolved_settings(preset: Preset, lake: Lake) -> Preset:
    """The preset with those settings of methods that depend on what the lake has."""
    configs, methods = preset.line.configs, {method.name: method for method in preset.registry}
    resolved = {
        name: resolve(config, lambda view: status.show(lake, view, _ROWS))
        for name, config in configs.items()
        if (resolve := methods[name].resolve_settings)
    }
    if all(config is configs[name] for name, config in resolved.items()):
        return preset
    return preset.model_copy(update={"line": preset.line.model_copy(update=resolved)})


def bind_current(preset: Preset, lake: Lake, aliases: Iterable[Alias], at: int | None = None) -> Preset:
    """The preset with these aliases bound to their current models, or to those at a snapshot. Raises PresetError as
    `bind` does."""
    for alias in aliases:
        if decision := model_registry.current(lake, alias, at):
            preset = bind(preset, alias, decision["model_path"])
    return preset


def made_for(preset: Preset, name: str) -> Alias | None:
    """The alias that a model is for, by what the table of models calls its recipe: a recipe, a variant or a soup; None
    where it is for none, or this preset has no such recipe."""
    if name == SOUP:
        return GENERATOR
    recipe = _recipe(preset, name)
    return recipe.candidate_for if recipe else None


def only_scores(preset: Preset, name: str) -> bool:
    """Whether a model, by what the table of models calls its recipe, writes no text; False where this preset has no
    such recipe."""
    recipe = _recipe(preset, name)
    return recipe is not None and recipe.candidate_for is None


def _recipe(preset: Preset, name: str) -> Recipe | None:
    return preset.registry.recipes.get(preset.retrain.recipe_of(name) if preset.retrain else name)


def bind(preset: Preset, alias: Alias, model: str) -> Preset:
    """The preset with a folder of weights behind an alias.

    Raises:
        PresetError: the alias has an engine whose weights are not here.
    """
    if alias in unbound_scorers(preset):
        spec: Weights = _scorer(preset.spec(GENERATOR), model)
    else:
        spec = _own_weights(preset, alias, f"models.{alias}").with_weights(model)
    return preset.model_copy(update={"models": {**preset.models, alias: spec}})


def unbound_scorers(preset: Preset) -> set[Alias]:
    """The followed aliases of models that only score, which have no model of the preset's own."""
    return preset.registry.scorers(preset.line.configs) & {*preset.follow} - preset.models.keys()


def _scorer(generator: EngineSpec, model: str) -> RewardSpec:
    """A scoring model in this process, on the device and with the threads of an embedded generator."""
    settings = {"device", "threads", "dtype"} if isinstance(generator, TransformersSpec) else set[str]()
    return RewardSpec(engine="reward", model=model, **generator.model_dump(include=settings))


def _own_weights(preset: Preset, alias: Alias, field: str) -> Weights:
    spec = preset.spec(alias)
    if isinstance(spec, RaySpec) and isinstance(spec.of, TransformersSpec | VllmSpec):
        return spec
    if not isinstance(spec, TransformersSpec | VllmSpec | RewardSpec):
        raise PresetError(
            f"preset {preset.name}: {field}: got {alias}, whose engine {spec.engine!r} serves weights of its own; "
            "follow aliases of 'transformers', 'vllm' or 'reward', and point a server at the folder that "
            "`alignery models` shows"
        )
    return spec
