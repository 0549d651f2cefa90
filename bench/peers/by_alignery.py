"""Alignery: the line of `refresh` over given instructions, in a Prefect flow, with an engine, a lake and a run.

Nothing is tuned: the chunk, the rows in flight and the engine are those of the preset `server`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from load import IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, report

from alignery.config.preset import Preset, build
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, raise_first
from alignery.pipeline.run import Run, exclusive_run
from flows.shared_server import use_or_start_server
from tasks.engines import Sampling
from tasks.engines.lazy import open_lazily
from tasks.stage import Stage
from tasks.step import Row


class Given(AbstractAsyncContextManager["Given"]):
    """Given instructions, in place of those that a line writes."""

    all = ()

    async def __aexit__(self, *fault: object) -> None:
        """There is nothing to close."""

    def __init__(self, texts: list[str], chunk: int) -> None:
        self.texts, self.chunk = texts, chunk
        self.stages: dict[str, Stage] = {}

    async def write(self, chunks: asyncio.Queue[list[Row] | None], group: asyncio.TaskGroup) -> None:
        rows = [{"instruction_id": digest(text), "instruction": text, "topic": None} for text in self.texts]
        for start in range(0, len(rows), self.chunk):
            await chunks.put(rows[start : start + self.chunk])
        await chunks.put(None)


def preset(job: Job) -> Preset:
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
    line = {"self_instruct": {"accept": job.rows, "max_candidates": job.rows}, "respond": {"sampling": sampling}}
    if job.steps == 3:  # answer, critique, revision
        line |= {"constitutional": {"rounds": 1, "sampling": sampling}}
    engine = {"engine": "openai", "base_url": job.url, "model": MODEL, "in_flight": IN_FLIGHT}
    return build({"name": "peers", "about": "the bench", "models": {"generator": engine}, "line": line})


async def walk(job: Job) -> None:
    from flows.refresh import as_task_run  # and with it Prefect, so that its server need not wait for that

    refresh_preset = preset(job)
    async with (
        exclusive_run(refresh_preset.place(job.folder / "lake"), "refresh", schema=refresh_preset.lake_schema) as lake,
        open_lazily(refresh_preset.spec("generator")) as engine,
    ):
        with StepProgress() as progress, Run(lake, "refresh", refresh_preset) as run:
            executor = Executor(lake, run, progress, as_task_run, refresh_preset.line.reject_limit)
            line = RefreshPipeline(refresh_preset, executor, {"generator": engine})
            line.writing = Given(job.instructions(), refresh_preset.line.chunk)  # type: ignore[assignment]
            run.words = line.words()
            with raise_first():
                await line.walk()
            run.end("finished", {})
        written_at = time.time()
        table = "responses" if job.steps == 1 else "revisions"
        texts = {row["instruction_id"]: row["text"] for row in lake.rows(f"SELECT instruction_id, text FROM {table}")}
        reasons = lake.rows("SELECT count(*) AS n FROM attempts WHERE state = 'failed' AND reason LIKE '%I refuse%'")
    results = {text: texts[digest(text)] for text in job.instructions() if digest(text) in texts}
    report(job, "alignery", written_at, results, reasons[0]["n"])


if __name__ == "__main__":
    wait_until_ready = use_or_start_server(Path.home())  # as the command does; its database is made once for all runs
    from prefect import flow

    wait_until_ready()
    asyncio.run(flow(name="peers")(walk)(job()))
