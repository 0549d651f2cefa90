"""Executes steps for rows: the only module that uses step, engine and lake together.

It finds what is pending, requests only that, queues the results for a single commit, and returns the records, old and
new. Prefect is not needed: a `TaskRunner` runs a chunk's work.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from alignery.config.preset import Preset
from alignery.errors import AligneryError
from alignery.monitor import metrics, otel
from alignery.pipeline.cache import CacheHit, ResultCache
from alignery.pipeline.committer import BatchCommitter, uninterrupted, unjudged
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from tasks import prices
from tasks.budget import BudgetSpent
from tasks.engines import Engine, EngineDown
from tasks.prices import Price, PriceError
from tasks.step import KNOWN_REPLY, Outcome, Request, Row, Step, execute
from warehouse import Lake, LakeFailure

ChunkWork = Callable[[], Awaitable[None]]
TaskRunner = Callable[[str, ChunkWork], Awaitable[None]]
Judge = Callable[[Sequence[Row]], Awaitable[Sequence[Row]]]

# Below this many rows a reject rate says nothing.
REJECT_LIMIT_FROM = 100


class RejectLimitExceeded(AligneryError, RuntimeError):
    """A step rejected more than the preset allows; the message has the top reasons and samples."""


async def run_inline(name: str, work: ChunkWork) -> None:
    """Run a chunk's work as it is, without an orchestrator."""
    await work()


@dataclass
class RunStats:
    """What a run did: requests sent, work already in the lake, and by step the rows finished and rejected."""

    sent: int = 0
    saved: int = 0
    by_step: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, Counter[str]] = field(default_factory=dict)
    samples: dict[str, deque[str]] = field(default_factory=dict)  # of refused replies, by step, the newest


class GateBatch:
    """Replies of many rows that are judged together, in the order of the rows, not of completion."""

    def __init__(self, writer: BatchCommitter, judge: Judge) -> None:
        self._writer, self._judge = writer, judge
        self._outcomes: dict[int, Outcome] = {}
        self._notes = writer.notes()

    def add(self, place: int, outcome: Outcome) -> None:
        self._outcomes[place] = outcome
        self._notes.write(unjudged(outcome))

    async def judged(self) -> dict[int, list[Row]]:
        """Judge what was added, and queue it for the commit; returns the records by place."""
        outcomes = [self._outcomes[place] for place in sorted(self._outcomes)]
        judged: dict[str, list[Row]] = {}
        for record in await self._judge([record for outcome in outcomes for record in outcome.records]):
            judged.setdefault(record["work_key"], []).append(record)
        for outcome in outcomes:
            outcome.records = judged.get(outcome.attempts[0]["work_key"], [])
            self._writer.put(outcome)
        self._notes.end()
        return {place: outcome.records for place, outcome in self._outcomes.items()}


