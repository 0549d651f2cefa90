"""`refresh`: walk the line until the target of accepted instructions is reached.

The body is plain; Prefect gives it task runs (one a chunk and step), retries and artifacts. Chunks are
awaited and not submitted: `.submit()` would run each in a thread and event loop of its own, where an
engine opened by the flow does not work.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from alignery.config.preset import Preset, load
from alignery.pipeline.executor import ChunkWork, Executor, TaskRunner, plainly
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, held_out_of, open_engines, raise_first
from alignery.pipeline.run import Run, exclusive_run
from tasks.budget import Budget
from tasks.engines import EngineDown
from tasks.estimate import TOTAL, compared
from warehouse import Lake
from warehouse.query import estimates, status

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
    plan: str | None  # how the plan held that was made for it


@flow(name="refresh")
async def refresh(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> Summary:
    """Write, answer, criticise, revise and correct, until the preset's target is reached.

    Args:
        preset: a shipped preset's name, or the path of a .yaml file.
        home: the folder of the lake.
        wait: if another refresh is at work on this lake, until it is done; else LakeFailure names it.
    """
    made = load(preset)
    async with exclusive_run(made.place(home), "refresh", wait=wait, schema=made.lake_schema) as lake:
        summary = await run_refresh(made, lake, runner=in_prefect)
        for name, rows in (("funnel", status.funnel), ("usage", status.usage)):
            told = f"Run {summary.run_id}: {summary.state}"
            await acreate_table_artifact(key=name, table=_plain(rows(lake, summary.run_id)), description=told)
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


async def run_refresh(preset: Preset, lake: Lake, *, runner: TaskRunner = plainly) -> Summary:
    """The refresh itself, with or without Prefect.

    Raises:
        EngineDown, RejectLimitExceeded: the run failed; what was finished is committed.
    """
    begun = time.monotonic()
    preset = resolve_models(preset, lake)
    budget = Budget(preset.line.max_tokens, preset.line.max_minutes)
    async with open_engines(preset, budget) as engines:
        with Run(lake, "refresh", preset) as run, StepProgress() as progress:
            executor = Executor(lake, run, progress, runner, preset.line.reject_limit)
            line = RefreshPipeline(preset, executor, engines, held_out_of(preset))
            run.words = line.words()
            with raise_first():
                short = await line.walk()
            summary = Summary(
                run_id=run.id,
                state="short" if short else "finished",
                accepted=line.reached,
                target=line.target,
                sent=executor.tally.sent,
                saved=executor.tally.saved,
                seconds=round(time.monotonic() - begun, 1),
                message=short,
                plan=_held(preset, lake) if executor.tally.sent else None,
            )
            run.end(summary.state, asdict(summary), short)
    return summary


def _held(preset: Preset, lake: Lake) -> str | None:
    """The newest plan of this configuration beside what was taken since, in half a sentence."""
    if not (planned := estimates.newest(lake, preset.hash)):
        return None
    total = [row for row in estimates.estimate_vs_actual(lake, planned[0]["id"]) if row["step"] == TOTAL]
    return compared(planned[-1], {row["figure"]: row["actual"] for row in total})


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON can hold them."""
    return json.loads(json.dumps(rows, default=str))
