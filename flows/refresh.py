"""`refresh`: walk the line until the target of accepted instructions is reached.

The body is plain; Prefect gives it task runs (one a chunk and step), retries and artifacts. Chunks are
awaited and not submitted: `.submit()` would run each in a thread and event loop of its own, where an
engine opened by the flow does not work.
"""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.factory import ChunkWork, Factory, TaskRunner, plainly
from flows.line import Line, unwrapped
from flows.presets import Alias, Preset, load
from flows.progress import StepProgress
from flows.run import Run, alone
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Engine, EngineDown
from tasks.engines.lazy import open_lazily
from tasks.engines.spec import EngineSpec
from tasks.evaluate import held_out
from warehouse import Lake, look

RETRY_AFTER_S = 5


@dataclass(frozen=True)
class Summary:
    """What a refresh did. `saved` counts the requests that the lake already had the answers to."""

    run_id: str
    state: str  # finished | short
    accepted: int
    target: int
    sent: int
    saved: int
    seconds: float
    message: str | None  # why it stopped short


@flow(name="refresh")
async def refresh(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> Summary:
    """Write, answer, criticise, revise and correct, until the preset's target is reached.

    Args:
        preset: a shipped preset's name, or the path of a .yaml file.
        home: the folder of the lake.
        wait: if another refresh is at work on this lake, until it is done; else LakeFault names it.
    """
    made = load(preset)
    async with alone(made.place(home), "refresh", wait=wait) as lake:
        summary = await walk_line(made, lake, runner=in_prefect)
        funnel = _plain(look.funnel(lake, summary.run_id))
        await acreate_table_artifact(key="funnel", table=funnel, description=f"Run {summary.run_id}: {summary.state}")
    return summary


async def in_prefect(name: str, work: ChunkWork) -> None:
    """Run a chunk's work as a Prefect task run, retried when the engine comes and goes."""

    # No caching and no stored results: the lake is what remembers.
    @task(
        task_run_name=name,
        name=name.split(" ", maxsplit=1)[0],
        retries=1,
        retry_delay_seconds=RETRY_AFTER_S,
        retry_condition_fn=_may_recover,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    async def chunk() -> None:
        await work()

    await chunk()


def _may_recover(task: Any, run: Any, state: Any) -> bool:
    return isinstance(state.data, EngineDown) and state.data.recoverable


async def walk_line(preset: Preset, lake: Lake, *, runner: TaskRunner = plainly) -> Summary:
    """The refresh itself, with or without Prefect.

    Raises:
        EngineDown, StageStopped: the run failed; what was finished is committed.
    """
    begun = time.monotonic()
    budget = Budget(preset.line.max_tokens, preset.line.max_minutes)
    async with AsyncExitStack() as stack:
        engines: dict[Alias, Engine] = {
            alias: _metered(await stack.enter_async_context(open_lazily(spec)), budget, spec)
            for alias, spec in preset.models.items()
        }
        engines.setdefault("aligner", engines["generator"])
        run = stack.enter_context(Run(lake, "refresh", preset))
        factory = Factory(lake, run, stack.enter_context(StepProgress()), runner, preset.line.reject_limit)
        held = [row["prompt"] for row in held_out.load(preset.evaluate.prompts)] if preset.evaluate else []
        line = Line(preset, factory, engines, held)
        run.words = line.words()
        with unwrapped():
            short = await line.walk()
        summary = Summary(
            run_id=run.id,
            state="short" if short else "finished",
            accepted=line.reached,
            target=line.target,
            sent=factory.tally.sent,
            saved=factory.tally.saved,
            seconds=round(time.monotonic() - begun, 1),
            message=short,
        )
        run.end(summary.state, asdict(summary), short)
    return summary


def _metered(engine: Engine, budget: Budget, spec: EngineSpec) -> Engine:
    return MeteredEngine(engine, budget, spec.places) if budget.limited else engine


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON can hold them."""
    return json.loads(json.dumps(rows, default=str))
