"""A preset is a whole factory in one strict YAML file: the words, the models, the line, the training, the test.

Paths that start with `./` or `../` are relative to the preset's own file, with `alignery:` to this installation;
`${NAME}` is taken from the environment, so that no file needs to hold a secret or an endpoint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, PrivateAttr, create_model, model_validator

from alignery.config.axes import axes_of, check_axes
from alignery.config.methods import line_model, retrain_model, schema_of
from alignery.config.rounds import Rounds, is_comparable
from alignery.config.schema import (
    Alias,
    Evaluate,
    LakeConfig,
    Line,
    PresetError,
    PromptSource,
    Publish,
    Retrain,
    Schedule,
    Strict,
)
from alignery.config.soup import check_axes_of
from alignery.config.values import resolved
from alignery.hashing import digest
from alignery.monitor.webhooks import Webhook
from alignery.textfiles import read_yaml
from alignery.untrusted import excerpt
from alignery.validation import ExistingFile, Filled, validated
from prompts import Form, Library
from tasks.engines.protocol import SpecError
from tasks.engines.specs import EngineSpec, ScriptedSpec, VerifierSpec
from tasks.evaluate import trust
from tasks.evaluate.gate import Policy
from tasks.evaluate.suites.rows import all_prompts
from tasks.filters import contamination
from tasks.filters.contamination import Contamination
from tasks.graph import Graph
from tasks.methods.registry import BUILT_IN, MethodError, Methods, installed
from tasks.methods.respond import method as respond
from tasks.prices import Price, Prices
from tasks.prices import load as load_prices
from tasks.stage import GENERATOR, Stage
from tasks.train.policy import Policy as RetrainWhen
from warehouse import LakeLocation
from warehouse.export.publish import PUBLISHED
from warehouse.schema.lake_schema import LakeSchema

SHIPPED = Path(__file__).parents[2] / "presets"
NO_AXIS = "gate.axes: got no axis of a suite, and neither oracle nor judge; name one (safe: [-twins.harm])"


class Preset(Strict):
    """A whole factory: prompts, models, the line of methods, training, evaluation, schedule."""

    name: Filled
    about: Filled
    words: PromptSource = PromptSource()
    lake: LakeConfig = LakeConfig()
    models: dict[Alias, EngineSpec]
    licences: dict[Alias, str] = Field(default={}, description="alias → licence of the model, for the dataset card")
    prices: ExistingFile | None = Field(default=None, description="what tokens cost, for `alignery plan`")
    methods: tuple[ExistingFile, ...] = Field(default=(), description="files of your own methods: Python, which is run")
    line: Line
    publish: Publish | None = None
    retrain: Retrain | None = None
    rounds: Rounds | None = None
    evaluate: Evaluate | None = None
    retrain_when: RetrainWhen = RetrainWhen()
    gate: Policy = Policy()
    follow: tuple[Alias, ...] = Field(default=(), description="aliases that are bound to their newest promoted model")
    schedule: Schedule | None = None
    notify: tuple[Webhook, ...] = Field(default=(), description="webhooks: where runs and decisions are posted to")
    # Where the file says ${NAME}, and what it says there: (field, field, …) → text.
    _environment: dict[tuple[str, ...], str] = PrivateAttr(default={})
    registry: ClassVar[Methods]

    @model_validator(mode="after")
    def _check_generator(self) -> Preset:
        if "generator" not in self.models:
            raise ValueError("models: got no 'generator'; bind one, it writes, answers and revises")
        return self

    @model_validator(mode="after")
    def _check_aliases(self) -> Preset:
        aliases = self.registry.aliases
        configs = self.line.configs
        named = [alias for name, config in configs.items() for alias in self.registry[name].named_models(config)]
        known = dict.fromkeys((*aliases, *named))
        for field, given in (("models", self.models), ("licences", self.licences), ("follow", self.follow)):
            if unknown := [alias for alias in given if alias not in known]:
                raise ValueError(
                    f"{field}.{unknown[0]}: got an unknown model alias, expected one of {list(known)}; correct it"
                )
        later = self.registry.scorers(configs) & {*self.follow}
        if unbound := [alias for alias in named if alias not in {*aliases, *self.models, *later}]:
            raise ValueError(f"models: got no {unbound[0]!r}, which the line asks for; bind it")
        return self

    @model_validator(mode="after")
    def _check_marks_floor(self) -> Preset:
        if self.gate.marks and self.gate.marks.floor and self.evaluate and not self.evaluate.deciding_judge:
            raise ValueError("gate.marks.floor: got one, but no judge decides; drop it, or let a judge and no oracle")
        return self

    @model_validator(mode="after")
    def _check_axes(self) -> Preset:  # unless it evaluates alone
        if self.evaluate and (self.retrain or "gate" in self.model_fields_set) and not self.has_axes:
            raise ValueError(NO_AXIS)
        if self.retrain and self.retrain.soup:
            check_axes_of(self.retrain.soup, axes_of(self.gate, self.evaluate) if self.evaluate else ())
        return self

    @model_validator(mode="after")
    def _check_rounds(self) -> Preset:
        if self.rounds:
            if (retrain := self.retrain) is None:
                raise ValueError("rounds: got them without `retrain`; add that section, with the recipe of the rounds")
            kinds = {name: self.registry.recipes[retrain.recipe_of(name)] for name in retrain.given()}
            answering = [name for name, recipe in kinds.items() if recipe.candidate_for == GENERATOR]
            self.rounds.check(answering, retrain.mix, self.line.configs)
            if not self.has_comparable_scores:
                raise ValueError("rounds: got no models.judge, so that each round's model would mark itself; bind one")
        return self

    @property
    def has_comparable_scores(self) -> bool:
        """Whether what ranks samples is the same in every round."""
        return is_comparable(self.line.configs, self.models)

    @property
    def has_axes(self) -> bool:
        return bool(self.evaluate and (self.evaluate.oracle or self.evaluate.judge or self.gate.of_suites))

    @property
    def lake_schema(self) -> LakeSchema:
        """What a lake has for this preset's methods."""
        return schema_of(self.registry)

    @property
    def published(self) -> list[str]:
        """The shapes that a publication exports: those that everybody trains on, those of your own methods and of
        built-in ones whose rows are in none of these; base answers where no other method has training data."""
        used = [one for name, one in self.registry.installed.items() if name in self.line.configs]
        own = [one.method for one in used if one.origin != BUILT_IN or one.method.published]
        shapes = [shape.name for method in own for shape in method.shapes]
        trains = any(one.method.recipes for one in used if one.method.name != respond.method.name)
        return [*PUBLISHED, *shapes] if shapes or trains else [*PUBLISHED, respond.BASE_SFT]

    def library(self) -> Library:
        """The prompts of this preset and of its methods."""
        return self.words.library(self.registry.prompt_folders)

    def stages(
        self, library: Library, contamination: Contamination | None = None, *, source: bool
    ) -> list[Sequence[Stage]]:
        """The stages of the methods that this preset runs: see `Methods.stages`."""
        configs, bound = self.line.configs, self.models.keys()
        return self.registry.stages(configs, library, contamination, source=source, form=self.form, bound=bound)

    def form(self, alias: Alias) -> Form:
        """The form of prompt that the model bound to an alias takes."""
        return self.spec(alias).prompt_form

    @property
    def hash(self) -> str:
        return digest(self.recorded())

    def recorded(self) -> dict[str, Any]:
        """The whole preset with its defaults, as the lake stores it: without values from the environment."""
        # A preset without these sections keeps the hash that it had before they existed.
        unused = {name: True for name in ("methods", "publish", "rounds") if not getattr(self, name)}
        # These do not affect the work, and may hold secrets.
        whole = self.model_dump(mode="json", exclude={**unused, "notify": True, "retrain": {"launch"}})
        for (*above, field), text in self._environment.items():
            if above[:1] == ["notify"] or above[:2] == ["retrain", "launch"]:
                continue
            holder: Any = whole
            for name in above:
                holder = holder[_key(holder, name)]
            holder[_key(holder, field)] = text
        return whole

    def spec(self, alias: Alias) -> EngineSpec:
        """The engine bound to an alias; an alias without one uses the generator."""
        return self.models.get(alias, self.models["generator"])

    def price(self, alias: Alias, listed: Prices) -> Price:
        """What the model bound to an alias costs. Raises PriceError where the price file does not say it."""
        spec = self.spec(alias)
        name = alias if alias in self.models else "generator"
        return listed.of(
            name, name if isinstance(spec, ScriptedSpec | VerifierSpec) else spec.model, self.prices or Path()
        )

    def by_model(self) -> dict[str, str]:
        """Identity of each model → the licence that is stated for it."""
        return {spec.identity(): self.licences[alias] for alias, spec in self.models.items() if alias in self.licences}

    def place(self, home: Path) -> LakeLocation:
        """Where this preset's lake is, as seen from a home folder."""
        return LakeLocation(home, self.lake.catalog, self.lake.data)

    def check(self) -> None:
        """Find before the run what would fail during it: a missing model, a bad prompt file.

        Raises:
            SpecError, PromptError, GraphError, HeldOutError, SuiteError, PriceError: which one, and the fix.
        """
        for alias, spec in self.models.items():
            try:
                spec.identity()
            except SpecError as error:
                raise SpecError(
                    f"preset {self.name}: {str(error).replace('engine.', f'models.{alias}.', 1)}"
                ) from error
        self._check_words()
        for each in self.line.decontaminate:
            contamination.load(each.path, each.field)
        if self.evaluate:
            all_prompts(self.evaluate.prompts, self.evaluate.suites)
            check_axes(self.name, self.gate, self.evaluate)
            if (judge := self.evaluate.judge) and judge.check:
                trust.load(judge.check.path, judge.dimensions)
        if self.prices:
            listed = load_prices(self.prices)
            for alias in self.models:
                self.price(alias, listed)

    def _check_words(self) -> None:
        """Load every prompt file that the line and the judge use: building the stages loads them."""
        library = self.library()
        sources, methods = (self.stages(library, source=source) for source in (True, False))
        Graph(methods)
        judge = self.evaluate.judge if self.evaluate else None
        asked = [f"judge/{dimension}" for dimension in (judge.dimensions if judge else ())]
        library.check([*asked, *(stage.step.prompt.id for method in (*sources, *methods) for stage in method)])
        for id in asked:
            library.prompt(id)
        library.topics()
        library.seeds()


