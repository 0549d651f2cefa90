"""One refresh: the pipeline is run until the target of accepted instructions is reached."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alignery.config.preset import Preset
from alignery.display import Displayed
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, held_out_of, open_engines, raise_first
from alignery.pipeline.run import Run
from tasks.budget import Budget
from tasks.estimate import TOTAL, compared
from warehouse import Lake
from warehouse.query import estimates


@dataclass(frozen=True)
class Summary(Displayed):
    """What a refresh did. `saved` counts the requests that the lake already had the answers to."""

    run_id: str
    state: str  # finished | short
    accepted: int
    target: int
    sent: int
    saved: int
    seconds: float
    message: str | None  # why it stopped short
    plan: str | None  # how its plan compares with what it took
    sources: Sequence[Mapping[str, Any]] = ()  # of one's own prompts: what was read, entry by entry


async def run_refresh(preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline) -> Summary:
    """The refresh itself, with or without Prefect.

    Raises:
        EngineDown, RejectLimitExceeded: the run failed; what was finished is committed.
    """
    begun = time.monotonic()
    preset = resolve_models(preset, lake)
    budget = Budget(preset.line.max_tokens, preset.line.max_minutes)
    async with open_engines(preset, budget, lake.logs) as engines:
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
                plan=_plan_vs_actual(preset, lake) if executor.tally.sent else None,
                sources=line.writing.own.totals() if line.writing.own else (),
            )
            run.end(summary.state, asdict(summary), short)
    return summary


def _plan_vs_actual(preset: Preset, lake: Lake) -> str | None:
    """The newest plan of this configuration next to what was used since, as a clause."""
    if not (planned := estimates.newest(lake, preset.hash)):
        return None
    total = [row for row in estimates.estimate_vs_actual(lake, planned[0]["id"]) if row["step"] == TOTAL]
    return compared(planned[-1], {row["figure"]: row["actual"] for row in total})
