"""When the rows of a chunk are committed: with those of the chunks beside it, and no later than is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import count
from typing import Any

import pytest
from works import ACCEPT, Works

from alignery.pipeline import committer
from alignery.pipeline.cache import CacheHit
from alignery.pipeline.executor import ChunkWork, Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline
from alignery.pipeline.run import Run
from prompts import Message
from tasks.engines import Completion, Sampling, ScriptedEngine
from tasks.engines.scripted import Call
from tasks.step import Request
from warehouse import Lake, LakeFailure
from warehouse.ledger import Batch, Ledger


@dataclass
class Asked:
    """The scripted engine, whose answer number n to an instruction comes when `ready(n)` has ended."""

    engine: ScriptedEngine
    ready: Callable[[int], Awaitable[object]]
    numbers: Iterator[int] = field(default_factory=count)
    identity: str = "scripted@asked"

    @property
    def calls(self) -> list[Call]:
        return self.engine.calls

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        if "respond/answer" in str(prompt):
            await self.ready(next(self.numbers))
        return await self.engine.generate(prompt, sampling)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        return await self.engine.choose(prompt, options)


def test_more_chunks_are_not_more_commits(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "EVERY_S", 3600)
    works.engine = Asked(works.engine, lambda number: asyncio.sleep(0.1 * number))  # type: ignore[assignment]
    before = works.snapshot()
    asyncio.run(works.walk(chunk=1))
    assert len(works.rows("SELECT DISTINCT instruction_id FROM responses")) == ACCEPT
    # The run and its rounds take theirs; all twelve chunks, of which each ends long after the last, take one.
    assert works.snapshot() - before <= ACCEPT // 2


def test_rounds_that_the_lake_has_leave_the_rows_of_others_to_wait(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "EVERY_S", 3600)
    works.engine = Asked(works.engine, lambda number: asyncio.sleep(0.1 * (number % ACCEPT)))  # type: ignore[assignment]
    asyncio.run(works.walk(requests_per_round=1))
    prompt = works.words / "respond/answer.yaml"
    prompt.write_text(prompt.read_text().replace("instruction: ", "the instruction: "))
    before = works.snapshot()
    asyncio.run(works.walk(chunk=1, requests_per_round=1))
    assert works.asked("self_instruct") == 0
    assert works.asked("respond/answer") == ACCEPT
    assert works.snapshot() - before == 3  # the run's beginning, all rows, the run's end


def test_the_last_at_work_commits_what_waits_though_it_asked_nothing(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "EVERY_S", 3600)
    there, new = ({"instruction_id": id, "instruction": f"Say {id}.", "topic": "tea"} for id in ("there", "new"))

    async def main() -> int:
        with Lake.open(works.home) as lake, Run(lake, "refresh", works.preset) as run:
            executor = Executor(lake, run, StepProgress(StringIO()))
            line = RefreshPipeline(works.preset, executor, dict.fromkeys(("generator", "aligner"), works.engine))
            step = line.graph.by_name["respond.answer"].step
            await executor.run_batch(step, [there], works.engine)
            find = executor._lookup.find

            async def slowly(ask: Request) -> CacheHit:
                await asyncio.sleep(0.3 if ask.row is there else 0)
                return await find(ask)

            monkeypatch.setattr(executor._lookup, "find", slowly)
            executor._lookup.invalidate()

            async def work() -> None:
                await executor.apply(step, new, works.engine)

            await asyncio.wait_for(
                asyncio.gather(executor.run_batch(step, [there], works.engine), executor.chunk("new", work)), 30
            )
            return executor.tally.sent

    assert asyncio.run(main()) == 2
    assert len(works.rows("SELECT id FROM responses")) == 2


def test_a_chunk_ends_when_its_rows_are_due_however_slow_another_is(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "EVERY_S", 0.05)
    landed = []

    async def walk() -> None:
        ended = asyncio.Event()

        async def wait_for_another(number: int) -> None:
            if number == 0:
                await ended.wait()

        async def runner(name: str, work: ChunkWork) -> None:
            await work()
            if name.startswith("walk") and not ended.is_set():
                landed.extend(works.rows("SELECT id FROM responses"))
                ended.set()

        works.engine = Asked(works.engine, wait_for_another)  # type: ignore[assignment]
        await asyncio.wait_for(works.walk(chunk=1, runner=runner), 60)

    asyncio.run(walk())
    assert landed, "a chunk that has ended is in the lake"


def test_a_commit_that_fails_leaves_no_chunk_waiting(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Ledger.append_batches

    def full(ledger: Ledger, batches: Sequence[Batch], *, run_id: str, **beside: Any) -> int:
        if any(batch.step == "respond.answer" for batch in batches):
            raise LakeFailure("the disk is full")
        return real(ledger, batches, run_id=run_id, **beside)

    monkeypatch.setattr(Ledger, "append_batches", full)
    with pytest.raises(LakeFailure, match="the disk is full"):
        asyncio.run(asyncio.wait_for(works.walk(chunk=1), 60))
