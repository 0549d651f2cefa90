"""The sections of a preset, each strict: an unknown key is refused, and a path that is not there is named."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from alignery.config.soup import Soup
from alignery.errors import UsageError
from alignery.untrusted import excerpt
from alignery.validation import ExistingFile, ExistingFolder, Filled, sentence
from prompts import Library
from tasks.engines import Sampling
from tasks.evaluate.judge import Config as Judge
from tasks.evaluate.suites.config import Config as Suite
from tasks.methods.registry import Methods
from tasks.mixing import phrased
from tasks.train.config import Launch, Settings
from warehouse import LakeLocation
from warehouse.export.mixing import Mix

Alias = str
CURRENT = "current"  # in `start_from`: the model that drew the samples


class PresetError(UsageError):
    """A preset is wrong or is not there; the message names the file, the field and the fix."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LakeConfig(Strict):
    """Where the lake is, if not in the home folder: see `warehouse.database.location.LakeLocation`."""

    catalog: str | None = Field(default=None, description="postgres://user@host/database")
    data: str | None = Field(default=None, description="s3://bucket/prefix, or a folder that all hosts share")

    @model_validator(mode="after")
    def _check_place(self) -> LakeConfig:
        LakeLocation(Path(), self.catalog, self.data)
        check_port(self.catalog or "", "catalog")
        return self


def check_port(url: str, field: str) -> None:
    """Raises ValueError if a URL's port is invalid; without the URL, because it may hold a password."""
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError as error:
        raise ValueError(f"{field}: got a URL with a bad port ({error}), expected 1 to 65535; correct it") from error


class PromptSource(Strict):
    """Which prompts are used: a shipped variant, and a folder of your own files that replace its files."""

    variant: Literal["full", "nano"] = "full"
    overlay: ExistingFolder | None = None

    def library(self, of_methods: tuple[tuple[str, Path], ...] = ()) -> Library:
        """The prompts; `of_methods` are those that methods bring (`Methods.prompt_folders`)."""
        return Library(self.variant, self.overlay, of_methods)


class EvaluationSet(Strict):
    """Prompts that no instruction may repeat: a .jsonl or .parquet file, and the field that holds them."""

    path: ExistingFile
    field: Filled = "prompt"


class Line(Strict):
    """What the refresh does. `alignery.config.methods` adds a field for each method: without it, it is not run."""

    decontaminate: tuple[EvaluationSet, ...] = ()
    chunk: int = Field(default=256, ge=1, le=1_000_000, description="rows to a chunk: one Prefect task run")
    rows_in_flight: int | None = Field(default=None, ge=1, description="null: enough to keep the generator busy")
    max_tokens: int | None = Field(default=None, ge=1, description="prompt and reply tokens that one run may take")
    max_minutes: float | None = Field(default=None, gt=0, description="after which a run sends nothing more")
    reject_limit: float = Field(default=0.5, ge=0, le=1, description="a step above this share of rejects stops the run")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # a method's settings

    methods: ClassVar[Methods]

    @property
    def configs(self) -> dict[str, BaseModel]:
        """The settings of the methods that are run."""
        found = {method.name: getattr(self, method.name) for method in self.methods}
        return {name: config for name, config in found.items() if config is not None}

    @model_validator(mode="after")
    def _check_methods(self) -> Line:
        configs = self.configs
        if not any(self.methods[name].source for name in configs):
            known = [method.name for method in self.methods.sources]
            raise ValueError(f"got no source of instructions, expected one of {known}; add one")
        for name, config in configs.items():
            self.methods[name].check(config, configs)
        return self