@dataclass
class Executor:
    """Runs rows through steps.

    Args:
        lake: where everything is stored.
        run: the run that it is committed for.
        progress: counts every row.
        runner: runs a chunk of rows through all their steps, or a round of instructions; under Prefect, as a task run.
        reject_limit: the share of a step's rows that may fail to be accepted, 0 to 1.
    """

    lake: Lake
    run: Run
    progress: StepProgress
    runner: TaskRunner = run_inline
    reject_limit: float = 0.5
    tally: RunStats = field(default_factory=RunStats)
    spent: str | None = None  # the budget that was spent when it ran out; after that nothing is sent
    failure: Exception | None = None  # what ended it: after that no row continues
    _working: int = 0  # chunks in progress
    _begun: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._lookup, self._writer = ResultCache(self.lake), BatchCommitter(self.lake, self.run)
        self._currency, self._prices = price_by_model(self.run.preset)

    def may_ask(self, step: Step) -> bool:
        """Whether a further round of a step may be sent."""
        return self.spent is None

    async def chunk(self, name: str, work: ChunkWork, commit: ChunkWork | None = None) -> None:
        """Run a chunk's work in the runner, which may retry it; its results are committed either way.

        A commit of few rows costs nearly as much as one of many: unless `commit` says what to wait for, it also
        waits for the rows of other chunks in progress.
        """
        tries = 0

        async def attempt() -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                # The engine may be back, and the lake has grown since the start.
                self._lookup.invalidate()
                self.failure = None if isinstance(self.failure, EngineDown) else self.failure
            self._working += 1
            try:
                with otel.span("alignery.chunk", chunk=name):
                    await work()
            except BaseException:
                await self._writer.flush()
                raise
            finally:
                self._working -= 1
            together = self._writer.committed if self._working else self._writer.flush
            await (commit or together)()

        await self.runner(name, attempt)

    async def apply(self, step: Step, row: Row, engine: Engine) -> list[Row]:
        """The rows that follow one row after a step, as its `carry` makes them; none where nothing was accepted.

        Raises:
            EngineDown, RejectLimitExceeded: nothing more is sent; what was answered will be committed.
        """
        records = await self._records(Request(step, row, engine), self._writer.put)
        return [step.next_row(row, record) for record in records]

    async def run_batch(self, step: Step, rows: Sequence[Row], engine: Engine, judge: Judge | None = None) -> list[Row]:
        """The records of these rows under a step, old and new, once they are committed.

        `judge` sees new records before they are committed (the near-duplicate gate).

        Raises:
            EngineDown, RejectLimitExceeded: what was finished is committed.
        """
        records: list[Row] = []
        asked = False

        async def work() -> None:
            batch = GateBatch(self._writer, judge) if judge else None
            found: list[list[Row]] = [[] for _ in rows]

            async def one(place: int, row: Row) -> None:
                def keep(outcome: Outcome) -> None:
                    nonlocal asked
                    asked = True
                    if batch and outcome.attempts[-1]["final"]:  # else there is nothing to judge
                        batch.add(place, outcome)
                    else:
                        self._writer.put(outcome)

                found[place] = await self._records(Request(step, row, engine), keep)

            try:
                await self.gather(*(one(place, row) for place, row in enumerate(rows)))
            finally:
                judged = await uninterrupted(batch.judged()) if batch else {}
            for place, some in judged.items():
                found[place] = some
            records[:] = [record for some in found for record in some]

        async def commit() -> None:
            if asked or not self._working:  # else only other chunks' rows wait, and can wait for more
                await self._writer.flush()

        await self.chunk(f"{step.name} × {len(rows)}", work, commit)
        return sorted(records, key=lambda record: (record["work_key"], record["id"]))

    async def gather(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Run concurrently; the first error cancels the others, unless the engine died: then they are awaited, so that
        their failed attempts are recorded."""
        tasks = [asyncio.ensure_future(one) for one in work]
        if not tasks:
            return
        try:
            _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            await self._ended(tasks)
            raise
        await self._ended(rest)
        if faults := [error for task in tasks if not task.cancelled() and (error := task.exception())]:
            raise faults[0]

    async def _ended(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        if not isinstance(self.failure, EngineDown):
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _records(self, ask: Request, keep: Callable[[Outcome], None]) -> list[Row]:
        """The records of one row's work: those that the lake has, or what is now asked and kept."""
        if self.failure:
            raise self.failure
        step, found = ask.step, await self._lookup.find(ask)
        self.progress.expect(step.name, 1, int(found.records is not None))
        if found.records is not None:
            self.tally.saved += 1
            return found.records
        return [] if self.spent else await self._asked(ask, found, keep)

    async def _asked(self, ask: Request, found: CacheHit, keep: Callable[[Outcome], None]) -> list[Row]:
        """Send the requests of one row; each call is journalled once it is answered, the last one with its records."""
        await self.begin()
        outcome = Outcome(ask.step, ask.fingerprint)

        def answered(attempt: Row) -> None:
            keep(Outcome(ask.step, ask.fingerprint, outcome.records if attempt["final"] else [], [attempt]))

        try:
            with metrics.in_flight(ask.step.name):
                await execute(ask, found.replies, outcome, answered)
        except BudgetSpent as spent:
            self.spent = str(spent)
            return []
        except (EngineDown, LakeFailure) as fault:  # no engine answers, or nothing can be stored: stop sending
            self.failure = fault
            raise
        finally:
            if outcome.attempts:
                self._count(outcome)
        self.progress.tick(ask.step.name, outcome.attempts[-1]["latency_s"] or 0.0)
        self._check(ask.step.name)
        return outcome.records

    def remember(self, table: str, row: Row) -> None:
        """Commit a row of `finished` or `rounds`, with or after all that was answered so far."""
        self._writer.remember(table, row)

    async def flush(self) -> None:
        """Commit everything that is pending."""
        await self._writer.flush()

    async def begin(self) -> None:
        """Record the run in the lake before its first request."""
        if not self.run.started:
            self._begun = self._begun or asyncio.create_task(asyncio.to_thread(self.run.start))
            await asyncio.shield(self._begun)

    def _count(self, outcome: Outcome) -> None:
        step = outcome.step.name
        sources = Counter(attempt["replayed_from"] for attempt in outcome.attempts)
        self.tally.sent += sources[None]
        self.tally.saved += len(outcome.attempts) - sources[None] - sources[KNOWN_REPLY]
        self._count_money(outcome.attempts)
        metrics.answered(outcome.attempts)
        # Only final attempts count: not those that were retried with another seed, nor calls that a dead engine left.
        final = [attempt for attempt in outcome.attempts if attempt["final"]]
        self.tally.by_step[step] += len(final)
        refused = self.tally.rejects.setdefault(step, Counter())
        lost = [attempt for attempt in final if attempt["state"] != "accepted"]
        refused.update(attempt["reason"] for attempt in lost)
        samples = self.tally.samples.setdefault(step, deque(maxlen=3))
        samples.extend(str(attempt["raw_text"])[:160] for attempt in lost)

    def _count_money(self, attempts: Sequence[Row]) -> None:
        for attempt in attempts:
            if price := self._prices.get(attempt["model"]):
                cost = price.cost(attempt["tokens_in"], attempt["tokens_out"], attempt["tokens_cached"])
                self.progress.spend(cost, self._currency)

    def _check(self, step: str) -> None:
        asked, refused = self.tally.by_step[step], self.tally.rejects[step]
        if asked < REJECT_LIMIT_FROM or refused.total() <= self.reject_limit * asked:
            return
        reasons = "; ".join(f"{count} × {reason}" for reason, count in group_reasons(refused).most_common(3))
        self.failure = RejectLimitExceeded(
            f"{step}: {refused.total()} of {asked} rows were not accepted, over the limit of "
            f"{self.reject_limit:.0%} (line.reject_limit): {reasons}. Samples: {list(self.tally.samples[step])}. "
            "What was accepted is in the lake; see the view 'rejects'."
        )
        raise self.failure


def price_by_model(preset: Preset) -> tuple[str, dict[str, Price]]:
    """The currency, and by identity the price of each model that the preset's price file names; none without a file.

    A model trained here, bound in place of one that the file prices by name, has no price.
    """
    if not preset.prices:
        return "", {}
    listed, found = prices.load(preset.prices), {}
    for alias, spec in preset.models.items():
        with suppress(PriceError):
            found[spec.identity()] = preset.price(alias, listed)
    return listed.currency, found


def group_reasons(reasons: Counter[str]) -> Counter[str]:
    """Reasons that differ only in their numbers as one, as the view `funnel` counts them."""
    found: dict[str, Counter[str]] = {}
    for reason, count in reasons.items():
        found.setdefault(re.sub("[0-9]+", "…", reason), Counter())[reason] = count
    return Counter({kind if len(same) > 1 else next(iter(same)): same.total() for kind, same in found.items()})
