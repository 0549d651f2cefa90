"""A preset is a whole factory in one strict YAML file: the words, the models, the line, the training, the test.

Paths that start with `./` or `../` are relative to the preset's own file; `${NAME}` is taken from the
environment, so that a secret or an endpoint never stands in a file.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from alignery.errors import UsageError
from flows.graph import Graph
from flows.sections import Alias, Evaluate, ExistingFile, LakePlace, Line, Retrain, Schedule, Strict, Words
from prompts import digest
from tasks.engines.spec import EngineSpec, ScriptedSpec
from tasks.evaluate import held_out
from tasks.evaluate.gate import Policy
from tasks.filters import contamination
from tasks.generate.methods import ALIASES, METHODS, WRITERS, declared
from tasks.prices import Price, Prices
from tasks.prices import load as load_prices
from tasks.train.policy import Policy as RetrainWhen
from warehouse import Place

SHIPPED = Path(__file__).parent.parent / "presets"


class PresetError(UsageError):
    """A preset is wrong or is not there; the message names the file, the field and the fix."""


class Preset(Strict):
    name: str
    about: str
    words: Words = Words()
    lake: LakePlace = LakePlace()
    models: dict[Alias, EngineSpec]
    licences: dict[Alias, str] = Field(default={}, description="alias → licence of the model, for the dataset card")
    prices: ExistingFile | None = Field(default=None, description="what tokens cost, for `alignery plan`")
    line: Line
    retrain: Retrain | None = None
    evaluate: Evaluate | None = None
    retrain_when: RetrainWhen = RetrainWhen()
    gate: Policy = Policy()
    follow: tuple[Alias, ...] = Field(default=(), description="aliases that the newest promoted model stands behind")
    schedule: Schedule | None = None
    # Where the file says ${NAME}, and what it says there: (field, field, …) → text.
    _environment: dict[tuple[str, ...], str] = PrivateAttr(default={})

    @model_validator(mode="after")
    def _has_generator(self) -> Preset:
        if "generator" not in self.models:
            raise ValueError("models: got no 'generator'; bind one, it writes, answers and revises")
        return self

    @model_validator(mode="after")
    def _knows_its_aliases(self) -> Preset:
        configs = {method: getattr(self.line, method.name) for method in METHODS}
        named = [alias for method, config in configs.items() if config for alias in method.named_models(config)]
        known = dict.fromkeys((*ALIASES, *named))
        for field, aliases in (("models", self.models), ("licences", self.licences)):
            if unknown := [alias for alias in aliases if alias not in known]:
                raise ValueError(f"{field}.{unknown[0]}: nobody asks for it; expected one of {list(known)}")
        if unbound := [alias for alias in named if alias not in ALIASES and alias not in self.models]:
            raise ValueError(f"models: got no {unbound[0]!r}, which the line asks for; bind it")
        return self

    @property
    def hash(self) -> str:
        return digest(self.recorded())

    def recorded(self) -> dict[str, Any]:
        """The whole preset, defaults and all, as the lake may keep it: what came from the environment stays there."""
        whole = self.model_dump(mode="json")
        for (*above, field), text in self._environment.items():
            holder: Any = whole
            for name in above:
                holder = holder[_key(holder, name)]
            holder[_key(holder, field)] = text
        return whole

    def spec(self, alias: Alias) -> EngineSpec:
        """The engine bound to an alias; one without its own falls to the generator."""
        return self.models.get(alias, self.models["generator"])

    def price(self, alias: Alias, listed: Prices) -> Price:
        """What the model bound to an alias costs. Raises PriceError where the price file does not say it."""
        spec = self.spec(alias)
        name = alias if alias in self.models else "generator"
        return listed.of(name, name if isinstance(spec, ScriptedSpec) else spec.model, self.prices or Path())

    def by_model(self) -> dict[str, str]:
        """Identity of each model → the licence that is stated for it."""
        return {spec.identity(): self.licences[alias] for alias, spec in self.models.items() if alias in self.licences}

    def place(self, home: Path) -> Place:
        """Where this preset's lake is, as seen from a home folder."""
        return Place(home, self.lake.catalog, self.lake.data)

    def check(self) -> None:
        """Find now what would be found under way: a model that is not there, a bad word file.

        Raises:
            SpecError, PromptError, HeldOutError, PriceError: which one, and the fix.
        """
        for spec in self.models.values():
            spec.identity()
        self._check_words()
        for each in self.line.decontaminate:
            contamination.load(each.path, each.field)
        if self.evaluate:
            held_out.load(self.evaluate.prompts)
        if self.prices:
            listed = load_prices(self.prices)
            for alias in self.models:
                self.price(alias, listed)

    def _check_words(self) -> None:
        """Every word file that the line and the judge will ask for: to build the stages is to load them."""
        library = self.words.library()
        declared(WRITERS, dict(self.line), library)
        Graph(declared(METHODS, dict(self.line), library))
        judge = self.evaluate.judge if self.evaluate else None
        for dimension in judge.dimensions if judge else ():
            library.prompt(f"judge/{dimension}")
        library.topics()
        library.seeds()