class Mixing(Strict):
    """A mixture of a view's rows, and the forms that they are put into: see `warehouse.export.mixing`. The defaults
    change nothing; T5 (1910.10683) has T 2 to 4, FLAN (2109.01652) a cap of 3,000."""

    by: str = Field("origin", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="origin, method, or a column: topic")
    only: tuple[str, ...] = Field(default=(), description="the parts that are taken; []: all")
    cap: int | None = Field(default=None, ge=1, description="rows of a part that count, at most")
    temperature: float = Field(default=1.0, ge=1, le=1e6, description="1: in proportion; 1000000: all parts alike")
    rows: int | None = Field(default=None, ge=1, description="null: as many as repeat nothing")
    repeat: bool = Field(default=False, description="a part with too few rows gives some of them again")
    seed: int = Field(default=0, ge=0)
    forms: dict[Literal["few", "chain", "inverted"], Annotated[float, Field(ge=0, le=1)]] = {}
    shots: int = Field(default=3, ge=1, le=16, description="worked examples in a row of the form few")

    @model_validator(mode="after")
    def _check_mixing(self) -> Mixing:
        if sum(self.forms.values()) > 1 + 1e-9:
            total = sum(self.forms.values())
            raise ValueError(f"forms: got shares that sum to {total:g}, expected at most 1; correct one")
        return self

    def known_by(self, library: Library) -> dict[str, Any]:
        """What its rows depend on: the settings, and the words of the forms."""
        words = {form: library.prompt(f"mixing/{form}").hash for form in self.forms}
        # Models whose rows were mixed before there was `only` stay known.
        return self.model_dump(mode="json", exclude=None if self.only else {"only"}) | {"words": words}

    def mix(self, library: Library) -> Mix:
        """The mixture as an export takes it."""
        return Mix(**self.model_dump(), phrase=phrased(library) if self.forms else None)


class Retrain(Strict):
    """The recipes of one retraining, each with its settings. `alignery.config.methods` adds a field for each."""

    start_from: dict[str, str] = Field(
        default={},
        description="recipe → the recipe whose model it starts from, or current: the model that drew the samples (with "
        "follow, the one promoted last before the tag); all others start from the base model",
    )
    launch: Launch = Launch()
    mix: dict[str, Mixing] = Field(default={}, description="recipe → how the rows that it learns from are mixed")
    variants: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")], dict[str, Any]] = Field(
        default={}, description="name → {recipe: dpo, …}: a recipe once more, under that name, with other settings"
    )
    soup: Soup | None = None
    methods: ClassVar[Methods]

    @model_validator(mode="after")
    def _check_recipes(self) -> Retrain:
        self._check_variants()
        given, shapes = self.given(), [shape.name for shape in self.methods.shapes]
        for recipe, config in given.items():
            if config.view not in shapes:
                raise ValueError(f"{recipe}.view: got {config.view!r}, expected one of {shapes}")
        if unknown := next((name for name in self.mix if name not in given), None):
            raise ValueError(f"mix: got the recipe {excerpt(unknown, 60)!r}, expected one of {list(given)}; correct it")
        for recipe, start in self.start_from.items():
            known = [*self.methods.recipes, *self.variants]
            for name, expected in ((recipe, known), (start, [*known, CURRENT])):
                if name not in expected:
                    raise ValueError(f"start_from.{recipe}: got the recipe {name!r}, expected one of {expected}")
            if missing := sorted({recipe, start} - {*given, CURRENT}):
                raise ValueError(
                    f"start_from: {recipe}: {start}: got no recipe {missing[0]!r} here; add it, or drop that"
                )
            if start != CURRENT and not self.methods.recipes[self.recipe_of(start)].answers:
                raise ValueError(f"start_from: {recipe}: {start}: its model answers no instructions; choose another")
        try:
            self.order()
        except CycleError as error:
            raise ValueError(
                f"start_from: got a circle, {' from '.join(error.args[1])}; start one from base"
            ) from error
        if self.soup:
            answering = [name for name in given if self.methods.recipes[self.recipe_of(name)].answers]
            self.soup.check(given, self.start_from, answering)
        return self

    def _check_variants(self) -> None:
        for name, settings in self.variants.items():
            recipes = self.methods.recipes
            if name in recipes or name in type(self).model_fields or name in ("base", CURRENT):
                raise ValueError(f"variants.{name}: got a name that is taken; give another")
            if settings.get("recipe") not in recipes:
                got = excerpt(repr(settings.get("recipe")), 60)
                raise ValueError(f"variants.{name}.recipe: got {got}, expected one of {list(recipes)}; correct it")
            try:
                self._variant(name)
            except ValidationError as error:
                config = recipes[self.recipe_of(name)].config
                raise ValueError(sentence(f"variants.{name}", error, config)) from error

    def _variant(self, name: str) -> Settings:
        settings = {field: value for field, value in self.variants[name].items() if field != "recipe"}
        return self.methods.recipes[self.recipe_of(name)].config.model_validate(settings)

    def recipe_of(self, name: str) -> str:
        """The recipe that is run under a name: its own, or a variant's."""
        return str(self.variants[name]["recipe"]) if name in self.variants else name

    def given(self) -> dict[str, Settings]:
        """The recipes and variants that are run, and their settings."""
        found = {name: getattr(self, name) for name in self.methods.recipes}
        given = {name: config for name, config in found.items() if config is not None}
        return given | {name: self._variant(name) for name in self.variants}

    def order(self) -> list[str]:
        """The recipes and variants, each after the one that it starts from and those whose models it uses."""
        given = self.given()
        starts = {
            name: [start for start in (self.start_from.get(name), *self.models_of(name).values()) if start in given]
            for name in given
        }
        return list(TopologicalSorter(starts).static_order())

    def models_of(self, recipe: str) -> dict[str, str]:
        """Settings that the recipe leaves out, and the recipes of this retraining whose models they then name."""
        given = self.given()
        uses = self.methods.recipes[self.recipe_of(recipe)].models.items()
        return {name: other for name, other in uses if other in given and getattr(given[recipe], name) is None}