def load(name: str) -> Preset:
    """The preset of that name among the shipped ones, or in the file of that path (it ends in .yaml).

    Raises:
        PresetError: no such preset, or a key, value or path in it is wrong.
    """
    path = _found(name)
    data = read_yaml(path)
    if not isinstance(data, dict):
        got = "an empty file" if data is None else excerpt(repr(data), 80)
        raise PresetError(f"{path}: got {got}, expected a mapping; see presets/nano.yaml")
    return _preset(data, path)


def _preset(data: dict[Any, Any], path: Path) -> Preset:
    """The preset of a mapping, whose relative paths start from the folder of `path`."""
    taken: dict[tuple[str, ...], str] = {}
    data = resolved(data, path, (), taken)
    preset = validated(_model_of(data, path), {"name": path.stem} | data, str(path), PresetError, taken)
    preset._environment = taken
    if preset.lake.data and _password(preset.lake.data):
        raise PresetError(
            f"{path}: lake.data: got a URL with a password, which would be recorded; export AWS_SECRET_ACCESS_KEY"
        )
    if preset.lake.catalog and ("lake", "catalog") not in taken and _password(preset.lake.catalog):
        raise PresetError(
            f"{path}: lake.catalog: got a URL with a password, which would be recorded; export PGPASSWORD, or take the "
            "whole URL from the environment: catalog: ${ALIGNERY_CATALOG}"
        )
    for place, hook in enumerate(preset.notify):
        if hook.secret and ("notify", str(place), "secret") not in taken:
            raise PresetError(
                f"{path}: notify.{place}.secret: got a text in the file, expected ${{NAME}}, from the environment; "
                "export it there"
            )
    return preset


