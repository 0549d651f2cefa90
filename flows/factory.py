"""The helper around a step: the one place that knows the step, the engine and the lake.

It finds what is pending, asks only for that, commits what came of it once, and hands back the records
of all rows, old and new. Prefect is not needed: a `TaskRunner` says how a chunk's work is run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flows.progress import StepProgress
from flows.run import Run
from tasks.budget import BudgetSpent
from tasks.engines import Engine
from tasks.step import Outcome, Replies, Row, Step, run
from warehouse import Lake

_T = TypeVar("_T")
ChunkWork = Callable[[], Awaitable[None]]
TaskRunner = Callable[[str, ChunkWork], Awaitable[None]]
Judge = Callable[[Sequence[Row]], Sequence[Row]]

# Below this many rows a reject rate says nothing.
REJECT_LIMIT_FROM = 100


class StageStopped(RuntimeError):
    """A step rejected more than the preset allows; the message carries the top reasons and samples."""


async def uninterrupted(work: Coroutine[Any, Any, _T]) -> _T:
    """Await work to its end, even when cancelled in the middle of it; the cancellation follows."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def plainly(name: str, work: ChunkWork) -> None:
    """Run a chunk's work as it is, without an orchestrator."""
    await work()


@dataclass
class Tally:
    """What a run did: requests sent, work found done in the lake, and by step the rows settled and those refused."""

    sent: int = 0
    saved: int = 0
    by_step: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, Counter[str]] = field(default_factory=dict)


@dataclass
class Factory:
    """Walks rows through steps.

    Args:
        lake: where everything is remembered.
        run: the run in whose name it is committed.
        progress: told of every row.
        runner: runs one chunk of one step; under Prefect, as a task run.
        reject_limit: the share of a step's rows that may fail to be accepted, 0 to 1.
    """

    lake: Lake
    run: Run
    progress: StepProgress
    runner: TaskRunner = plainly
    reject_limit: float = 0.5
    tally: Tally = field(default_factory=Tally)
    spent: str | None = None  # what of the budget was spent when it ran out; from then on nothing is sent

    async def advance(self, step: Step, rows: Sequence[Row], engine: Engine) -> list[Row]:
        """The rows of a chunk after a step: those whose work was accepted, each as the step's `carry` makes it."""
        by_key = dict(zip(step.work_keys(rows, engine), rows, strict=True))
        records = await self._settle(step, by_key, engine, None)
        return [step.carry(by_key[record["work_key"]], record) for record in records]

    async def settle(self, step: Step, rows: Sequence[Row], engine: Engine, judge: Judge | None = None) -> list[Row]:
        """The records of these rows under a step, old and new; only what the lake does not have is asked.

        `judge` sees new records before they are committed (the near-duplicate gate).

        Raises:
            EngineDown: the engine died; what was finished is committed.
            StageStopped: the step rejects too much.
        """
        return await self._settle(step, dict(zip(step.work_keys(rows, engine), rows, strict=True)), engine, judge)

    async def _settle(self, step: Step, by_key: Mapping[str, Row], engine: Engine, judge: Judge | None) -> list[Row]:
        pending = await asyncio.to_thread(self.lake.pending, list(by_key))
        self.tally.saved += len(by_key) - len(pending)
        self.progress.expect(step.name, len(by_key), len(by_key) - len(pending))
        done = [key for key in by_key if key not in pending]
        records = await asyncio.to_thread(self.lake.records, step.table, done) if done else []

        async def work() -> None:
            todo = [row for key, row in by_key.items() if key in pending]
            outcome = await run(step, todo, engine, lambda: self.progress.tick(step.name), self._recall)
            records.extend(await uninterrupted(self._commit(outcome, judge)))
            # So that a retried chunk sends only what is unfinished.
            pending.difference_update(attempt["work_key"] for attempt in outcome.attempts if attempt["final"])
            if isinstance(outcome.fault, BudgetSpent):
                self.spent = str(outcome.fault)
            elif outcome.fault:
                raise outcome.fault
            self._check(step.name, outcome.attempts)

        if pending and not self.spent:
            await self.runner(f"{step.name} × {len(pending)}", work)
        return sorted(records, key=lambda record: (record["work_key"], record["id"]))

    async def _recall(self, keys: Sequence[str]) -> Replies:
        """Replies that the lake has to the very same requests, asked under another id, parser or gate."""
        return await asyncio.to_thread(self.lake.replies, keys)

    async def _commit(self, outcome: Outcome, judge: Judge | None) -> Sequence[Row]:
        """Commit what came of a chunk; the records as they are in the lake."""
        step = outcome.step
        records = await asyncio.to_thread(judge, outcome.records) if judge else outcome.records
        await asyncio.to_thread(self.run.start)
        landed = await asyncio.to_thread(
            self.lake.append,
            {step.table: records},
            outcome.attempts,
            run_id=self.run.id,
            step=step.name,
            fingerprint=outcome.fingerprint,
        )
        self._count(outcome)
        if landed == len(outcome.attempts):
            return records
        # Another run did some of this work first; its records are the ones that stand.
        keys = list({attempt["work_key"] for attempt in outcome.attempts})
        return await asyncio.to_thread(self.lake.records, step.table, keys)

    def _count(self, outcome: Outcome) -> None:
        step = outcome.step.name
        replayed = sum(attempt["replayed_from"] is not None for attempt in outcome.attempts)
        self.tally.sent += len(outcome.attempts) - replayed
        self.tally.saved += replayed
        # Only what is settled: a reply that another seed mended, or a call that a dead engine left, rejects nothing.
        settled = [attempt for attempt in outcome.attempts if attempt["final"]]
        self.tally.by_step[step] += len(settled)
        refused = self.tally.rejects.setdefault(step, Counter())
        refused.update(attempt["reason"] for attempt in settled if attempt["state"] != "accepted")

    def _check(self, step: str, attempts: Sequence[Row]) -> None:
        asked, refused = self.tally.by_step[step], self.tally.rejects[step]
        if asked < REJECT_LIMIT_FROM or refused.total() <= self.reject_limit * asked:
            return
        reasons = "; ".join(f"{count} × {reason}" for reason, count in refused.most_common(3))
        samples = [str(a["raw_text"])[:160] for a in attempts if a["state"] != "accepted"][:3]
        raise StageStopped(
            f"{step}: {refused.total()} of {asked} rows were not accepted, over the limit of "
            f"{self.reject_limit:.0%} (line.reject_limit): {reasons}. Samples: {samples}. "
            "What was accepted is in the lake; see the view 'rejects'."
        )
