"""The sections of a preset, each strict: an unknown key is refused, and a path that is not there is named."""

from __future__ import annotations

import os
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from alignery.untrusted import excerpt
from alignery.validation import Filled
from prompts import Library
from tasks.engines import Sampling
from tasks.evaluate.judge import Config as Judge
from tasks.methods.aligner.method import Config as Aligner
from tasks.methods.compare.method import Config as Compare
from tasks.methods.constitutional.method import Config as Constitutional
from tasks.methods.instances.method import Config as Instances
from tasks.methods.rate.method import Config as Rate
from tasks.methods.red_team.method import Config as RedTeam
from tasks.methods.respond.method import Config as Respond
from tasks.methods.self_align.method import Config as SelfAlign
from tasks.methods.self_instruct.method import Config as SelfInstruct
from tasks.methods.squad.method import Config as Squad
from tasks.methods.verbose.method import Config as Verbose
from tasks.train.config import Settings
from tasks.train.recipes.aligner import Config as TrainAligner
from tasks.train.recipes.constitutional_sft import Config as ConstitutionalSft
from tasks.train.recipes.dpo import Config as Dpo
from tasks.train.recipes.engrave import Config as Engrave
from tasks.train.recipes.registry import RECIPES
from tasks.train.recipes.reward import Config as Reward
from tasks.train.recipes.sft import Config as Sft
from tasks.train.recipes.verbose import Config as TrainVerbose
from warehouse import LakeLocation
from warehouse.export.shapes import SHAPES

Alias = str


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _file_exists(path: Path) -> Path:
    if not os.path.isfile(path):  # unlike Path's, False for a name that is too long, or in a folder not to be read
        raise ValueError(
            f"got {excerpt(path)}, which is not a file; give one (./ and ../ start from the preset's folder)"
        )
    return path


def _folder_exists(path: Path) -> Path:
    if not os.path.isdir(path):
        raise ValueError(
            f"got {excerpt(path)}, which is not a folder; give one (./ and ../ start from the preset's folder)"
        )
    return path


ExistingFile = Annotated[Path, AfterValidator(_file_exists)]
ExistingFolder = Annotated[Path, AfterValidator(_folder_exists)]


class LakeConfig(Strict):
    """Where the lake is, if not in the home folder: see `warehouse.database.location.LakeLocation`."""

    catalog: str | None = Field(default=None, description="postgres://user@host/database")
    data: str | None = Field(default=None, description="s3://bucket/prefix, or a folder that all hosts share")

    @model_validator(mode="after")
    def _is_a_place(self) -> LakeConfig:
        LakeLocation(Path(), self.catalog, self.data)
        check_port(self.catalog or "", "catalog")
        return self


def check_port(url: str, field: str) -> None:
    """Raises ValueError where a URL's port is none; the URL is not said, for it may hold a password."""
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError as error:
        raise ValueError(f"{field}: got a URL whose port is none ({error}), expected 1 to 65535; mend it") from error


class PromptSource(Strict):
    """Which words are said: a shipped variant and, in front of it, a folder of your own files."""

    variant: Literal["full", "nano"] = "full"
    overlay: ExistingFolder | None = None

    def library(self) -> Library:
        return Library(self.variant, self.overlay)


class EvaluationSet(Strict):
    """Prompts that no instruction may repeat: a .jsonl or .parquet file, and the field that holds them."""

    path: ExistingFile
    field: Filled = "prompt"


