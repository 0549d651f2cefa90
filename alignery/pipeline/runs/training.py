"""Training: fine-tune on a published tag, each recipe in a process of its own, from the base or another's model."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignery.config.preset import Preset
from alignery.config.schema import CURRENT, PresetError, PromptSource
from alignery.config.soup import SOUP
from alignery.display import Displayed
from alignery.errors import AligneryError
from alignery.hashing import digest
from alignery.monitor import otel
from alignery.pipeline.executor import TaskRunner, run_inline
from alignery.pipeline.model_resolution import bind, bind_current
from alignery.pipeline.progress import stream
from alignery.pipeline.run import Run
from alignery.pipeline.runs.jobs import Job, Spec
from alignery.pipeline.runs.publication import published_rows
from alignery.pipeline.runs.soups import SoupJob
from tasks.engines import RaySpec, TransformersSpec, VllmSpec
from tasks.engines.identity import local_only, locate
from tasks.stage import GENERATOR
from tasks.step import Row
from tasks.train.config import Launch, Settings
from warehouse import Lake, LakeUsageError
from warehouse.export.export import export
from warehouse.export.selection import Selection
from warehouse.query import status
from warehouse.query.snapshots import release_of
from warehouse.query.trained_on import leaking

_LINE = 1 << 20  # bytes of a line that a training process may write

_MISTAKE, _FAILURE = "error: ", "failed: "  # the prefix of the message in which `tasks.train` says why it ended


class TrainingStopped(AligneryError, RuntimeError):
    """A training process failed."""


@dataclass(frozen=True)
class Trained(Displayed):
    """A model, and whether this run trained it or an earlier one had."""

    recipe: str
    path: Path
    seconds: float
    new: bool
    soup: Row | None = None  # of a soup, its report: the figures of each λ, and which was chosen


async def train_recipes(
    preset: Preset,
    lake: Lake,
    home: Path,
    tag: str | None = None,
    *,
    policy: str | None = None,
    runner: TaskRunner = run_inline,
) -> list[Trained]:
    """The retraining itself, with or without Prefect. A model of the same job is not trained again.

    Args:
        policy: the folder of the model that drew the tag's samples, which `current` in `start_from` means; if left
            out, the one that the generator was bound to at the tag.

    Raises:
        PresetError: the preset has no recipes, or its generator has no weights to train.
        LakeUsageError: no such tag, its export is gone, or it holds prompts of evaluation sets that were named since.
        TrainingStopped: a training process failed.
        TrainError, JudgeError: of a soup, its parts cannot be interpolated, or the judge did not pass its check.
    """
    if (retrain := preset.retrain) is None:
        raise PresetError(
            f"preset {preset.name}: got no 'retrain' section, expected one with recipes; add one, such as "
            "`retrain: {sft: {}}`"
        )
    published, selection = _publication(lake, tag), await asyncio.to_thread(published_rows, preset)
    library = preset.library()
    mixtures = {name: mixing.known_by(library) for name, mixing in retrain.mix.items()}
    specs = _starts(preset, lake, published, policy)
    trained = []
    models: dict[str, Row] = {}
    with Run(lake, "retrain", preset) as run:
        for name in retrain.order():
            data = await asyncio.to_thread(_data, preset, lake, home, published, name, selection)
            job = _job(preset, name, published, specs, data, mixtures.get(name))
            models[name], new = await _done(job, lake, run, home, runner)
            trained.append(Trained(name, Path(models[name]["path"]), models[name]["seconds"], new))
            specs[name] = job.base.model_copy(update={"model": models[name]["path"]})
        if retrain.soup:
            first, *_ = retrain.soup.of.values()
            soup = SoupJob(
                name=SOUP,
                base=specs[retrain.start_from.get(first)],
                published=published,
                soup=retrain.soup,
                preset=preset,
                lake=lake,
                models=models,
            )
            model, new = await _done(soup, lake, run, home, runner)
            report = json.loads(model["metrics"])
            trained.append(Trained(SOUP, Path(model["path"]), model["seconds"], new, report))
        run.end("finished", {t.recipe: str(t.path) for t in trained})
    return trained


def _job(
    preset: Preset, name: str, published: Row, specs: Mapping[str | None, Spec], data: Path, mix: Row | None
) -> TrainingJob:
    """The training of a recipe or variant on a folder of rows; `specs` has the models that it may start from or use."""
    retrain = preset.retrain
    assert retrain is not None
    recipe = retrain.recipe_of(name)
    words = preset.registry.recipes[recipe].words
    used = {field: specs[other].model for field, other in retrain.models_of(name).items()}
    return TrainingJob(
        name=name,
        base=specs[retrain.start_from.get(name)],
        published=published,
        settings=_settings(retrain.given()[name], preset.words) | used,
        data=data,
        methods=preset.methods,
        mix=mix,
        words=words(preset.library()) if words else None,
        launch=retrain.launch,
        recipe=recipe if recipe != name else None,
    )


def _starts(preset: Preset, lake: Lake, published: Row, policy: str | None) -> dict[str | None, Spec]:
    """What recipes start from: the preset's own generator (None), and the one that drew the publication's samples."""
    base = base_spec(preset)
    if policy:
        return {None: base, CURRENT: base_spec(bind(preset, GENERATOR, policy))}
    drew = bind_current(preset, lake, {GENERATOR} & {*preset.follow}, published["snapshot_id"])
    return {None: base, CURRENT: base_spec(drew)}


async def _done(job: Job, lake: Lake, run: Run, home: Path, runner: TaskRunner) -> tuple[Row, bool]:
    """The model of a job, and whether it was made now."""
    known = job.known(status.models(lake))
    return known or await job.done(lake, run, home, runner), known is None


def _settings(config: Settings, words: PromptSource) -> dict[str, Any]:
    """The settings of the training process; a recipe that learns with a prompt uses the preset's."""
    settings = config.model_dump(mode="json")
    return settings | words.model_dump(mode="json") if "overlay" in settings else settings