def build(data: Mapping[str, Any]) -> Preset:
    """A preset that is made in code; relative paths start from the working folder. Raises PresetError as `load`."""
    return _preset(dict(data), Path("preset"))


@lru_cache(maxsize=16)
def preset_model(methods: Methods) -> type[Preset]:
    """`Preset` with the sections that follow from the methods that it may use."""
    retrain: Any = retrain_model(methods)
    model = create_model(
        "Preset", __base__=Preset, __module__=__name__, line=(line_model(methods), ...), retrain=(retrain | None, None)
    )
    model.registry = methods
    return model


def _model_of(data: Mapping[Any, Any], path: Path) -> type[Preset]:
    """The model of a preset that names files of methods, which are loaded for it."""
    named = data.get("methods", [])
    if not isinstance(named, list | tuple) or not all(isinstance(one, str | Path) for one in named):
        raise PresetError(f"{path}: methods: got {excerpt(repr(named), 80)}, expected a list of paths ([./method.py])")
    if not named:
        return preset_model(installed())
    try:
        return preset_model(installed().with_files(map(Path, named)))
    except MethodError as error:
        raise PresetError(f"{path}: methods: {error}") from error


def _password(url: str) -> bool:
    """Whether a URL holds a password, in front of its host or among its parameters."""
    parts = urlsplit(url)
    return bool(parts.password) or any("password" in name.lower() for name, _ in parse_qsl(parts.query))


def _found(name: str) -> Path:
    """The file of a preset's name or path."""
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    shown_name = excerpt(repr(name), 200)
    if not name.endswith((".yaml", ".yml")):
        near = get_close_matches(name, shipped, 1)
        meant = f"did you mean {near[0]!r}? Otherwise " if near else ""
        raise PresetError(f"no preset {shown_name}: {meant}give one of {list(shipped)}, or the path of a .yaml file")
    if not os.path.isfile(name):
        raise PresetError(f"no preset file {shown_name}: give one of {list(shipped)}, or the path of a .yaml file")
    return Path(name)


def named(name: str) -> str:
    """A preset's name or path in a form that works from any working directory."""
    return str(Path(name).absolute()) if name.endswith((".yaml", ".yml")) else name


def _key(holder: Any, name: str) -> str | int:
    return int(name) if isinstance(holder, list) else name