def load(name: str) -> Preset:
    """The preset of that name among the shipped ones, or in the file of that path (it ends in .yaml).

    Raises:
        PresetError: no such preset, or a key, value or path in it is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SHIPPED / f"{name}.yaml"
    if not path.is_file():
        shipped = sorted(p.stem for p in SHIPPED.glob("*.yaml"))
        raise PresetError(f"no preset {name!r}: give one of {shipped}, or the path of a .yaml file")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PresetError(f"{path}: not YAML: {' '.join(str(error).split())}; mend the file") from error
    if not isinstance(data, dict):
        raise PresetError(f"{path}: got {type(data).__name__}, expected a mapping; see presets/nano.yaml")
    taken: dict[tuple[str, ...], str] = {}
    data = _resolved(data, path, (), taken)
    try:
        preset = Preset.model_validate({"name": path.stem} | data)
    except ValidationError as error:
        raise PresetError(_sentence(path, error, taken)) from error
    preset._environment = taken
    if preset.lake.catalog and ("lake", "catalog") not in taken and _password(preset.lake.catalog):
        raise PresetError(
            f"{path}: lake.catalog: got a URL with a password, which would be recorded; export PGPASSWORD, or take the "
            "whole URL from the environment: catalog: ${ALIGNERY_CATALOG}"
        )
    return preset


def _password(url: str) -> bool:
    """Whether a URL holds a password, in front of its host or among its parameters."""
    parts = urlsplit(url)
    return bool(parts.password) or any("password" in name.lower() for name, _ in parse_qsl(parts.query))


def named(name: str) -> str:
    """A preset's name or path as any process may use it, wherever it stands."""
    return str(Path(name).absolute()) if name.endswith((".yaml", ".yml")) else name


def _resolved(value: Any, path: Path, field: tuple[str, ...], taken: dict[tuple[str, ...], str]) -> Any:
    """The value with paths and environment filled in; `taken` gathers which fields came from the environment."""
    if isinstance(value, dict):
        return {key: _resolved(item, path, (*field, str(key)), taken) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, path, (*field, str(place)), taken) for place, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if names := re.findall(r"\$\{(\w+)\}", value):
        taken[field] = value
        for name in names:
            if name not in os.environ:
                where = ".".join(field)
                raise PresetError(f"{path}: {where}: ${{{name}}} is not set in the environment; export {name}=…")
            value = value.replace(f"${{{name}}}", os.environ[name])
    return str((path.parent / value).resolve()) if value.startswith(("./", "../")) else value


def _key(holder: Any, name: str) -> str | int:
    return int(name) if isinstance(holder, list) else name


def _sentence(path: Path, error: ValidationError, taken: Collection[tuple[str, ...]]) -> str:
    unknown = [found for found in error.errors() if found["type"] in ("extra_forbidden", "unexpected_keyword_argument")]
    # A mistyped key is named before the key that it leaves missing.
    first = (unknown or error.errors())[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    if unknown:
        return f"{path}: {field}: no such key; expected one of {_known(first['loc'])}; mend or drop it"
    # A value from the environment may be a secret: it is not said again.
    names = tuple(str(part) for part in first["loc"])
    secret = any(set(whence) <= set(names) for whence in taken)
    got = "from the environment" if secret else f"got {str(first['input'])[:80]!r}"
    return f"{path}: {field}: {first['msg'].removeprefix('Value error, ')} ({got})"


def _known(location: Sequence[int | str]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    models: list[Any] = [Preset]
    for part in location[:-1]:
        annotations = [_fields(model)[part] for model in models if part in _fields(model)]
        # Else the part is the key of a mapping (an alias), or the engine that picks one spec of several.
        picked = [model for model in models if part in get_args(_fields(model).get("engine"))]
        models = [model for found in annotations for model in _models(found)] or picked or models
    return sorted({name for model in models for name in _fields(model)})


def _fields(model: Any) -> dict[Any, Any]:
    """Field → annotation, of a pydantic model or of a dataclass."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return {field.name: field.type for field in dataclasses.fields(model)}


def _models(annotation: Any) -> list[Any]:
    """The models within an annotation, such as `Line | None` or `dict[Alias, EngineSpec]`."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