def _data(preset: Preset, lake: Lake, home: Path, published: Row, recipe: str, selection: Selection) -> Path:
    """The folder of the files of the recipe's view, from the publication or, where that left the view out or the rows
    are to be mixed, from its snapshot."""
    assert preset.retrain is not None
    view, mixing = preset.retrain.given()[recipe].view, preset.retrain.mix.get(recipe)
    mixed = ""
    if mixing:
        selection = replace(selection, mix=mixing.mix(preset.library()))
        mixed = f"-{digest(mixing.known_by(preset.library()))[:12]}"
    elif (folder := Path(published["export_path"]) / "data" / view).is_dir():
        if found := leaking(folder, lake.schema.shape(view), selection.leaked):
            raise LakeUsageError(
                f"{folder}: {found} rows to train on have prompts of evaluation sets that preset {preset.name} names "
                "since they were published; run `alignery publish`, whose new tag leaves them out, and train on that"
            )
        return folder
    release = release_of(lake, published["name"])
    with Lake.open(lake.place, schema=lake.schema, snapshot=release.snapshot_id) as pinned:
        place = home / "exports" / f"{release.tag}-{view}{selection.suffix}{mixed}"
        done = export(pinned, [view], place, release=release, licences=preset.by_model(), selection=selection)
        return done.path / "data"


def base_spec(preset: Preset) -> Spec:
    """The generator, whose weights the recipes start from."""
    spec = preset.spec("generator")
    spec = spec.of if isinstance(spec, RaySpec) else spec
    if not isinstance(spec, TransformersSpec | VllmSpec):
        raise PresetError(
            f"preset {preset.name}: models.generator: got engine {spec.engine!r}, which has no weights here; "
            "retraining needs 'transformers' or 'vllm' and a model folder"
        )
    if spec.lora:
        raise PresetError(
            f"preset {preset.name}: models.generator.lora: got {spec.lora}, but retraining starts from a model's own "
            "weights; merge the adapter (PEFT's merge_and_unload) and give the merged folder as model"
        )
    return spec


