"""Outcomes on their way into the lake: journalled at once, committed with many others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import IO, TypeVar

from alignery.errors import AligneryError
from alignery.monitor import metrics, otel
from alignery.pipeline.run import Run, measure
from tasks.step import Outcome, Row
from warehouse import Lake, LakeFailure
from warehouse.errors import RowRefused
from warehouse.journal import Journal, drop
from warehouse.ledger import Batch

_T = TypeVar("_T")
MEASURED_EVERY_S = 60.0  # the lake's size, where metrics are exported; our choice
ROWS, EVERY_S = 1024, 5.0  # a commit is due at this many calls, or after this many seconds: our choice


async def uninterrupted(work: Awaitable[_T]) -> _T:
    """Await work to its end, even when cancelled in the middle of it; the cancellation follows."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def unjudged(outcome: Outcome) -> Batch:
    """Calls as a kill leaves them, before replies are judged: the next run parses the replies, without requests."""
    left = {"state": "failed", "reason": "the run ended before the reply was judged", "final": False}
    return Batch(outcome.step.name, outcome.fingerprint, {}, [attempt | left for attempt in outcome.attempts])


def _batch(outcome: Outcome) -> Batch:
    step = outcome.step
    return Batch(step.name, outcome.fingerprint, {step.table: outcome.records}, outcome.attempts)


class BatchCommitter:
    """Gathers outcomes of all steps and commits them together, in the name of one run."""

    def __init__(self, lake: Lake, run: Run) -> None:
        self._lake, self._run = lake, run
        # What is committed was looked up after this, and was missing.
        self._since = lake.snapshot()
        self._journal = Journal(lake.home, run.id, lake.schema)
        self._waiting: list[Outcome] = []
        self._finished: dict[str, list[Row]] = {}  # what the outcomes finish: rows of `finished` and `rounds`
        self._calls = 0
        self._measured = 0.0  # when the lake was, by the clock
        self._due = asyncio.Event()  # what waits should be committed now
        self._next: asyncio.Task[None] | None = None  # will commit what waits
        self._last: asyncio.Task[None] | None = None  # began before it; no two commit at once

    def notes(self) -> Journal:
        """A separate journal, for calls whose replies are still to be judged."""
        return Journal(self._lake.home, self._run.id, self._lake.schema)

    def put(self, outcome: Outcome) -> None:
        """Journal a call, with the records that were read from it, to be committed soon.

        If its records do not fit their table, it is stored as failed, and they are removed from `outcome`.

        Raises:
            LakeFailure: it could not be written and is not kept, or an earlier commit failed.
        """
        self._check_last()
        try:
            self._journal.write(_batch(outcome))
        except RowRefused as refused:
            if not outcome.records:
                raise
            outcome.records.clear()
            for attempt in outcome.attempts:
                attempt |= {"state": "failed", "reason": f"the reply cannot be kept: {refused}"}
            self._journal.write(_batch(outcome))
        self._waiting.append(outcome)
        self._calls += len(outcome.attempts)
        self._expect_commit()
        if self._calls >= ROWS:
            self._due.set()

    def remember(self, table: str, row: Row) -> None:
        """Record that something is finished, to be committed with or after all that was put so far, and never before.

        It is not journalled: if it is lost, each request is looked up in the lake again. Raises as `put` does.
        """
        self._check_last()
        self._finished.setdefault(table, []).append(row)
        self._expect_commit()

    def _check_last(self) -> None:
        if self._last and self._last.done():
            self._last.result()

    def _expect_commit(self) -> None:
        if self._next is None:
            self._next = asyncio.create_task(self._commit_when_due(self._last))

    async def flush(self) -> None:
        """Commit all that was put so far; even when cancelled. Raises as `put` does."""
        if self._next:
            self._due.set()
        if task := self._next or self._last:
            await uninterrupted(task)

    async def committed(self) -> None:
        """Wait until all that was put so far is committed, together with what others put meanwhile. Raises as `put`."""
        if task := self._next or self._last:
            await asyncio.shield(task)

    async def _commit_when_due(self, last: asyncio.Task[None] | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._due.wait(), EVERY_S)
        if last:
            await last  # its error is this one's too
        self._last, self._next = self._next, None
        outcomes, self._waiting, self._calls = self._waiting, [], 0
        finished, self._finished = self._finished, {}
        self._due.clear()
        await asyncio.to_thread(self._commit, outcomes, finished, self._journal.turn())

    def _commit(self, outcomes: list[Outcome], finished: dict[str, list[Row]], journal: IO[bytes] | None) -> None:
        self._run.start()
        if not outcomes:
            message = f"{self._run.flow}: finished"
            self._lake.ledger.write_tables(finished, run_id=self._run.id, message=message)
            return
        found: dict[tuple[str, str], tuple[dict[str, list[Row]], list[Row]]] = {}
        for outcome in outcomes:
            records, attempts = found.setdefault((outcome.step.name, outcome.fingerprint), ({}, []))
            records.setdefault(outcome.step.table, []).extend(outcome.records)
            attempts += outcome.attempts
        batches = [Batch(*names, *rows) for names, rows in found.items()]
        try:
            with (
                otel.span("alignery.commit", rows=sum(len(batch.attempts) for batch in batches)),
                metrics.timed_commit(),
            ):
                committed = self._lake.ledger.append_batches(
                    batches, run_id=self._run.id, beside=finished, since=self._since
                )
        except AligneryError:
            if journal:
                journal.close()  # and so unlocked: the next run takes it in, even one of this process
            raise
        if journal:
            drop(journal)
        if committed < (attempted := sum(len(outcome.attempts) for outcome in outcomes)):
            raise LakeFailure(
                f"{self._lake.place}: another run committed {attempted - committed} of the same requests first; its "
                "answers are kept, and later steps must use those, not this run's: run again"
            )
        if time.monotonic() - self._measured > MEASURED_EVERY_S:
            measure(self._lake)
            self._measured = time.monotonic()
