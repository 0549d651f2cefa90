"""When a run stops itself: too many rows refused, or a commit that failed."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from steps import run as ask
from works import Works

from alignery.pipeline.committer import BatchCommitter
from alignery.pipeline.executor import Executor, RejectLimitExceeded, run_inline
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from prompts import Library
from tasks.engines import Sampling, ScriptedEngine
from tasks.methods.respond import method as respond
from warehouse import Lake, LakeFailure
from warehouse.ledger import Ledger

STEP = respond.respond(Library(), respond.Config())


def rows(count: int) -> list[dict[str, str]]:
    return [{"instruction_id": f"i{n}", "instruction": f"Say {n}."} for n in range(count)]


def settle(works: Works, count: int, refused: int, limit: float) -> None:
    """Ask for so many rows, of which so many get an empty reply."""
    empty = iter([True] * refused + [False] * (count - refused))

    def speak(prompt: object, sampling: Sampling) -> str:
        return " " if next(empty) else "an answer"

    with Lake.open(works.home) as lake, StepProgress(StringIO()) as progress, Run(lake, "test", works.preset) as run:
        asyncio.run(
            Executor(lake, run, progress, run_inline, limit).run_batch(STEP, rows(count), ScriptedEngine(speak))
        )


@pytest.mark.parametrize(("count", "refused"), [(99, 99), (100, 20)])
def test_a_share_at_the_limit_or_of_too_few_rows_stops_nothing(works: Works, count: int, refused: int) -> None:
    settle(works, count, refused, 0.2)
    assert works.rows("SELECT count(*) AS n FROM responses") == [{"n": count - refused}]


def test_a_share_over_the_limit_stops_the_step_and_keeps_what_was_answered(works: Works) -> None:
    message = r"respond.answer: 21 of 100 rows .* limit of 20% \(line.reject_limit\): 21 × empty reply. Samples: "
    with pytest.raises(RejectLimitExceeded, match=message):
        settle(works, 100, 21, 0.2)
    assert works.rows("SELECT count(*) AS n FROM responses") == [{"n": 79}]


def test_after_a_commit_that_failed_nothing_more_is_taken(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run would ask on for answers that it cannot keep."""

    def full(*args: object, **named: object) -> int:
        raise LakeFailure("no room")

    async def work(lake: Lake, run: Run) -> None:
        writer = BatchCommitter(lake, run)
        first, second = [await ask(STEP, [row], ScriptedEngine(["so"])) for row in rows(2)]
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "append_batches", full)
            writer.put(first)
            with pytest.raises(LakeFailure, match="no room"):
                await writer.flush()
        with pytest.raises(LakeFailure, match="no room"):
            writer.put(second)

    with Lake.open(works.home) as lake, Run(lake, "test", works.preset) as run:
        asyncio.run(work(lake, run))
