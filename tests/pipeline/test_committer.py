"""A call is journalled once it is answered, and dropped from there when it is committed: no sooner, no later."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from steps import answering, run

from alignery.config.preset import build
from alignery.pipeline.committer import BatchCommitter
from alignery.pipeline.executor import Executor, GateBatch
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from tasks.engines import Completion, EngineDown, Sampling, ScriptedEngine
from tasks.step import Outcome, ParseError, Row
from warehouse import Lake, LakeFailure
from warehouse.ledger import Ledger
from warehouse.recovery import recover, waiting

ROWS = [{"instruction_id": f"i{n}", "instruction": f"thing {n}"} for n in range(4)]


def read(reply: str, row: Row) -> Sequence[Row]:
    if reply.startswith("bad"):
        raise ParseError("not a good one")
    return [{"kind": "base", "text": reply, "complete": 7 if reply == "odd" else True}]


STEP = answering(read)


@pytest.fixture
def lake(empty: Path, tmp_path: Path) -> Iterator[Lake]:
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        yield lake


def a_run(lake: Lake) -> Run:
    models = {"generator": {"engine": "scripted", "replies": ["unused"]}}
    line = {"self_instruct": {"accept": 4}}
    return Run(lake, "refresh", build({"name": "t", "about": "t", "models": models, "line": line}))


def executor(lake: Lake) -> Executor:
    return Executor(lake, a_run(lake), StepProgress(StringIO()))


def outcome(key: str) -> Outcome:
    made = asyncio.run(run(STEP, [{"instruction_id": key, "instruction": key}], ScriptedEngine(["yes"])))
    return Outcome(STEP, made.fingerprint, made.records, made.attempts)


def noted(home: Path) -> list[tuple[int, str]]:
    """(try number, reply) of each call in the journals."""
    lines = [json.loads(line) for file in sorted((home / "journal").glob("*.jsonl")) for line in file.open()]
    return [(call["try_number"], call["raw_text"]) for line in lines for call in line["attempts"]]


def with_writer(lake: Lake, work: Callable[[BatchCommitter], Awaitable[None]]) -> None:
    async def main() -> None:
        await work(BatchCommitter(lake, a_run(lake)))

    asyncio.run(main())


def test_what_is_put_is_in_the_journal_and_when_it_has_landed_it_is_not(lake: Lake) -> None:
    async def work(writer: BatchCommitter) -> None:
        writer.put(made)
        assert noted(lake.home) == [(0, "yes")]
        await writer.flush()
        assert list((lake.home / "journal").iterdir()) == []

    made = outcome("i1")
    with_writer(lake, work)
    assert lake.rows("SELECT text FROM responses") == [{"text": "yes"}]


def test_a_commit_that_fails_leaves_the_journal_to_the_next_run(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> int:
        raise LakeFailure("the disk is full")

    made, later = outcome("i1"), outcome("i2")

    async def work(writer: BatchCommitter) -> None:
        writer.put(made)
        with pytest.raises(LakeFailure, match="the disk is full"):
            await writer.flush()
        with pytest.raises(LakeFailure, match="the disk is full"):  # and nothing continues as if it were committed
            writer.put(later)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append_batches", fail)
        with_writer(lake, work)
    assert waiting(lake.home) == 1
    assert recover(lake) == 1


def test_a_run_whose_answers_another_superseded_stops(lake: Lake) -> None:
    first, second = outcome("i1"), outcome("i1")
    assert first.attempts[0]["id"] != second.attempts[0]["id"]

    async def work(writer: BatchCommitter) -> None:
        lake.ledger.append({"responses": first.records}, first.attempts, run_id="other", step="s", fingerprint="f")
        writer.put(second)
        with pytest.raises(LakeFailure, match="another run committed 1 of the same requests first"):
            await writer.flush()

    with_writer(lake, work)


def test_a_reply_that_is_to_be_judged_is_noted_before_it_is(lake: Lake) -> None:
    async def judge(records: Sequence[Row]) -> Sequence[Row]:
        assert noted(lake.home) == [(0, "yes")]
        return records

    async def work(writer: BatchCommitter) -> None:
        hearing = GateBatch(writer, judge)
        hearing.add(0, made)
        assert noted(lake.home) == [(0, "yes")]
        await hearing.judged()
        await writer.flush()

    made = outcome("i1")
    with_writer(lake, work)
    assert lake.rows("SELECT state, final FROM attempts") == [{"state": "accepted", "final": True}]


class Halting(ScriptedEngine):
    """Answers each request for a thing with bad replies, and waits for ever with the last."""

    def __init__(self, bad: int) -> None:
        super().__init__(lambda prompt, sampling: "bad")
        self.bad, self.stuck = bad, asyncio.Event()

    async def generate(self, prompt: Any, sampling: Sampling) -> Completion:
        if len(self.calls) == self.bad:
            self.stuck.set()
            await asyncio.Event().wait()
        return await super().generate(prompt, sampling)


@pytest.mark.parametrize("judged", [False, True])
def test_a_try_that_does_not_parse_is_journalled_before_the_next_is_sent_and_not_sent_again(
    lake: Lake, judged: bool
) -> None:
    async def judge(records: Sequence[Row]) -> Sequence[Row]:
        return records

    async def until_killed() -> list[tuple[int, str]]:
        engine = Halting(2)
        work = asyncio.create_task(executor(lake).run_batch(STEP, ROWS[:1], engine, judge if judged else None))
        await engine.stuck.wait()
        found = noted(lake.home)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return found

    assert asyncio.run(until_killed()) == [(0, "bad"), (1, "bad")]
    again = ScriptedEngine(lambda prompt, sampling: "good", identity="scripted")
    records = asyncio.run(executor(lake).run_batch(STEP, ROWS[:1], again, judge if judged else None))
    assert [record["text"] for record in records] == ["good"]
    assert len(again.calls) == 1
    sent = lake.rows("SELECT try_number FROM attempts WHERE replayed_from IS NULL ORDER BY 1")
    assert sent == [{"try_number": n} for n in range(3)]


def test_records_that_do_not_fit_fail_their_own_row(lake: Lake) -> None:
    engine = ScriptedEngine(lambda prompt, sampling: "odd" if "thing 1" in str(prompt) else "good")
    made = executor(lake)
    records = asyncio.run(made.run_batch(STEP, ROWS, engine))
    assert [record["text"] for record in records] == ["good"] * 3
    (failed,) = lake.rows("SELECT reason, final, raw_text FROM attempts WHERE state = 'failed'")
    assert failed["reason"].startswith("the reply cannot be kept: responses.complete: got 7 (int), expected BOOLEAN")
    assert (failed["final"], failed["raw_text"]) == (True, "odd")
    assert made.tally.rejects["test.say"].total() == 1
    assert asyncio.run(executor(lake).run_batch(STEP, ROWS, engine)) != []
    assert len(engine.calls) == len(ROWS)


def test_an_answer_that_cannot_be_written_ends_the_run_and_those_before_it_are_kept(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lines = os.write, []

    def write(file: int, data: bytes) -> int:
        if b'"attempts"' in bytes(data):
            lines.append(file)
            if len(lines) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    made = executor(lake)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(LakeFailure, match="an answer could not be kept: No space left on device; make room"):
            asyncio.run(made.run_batch(STEP, ROWS, ScriptedEngine(["good"])))
    assert lake.rows("SELECT count(*) AS n FROM responses") == [{"n": 2}]
    assert isinstance(made.failure, LakeFailure)
    assert recover(lake) == 0


def test_a_call_that_a_dead_engine_left_is_kept(lake: Lake) -> None:
    with pytest.raises(EngineDown):
        asyncio.run(executor(lake).run_batch(STEP, ROWS[:1], ScriptedEngine(["bad"], down_after=1)))
    attempts = lake.rows("SELECT state, final FROM attempts ORDER BY try_number")
    assert attempts == [{"state": "unparsed", "final": False}, {"state": "failed", "final": False}]