class Line(Strict):
    """What the refresh does. A method that is left out is not run."""

    self_instruct: SelfInstruct
    red_team: RedTeam | None = None
    instances: Instances | None = None
    respond: Respond = Respond()
    self_align: SelfAlign | None = None
    verbose: Verbose | None = None
    constitutional: Constitutional | None = None
    compare: Compare | None = None
    aligner: Aligner | None = None
    squad: Squad | None = None
    rate: Rate | None = None
    decontaminate: tuple[EvaluationSet, ...] = ()
    chunk: int = Field(default=256, ge=1, le=1_000_000, description="rows to a chunk: one Prefect task run")
    rows_in_flight: int | None = Field(default=None, ge=1, description="null: enough to keep the generator busy")
    max_tokens: int | None = Field(default=None, ge=1, description="prompt and reply tokens that one run may take")
    max_minutes: float | None = Field(default=None, gt=0, description="after which a run sends nothing more")
    reject_limit: float = Field(default=0.5, ge=0, le=1, description="a step above this share of rejects stops the run")

    @model_validator(mode="after")
    def _has_what_is_compared(self) -> Line:
        if self.compare and self.compare.pairs == "revision" and self.constitutional is None:
            raise ValueError("compare.pairs: got 'revision' without constitutional; add it, or compare 'samples'")
        return self


RecipeName = Literal["sft", "engrave", "verbose", "constitutional_sft", "dpo", "aligner", "reward"]


class Retrain(Strict):
    """The recipes of one retraining, each with its settings. One left out is not run."""

    start_from: dict[RecipeName, RecipeName] = Field(
        default={}, description="recipe → the recipe whose model it starts from; all others start from the base model"
    )
    sft: Sft | None = None
    engrave: Engrave | None = None
    verbose: TrainVerbose | None = None
    constitutional_sft: ConstitutionalSft | None = None
    dpo: Dpo | None = None
    aligner: TrainAligner | None = None
    reward: Reward | None = None

    @model_validator(mode="after")
    def _can_be_run(self) -> Retrain:
        given = self.given()
        for recipe, config in given.items():
            if config.view not in SHAPES:
                raise ValueError(f"{recipe}.view: got {config.view!r}, expected one of {list(SHAPES)}")
        for recipe, start in self.start_from.items():
            if missing := sorted({recipe, start} - given.keys()):
                raise ValueError(
                    f"start_from: {recipe}: {start}: got no recipe {missing[0]!r} here; add it, or drop that"
                )
            if not RECIPES[start].answers:
                raise ValueError(f"start_from: {recipe}: {start}: its model answers no instructions; choose another")
        try:
            self.order()
        except CycleError as error:
            raise ValueError(
                f"start_from: got a circle, {' from '.join(error.args[1])}; start one from base"
            ) from error
        return self

    def given(self) -> dict[str, Settings]:
        """The recipes that are run, and their settings."""
        found = {name: getattr(self, name) for name in RECIPES}
        return {name: config for name, config in found.items() if config is not None}

    def order(self) -> list[str]:
        """The recipes that are run, each after the one that it starts from."""
        starts = {name: [self.start_from[name]] if name in self.start_from else [] for name in self.given()}
        return list(TopologicalSorter(starts).static_order())


class Evaluate(Strict):
    """The test on held-out prompts: an oracle scores, or a judge compares. `nano` is the embedded model's oracle."""

    oracle: Literal["nano"] | None = None
    prompts: ExistingFile
    sampling: Sampling = Sampling(max_tokens=256)
    judge: Judge | None = Field(default=None, description="each trained model's answers against the base model's")

    @model_validator(mode="after")
    def _can_tell(self) -> Evaluate:
        if self.oracle is None and self.judge is None:
            raise ValueError("got neither oracle nor judge; add `judge: {}`, whose model is the alias `judge`")
        return self


class Schedule(Strict):
    """When `alignery serve` runs what: lines of cron, and what becomes of the times that were missed."""

    refresh: Filled = Field(description="cron line: refresh, and publish what came of it")
    maintain: str | None = Field(default=None, description="cron line: merge, expire and delete, as maintain --apply")
    timezone: str = Field(default="UTC", description="what the cron lines are read in, such as Europe/Vienna")
    catch_up: Literal["latest", "none", "all"] = Field(default="latest", description="missed refreshes that are run")

    @model_validator(mode="after")
    def _has_a_zone(self) -> Schedule:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: "America" is a folder
            got = excerpt(repr(self.timezone), 80)
            raise ValueError(f"timezone: got {got}, expected a name such as Europe/Vienna; mend it") from error
        return self