def _weights(spec: Spec) -> str:
    """The folder of the model's weights; a hub model that the user named is taken from the hub's cache, or fetched."""
    place, is_folder = locate(spec.model)
    if is_folder:
        return place
    from huggingface_hub import snapshot_download

    return snapshot_download(place, revision=spec.revision, local_files_only=local_only(spec.model, spec.revision))


def _publication(lake: Lake, tag: str | None) -> Row:
    tags = status.tags(lake)
    exported = [row for row in tags if row["export_path"]]
    if not exported:
        raise LakeUsageError("nothing is published yet: run `alignery publish` first")
    found = exported if tag is None else [row for row in tags if row["name"] == tag]
    if not found:
        known = ", ".join(row["name"] for row in exported)
        raise LakeUsageError(f"got the tag {tag!r}, expected a published one: {known}; see `alignery status`")
    published = found[-1]
    if published["export_path"] is None:
        name = published["name"]
        raise LakeUsageError(
            f"the tag {name} is not exported: run `alignery publish --tag {name}`, or name another tag"
        )
    if not Path(published["export_path"]).is_dir():
        raise LakeUsageError(
            f"the export of {published['name']} is gone from {published['export_path']}; publish it again"
        )
    return published


@dataclass(frozen=True)
class TrainingJob(Job):
    """A recipe, under its own name or a variant's, on the rows of one view."""

    settings: Mapping[str, Any]
    data: Path
    methods: Sequence[Path] = ()  # files of the preset that declare recipes
    mix: Mapping[str, Any] | None = None  # how the rows were mixed
    words: str | None = None  # the hash of the words that they are put into
    launch: Launch = field(default_factory=Launch)  # which makes no other model
    recipe: str | None = None  # of a variant

    @property
    def config(self) -> str:
        """The settings, the mixture, the words and a variant's recipe."""
        further = {"mix": self.mix, "words": self.words, "recipe": self.recipe}
        return json.dumps({**self.settings, **{name: one for name, one in further.items() if one}}, sort_keys=True)

    @property
    def view(self) -> str:
        return str(self.settings["view"])

    async def make(self, out: Path, run: Run, runner: TaskRunner) -> None:
        with otel.span("alignery.train", recipe=self.name, tag=self.published["name"]):
            await runner(
                f"train.{self.name} on {self.published['name']}",
                lambda: self._process(out, run.lake.logs / "train.log"),
            )

    async def _process(self, out: Path, log: Path) -> None:
        arguments = [
            "--data",
            str(self.data),
            "--model",
            await asyncio.to_thread(_weights, self.base),
            "--out",
            str(out),
            "--log",
            str(log),
        ]
        # -P: a folder `tasks` in the working directory is not ours. Its output goes to standard error, results to ours.
        process = await asyncio.create_subprocess_exec(
            *(*self.launch.command, sys.executable, "-P", "-m", "tasks.train", self.recipe or self.name, *arguments),
            *("--config", json.dumps(self.settings)),
            *(text for file in self.methods for text in ("--method", str(file))),
            *(("--accelerate", str(self.launch.accelerate)) if self.launch.accelerate else ()),
            "--with-parent",
            stdout=shown.fileno() if (shown := stream()) is sys.stderr else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE,
        )
        try:
            error = await _relayed(process.stderr)
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if code:
            raise _stopped(self.name, self.data, code, error)


async def _relayed(piped: asyncio.StreamReader | None) -> str:
    """Pass on what the process writes to standard error, but for the line that says why it ended: that is returned."""
    error, progress = "", stream()
    async for line in piped or ():  # type: ignore[union-attr]  # it is piped
        text = line.decode("utf-8", errors="replace")
        if text.startswith((_MISTAKE, _FAILURE)):
            error = text.strip()
        else:
            progress.write(text)
    return error


def _stopped(recipe: str, data: Path, code: int, error: str) -> AligneryError:
    words = f"training {recipe} on {data}: "
    if error.startswith(_MISTAKE):
        return PresetError(words + error.removeprefix(_MISTAKE))
    if error:
        return TrainingStopped(words + error.removeprefix(_FAILURE))
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return TrainingStopped(
        f"{words}the process {how}; its own output is above, and the same command resumes from there"
    )
