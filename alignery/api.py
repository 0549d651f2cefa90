"""The runs of `import alignery`: from a script or a notebook, and without Prefect.

Each run has two forms: `refresh` waits, and works inside a running event loop too; `arefresh` is awaited. Nothing is
shown unless `progress=True`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from alignery.config.extras import check_installed
from alignery.config.preset import Preset
from alignery.display import Results
from alignery.lake_reader import HOME, load_preset
from alignery.pipeline import estimate
from alignery.pipeline.progress import hidden
from alignery.pipeline.refresh import raise_first
from alignery.pipeline.run import exclusive_run
from alignery.pipeline.runs import evaluation, promotion, publication, refreshing, training
from alignery.pipeline.runs.evaluation import Evaluations
from alignery.pipeline.runs.promotion import Decided
from alignery.pipeline.runs.refreshing import Summary
from alignery.pipeline.runs.training import Trained
from tasks.evaluate import PICTURES
from warehouse import Lake, Publication

if TYPE_CHECKING:
    from alignery.pipeline.estimate import Estimate

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def arefresh(
    preset: str | Path | Preset | Mapping[str, Any] = "nano",
    home: str | Path = HOME,
    *,
    wait: bool = True,
    progress: bool = False,
) -> Summary:
    """Run the preset's sources and stages until its target is reached; answered requests are not sent again.

    Args:
        preset: see `load_preset`.
        home: the folder of the lake; created if missing.
        wait: for another refresh of this preset on this lake to end; else LakeFailure names it.
        progress: show progress on standard error.

    Raises:
        PresetError: the preset, or a file that it names, is wrong.
        EngineDown, RejectLimitExceeded, LakeFailure: the run failed; what was finished is committed.
    """
    loaded_preset, place = _prepared(preset, home, "refresh")
    with _shown(progress):
        async with exclusive_run(
            loaded_preset.place(place),
            "refresh",
            preset=loaded_preset.name,
            wait=wait,
            schema=loaded_preset.lake_schema,
        ) as lake:
            return await refreshing.run_refresh(loaded_preset, lake)


async def apublish(
    preset: str | Path | Preset | Mapping[str, Any] = "nano", home: str | Path = HOME, *, tag: str | None = None
) -> Publication:
    """Tag the lake's snapshot and write its export. The same content is published once.

    Args:
        tag: its name; the next of v1, v2, … when left out.

    Raises:
        LakeUsageError: there is nothing to publish, or the tag names other content.
    """
    loaded_preset, place = _prepared(preset, home, "publish")

    def published() -> Publication:
        with Lake.open(loaded_preset.place(place), schema=loaded_preset.lake_schema) as lake:
            return publication.tag_and_export(loaded_preset, lake, place, tag)

    return await asyncio.to_thread(published)


async def aretrain(
    preset: str | Path | Preset | Mapping[str, Any] = "nano",
    home: str | Path = HOME,
    *,
    tag: str | None = None,
    wait: bool = True,
    progress: bool = False,
) -> Results[Trained]:
    """Train the preset's recipes on a publication, each in a process of its own.

    Args:
        tag: the publication; the newest when left out.

    Raises:
        PresetError: the preset has no recipes, or its generator has no weights here.
        LakeUsageError: no such publication.
        TrainingStopped: a training process failed.
    """
    loaded_preset, place = _prepared(preset, home, "retrain")
    with _shown(progress):
        async with exclusive_run(
            loaded_preset.place(place), "retrain", wait=wait, schema=loaded_preset.lake_schema
        ) as lake:
            return Results(await training.train_recipes(loaded_preset, lake, place, tag))


async def aevaluate(
    preset: str | Path | Preset | Mapping[str, Any] = "nano",
    home: str | Path = HOME,
    *,
    logs: Path | None = None,
    wait: bool = True,
    progress: bool = False,
) -> Evaluations:
    """Score the base model and each recipe's newest model on held-out prompts; the pictures are in HOME/pictures.

    Args:
        logs: a folder for logs of all answers, which `inspect view` opens.

    Raises:
        PresetError: the preset has no `evaluate` section.
    """
    loaded_preset, place = _prepared(preset, home, "evaluate")
    with _shown(progress):
        async with exclusive_run(
            loaded_preset.place(place), "evaluate", wait=wait, schema=loaded_preset.lake_schema
        ) as lake:
            found = Evaluations(await evaluation.evaluate_models(loaded_preset, lake, logs=logs))
        evaluation.draw(found, place / PICTURES)
        return found


async def aplan(
    preset: str | Path | Preset | Mapping[str, Any] = "nano",
    home: str | Path = HOME,
    *,
    wait: bool = True,
    progress: bool = False,
) -> Estimate:
    """Estimate a refresh from a small probe: requests, tokens, minutes and money, with intervals."""
    loaded_preset, place = _prepared(preset, home, "plan")
    with _shown(progress):
        async with exclusive_run(
            loaded_preset.place(place),
            "refresh",
            preset=loaded_preset.name,
            wait=wait,
            schema=loaded_preset.lake_schema,
        ) as lake:
            with raise_first():
                return await estimate.estimate_refresh(loaded_preset, lake)


async def apromote(
    preset: str | Path | Preset | Mapping[str, Any] = "nano",
    home: str | Path = HOME,
    *,
    wait: bool = True,
    progress: bool = False,
) -> Results[Decided]:
    """Put every trained model without a decision through the gate, the oldest first.

    Raises:
        PresetError: the preset has no `evaluate` section, or its generator has no weights here.
    """
    loaded_preset, place = _prepared(preset, home, "promote")
    with _shown(progress):
        async with exclusive_run(
            loaded_preset.place(place), "promote", wait=wait, schema=loaded_preset.lake_schema
        ) as lake:
            return Results(await promotion.promote_candidates(loaded_preset, lake))


def _waited(run: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, _T]:
    """The form of a run that waits: its name is without the `a`, its signature and docstring are the run's.

    In a running event loop, as a notebook has one, it runs in a thread with its own.
    """

    @wraps(run)
    def waited(*args: _P.args, **named: _P.kwargs) -> _T:
        start = partial(run, *args, **named)
        return _in_thread(start) if _in_loop() else asyncio.run(start())

    waited.__name__ = waited.__qualname__ = run.__name__.removeprefix("a")
    return waited


refresh = _waited(arefresh)
publish = _waited(apublish)
retrain = _waited(aretrain)
evaluate = _waited(aevaluate)
plan = _waited(aplan)
promote = _waited(apromote)


# What the command runs without Prefect.
RUNS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    "plan": partial(aplan, progress=True),
    "refresh": partial(arefresh, progress=True),
    "publish": apublish,
    "retrain": partial(aretrain, progress=True),
    "evaluate": partial(aevaluate, progress=True),
    "promote": partial(apromote, progress=True),
}


def _prepared(preset: str | Path | Preset | Mapping[str, Any], home: str | Path, verb: str) -> tuple[Preset, Path]:
    """The preset, checked to have everything that the verb needs."""
    loaded_preset = load_preset(preset)
    check_installed(loaded_preset, verb)
    loaded_preset.check()
    return loaded_preset, Path(home).absolute()


def _shown(progress: bool) -> Any:
    return nullcontext() if progress else hidden()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[_T]]] = []

    async def main() -> _T:
        task = asyncio.ensure_future(start())
        loops.append((asyncio.get_running_loop(), task))
        return await task

    def work() -> None:
        try:
            results.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=work, name="alignery")
    thread.start()
    try:
        with _interruptible():
            thread.join()
    except KeyboardInterrupt:
        # The run ends as on Ctrl-C in a shell: what was answered is committed.
        for loop, task in loops:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises here at once: asyncio's own handler would only cancel a task, which is the one that waits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
