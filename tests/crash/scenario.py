"""A small life of a lake, in phases: made, refreshed, tagged, published, kept up, recovered, and a model trained.

Each phase may be run again after it was broken off, and then does what is left. The engine notes each answer in a file
as it gives it, so that what was answered is known whatever became of the process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alignery.config.preset import build
from alignery.errors import AligneryError
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run, exclusive_run
from prompts import Library, Message
from tasks.engines import Completion, Sampling
from tasks.step import ParseError, Row, Step
from tasks.train import checkpoint_dir
from warehouse import Lake, LakeLocation
from warehouse.export.publish import publish
from warehouse.export.publish import tag as name_snapshot
from warehouse.journal import Journal
from warehouse.ledger import Batch
from warehouse.maintenance import maintain

ROWS = 4
LINE = {"self_instruct": {"accept": ROWS}}
MODELS = {"generator": {"engine": "scripted", "replies": ["x"]}}
PRESET = build({"name": "crash", "about": "crash points", "line": LINE, "models": MODELS})


class Noting:
    """Answers at once; a third of the replies do not parse. Each is in `log` before it is given."""

    identity = "noting"

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        await asyncio.sleep(0)
        text = digest(prompt, sampling.seed)
        text = ("bad " if int(text[:2], 16) % 3 == 0 else "good ") + text
        os.write(self._log, f"{text}\n".encode())
        return Completion(text, "stop", 5, 5, 0.0)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        raise AssertionError("nothing is chosen here")


def step(name: str, table: str, parents: tuple[str, ...], fields: Row, carried: str) -> Step:
    def read(reply: str, row: Row) -> Sequence[Row]:
        if reply.startswith("bad"):
            raise ParseError("a bad reply")
        return [fields | {"text": reply}]

    return Step(
        name=f"crash.{name}",
        table=table,
        prompt=Library().prompt("respond/answer"),
        sampling=Sampling(),
        parents=parents,
        variables=lambda row: {"instruction": f"{name} {row['about']}"},
        read=read,
        key_fields=lambda row: {"about": row["about"]},
        next_row=lambda row, record: row | {carried: record["id"]},
        retries=6,
    )


WRITE = step(
    "write", "instructions", (), {"topic": "t", "origin": "self_instruct", "state": "accepted"}, "instruction_id"
)
ANSWER = step("answer", "responses", ("instruction_id",), {"kind": "base"}, "response_id")
CORRECT = step(
    "correct", "corrections", ("instruction_id", "response_id"), {"template_id": "t", "is_copy": False}, "correction_id"
)  # fmt: skip


def make(place: LakeLocation, beside: Path) -> None:
    Lake.open(place, threads=1).close()


def refresh(place: LakeLocation, beside: Path) -> None:
    """A gated round of instructions, then two chunks of answers with their corrections."""
    engine = Noting(beside / "answered")

    async def judge(records: Sequence[Row]) -> Sequence[Row]:
        return records

    async def main() -> None:
        async with exclusive_run(place, "refresh") as lake:
            with Run(lake, "refresh", PRESET) as run, StepProgress(StringIO()) as progress:
                executor = Executor(lake, run, progress)
                made = await executor.run_batch(WRITE, [{"about": f"a{n}"} for n in range(ROWS)], engine, judge)
                rows = [{"about": record["text"], "instruction_id": record["id"]} for record in made]

                async def one(row: Row) -> None:
                    for answered in await executor.apply(ANSWER, row, engine):
                        await executor.apply(CORRECT, answered, engine)

                async def chunk(rows: list[Row]) -> None:
                    await executor.chunk("chunk", lambda: executor.gather(*map(one, rows)))

                await asyncio.gather(chunk(rows[: ROWS // 2]), chunk(rows[ROWS // 2 :]))
                run.end("finished", {})

    asyncio.run(main())


def tag(place: LakeLocation, beside: Path) -> None:
    with Lake.open(place, threads=1) as lake:
        there = lake.rows("SELECT snapshot_id AS id FROM tags WHERE name = 'first'")
        name_snapshot(lake, "first", there[0]["id"] if there else lake.snapshot(), run_id="tagging")


def release(place: LakeLocation, beside: Path) -> None:
    with Lake.open(place, threads=1) as lake:
        publish(lake, "v1", beside / "exports", models={}, run_id="publishing")


def keep_up(place: LakeLocation, beside: Path) -> None:
    """Merge, expire and delete, as if a day had passed."""
    maintain.FEW, maintain.MINIMUM_AGE, maintain._DAY = 1, timedelta(0), timedelta(0)
    with Lake.open(place, threads=1) as lake:
        maintain.apply(lake, keep=timedelta(0), age=timedelta(0))


def leave(place: LakeLocation, beside: Path) -> None:
    """What a killed run leaves: two answers and half a line. (Done once, before `take_in`.)"""
    from steps import run

    row = [{"about": f"left {n}", "instruction_id": f"left-{n}"} for n in range(2)]
    made = asyncio.run(run(ANSWER, row, Noting(beside / "answered")))
    left = Journal(place.home, "killed")
    left.write(Batch(ANSWER.name, made.fingerprint, {"responses": made.records}, made.attempts))
    file = left.turn()
    assert file is not None
    file.write(b'{"step": "crash.ans')
    file.close()


def take_in(place: LakeLocation, beside: Path) -> None:
    async def main() -> None:
        async with exclusive_run(place, "refresh"):
            pass

    asyncio.run(main())


def train(place: LakeLocation, beside: Path) -> None:
    """The folder in which a model is made, without the model."""
    checkpoint_dir.processes_state = lambda: SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None)
    out = beside / "model"
    if not out.exists():
        try:
            with checkpoint_dir.work_folder(out, "job") as folder:
                (folder.path / "weights").write_text("whole")
        except OSError as error:  # which `python -m tasks.train` tells as a sentence
            raise AligneryError(str(error)) from error


Phase = Callable[[LakeLocation, Path], None]
PHASES: dict[str, Phase] = {
    "make": make,
    "refresh": refresh,
    "tag": tag,
    "publish": release,
    "maintain": keep_up,
    "recover": take_in,
    "train": train,
}


def state(lake: Lake, beside: Path) -> dict[str, Any]:
    """What a phase that is done has left, whatever happened on the way."""
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in ("instructions", "corrections"))
    found: dict[str, Any] = lake.rows(f"SELECT {counts}, (SELECT list(name) FROM tags) AS tags")[0]
    sent = lake.rows("SELECT raw_text FROM attempts WHERE replayed_from IS NULL AND raw_text IS NOT NULL")
    return found | {
        "replies": [row["raw_text"] for row in sent],
        "tags": found["tags"] or [],
        "model": (beside / "model/weights").exists(),
        "drafts": [str(path) for path in beside.glob("exports/.*")],
    }