class Evaluate(Strict):
    """The evaluation on held-out prompts: an oracle scores or a judge compares, and suites are added to that.

    `nano` is the embedded model's oracle.
    """

    oracle: Literal["nano"] | None = None
    prompts: ExistingFile | None = None
    sampling: Sampling = Sampling(max_tokens=256)
    judge: Judge | None = Field(default=None, description="each trained model's answers against the base model's")
    suites: tuple[Suite, ...] = ()

    @model_validator(mode="after")
    def _check_scorer(self) -> Evaluate:
        kinds = [suite.of_kind for suite in self.suites]
        if self.prompts is None and not self.suites:
            raise ValueError("prompts: got nothing, and no suites; add a file of prompts, or suites: [{name: twins}]")
        if (self.prompts is not None or "judge" in kinds) and self.oracle is None and self.judge is None:
            raise ValueError("got neither oracle nor judge; add `judge: {}`, whose model is the alias `judge`")
        if "oracle" in kinds and self.oracle is None:
            raise ValueError("suites: got one of the kind oracle, and no oracle; add `oracle: nano`, or drop it")
        if self.prompts is not None and self.prompts.stem in {suite.name for suite in self.suites}:
            raise ValueError(f"suites: got {self.prompts.stem!r}, the name of the file of prompts; rename one")
        return self

    @property
    def deciding_judge(self) -> Judge | None:
        """The judge that the gate decides by: none where there is an oracle."""
        return None if self.oracle else self.judge


class PublishMarks(Strict):
    """People's marks as weights of what is trained on."""

    weight: int = Field(ge=1, le=100, description="how many times a row counts that people hold right; others once")


class Publish(Strict):
    """How people's marks change what is published, and so what is trained on."""

    reviewed: bool = Field(default=False, description="only rows that people hold right, with their edits in place")
    marks: PublishMarks | None = Field(
        default=None, description="all rows but those that people hold wrong, with edits in place and weights"
    )

    @model_validator(mode="after")
    def _check_exclusive(self) -> Publish:
        if self.reviewed and self.marks:
            raise ValueError("publish: got both reviewed and marks; with reviewed all rows are right ones: drop marks")
        return self


def _is_text(line: Any) -> Any:
    if not isinstance(line, str):
        got = excerpt(repr(line), 80)
        raise ValueError(f"got {got}, expected a cron line in quotes, such as '0 3 * * *'; correct it")
    return line


CronLine = Annotated[Filled, BeforeValidator(_is_text)]


class Schedule(Strict):
    """When `alignery serve` runs what: cron lines, and how missed times are handled."""

    refresh: CronLine = Field(description="cron line: refresh and publish")
    maintain: CronLine | None = Field(
        default=None, description="cron line: merge, expire and delete, as maintain --apply"
    )
    timezone: str = Field(default="UTC", description="what the cron lines are read in, such as Europe/Vienna")
    catch_up: Literal["latest", "none", "all"] = Field(default="latest", description="missed refreshes that are run")

    @model_validator(mode="after")
    def _check_timezone(self) -> Schedule:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: "America" is a folder
            got = excerpt(repr(self.timezone), 80)
            raise ValueError(f"timezone: got {got}, expected a name such as Europe/Vienna; correct it") from error
        return self
