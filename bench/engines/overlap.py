"""A refresh keeps its engine busy: an answer and four rounds of critique and revision with heavy-tailed latencies.

    python bench/engines/overlap.py [--rows 400] [--places 64] [--rounds 5]
    python bench/engines/overlap.py --short 10000 100000

A row is nine requests, one after the other; the engine sleeps 0.06 s (half of them), 0.14 (30 %), 0.4 (15 %) or 1.04
(5 %), chosen by the request's seed, and takes `places` at once. The ideal is all that sleeping divided by the places.
`step by step` is the same code on the same lake, run so that every row is through a step before the next begins.
With `--short`, that many requests are answered at once: rows a second and peak memory, each in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from alignery.config.preset import Preset, build
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline
from alignery.pipeline.run import Run
from prompts import Message
from tasks.engines import Completion, Sampling
from tasks.step import Row
from warehouse import Lake

TAIL = (*[0.06] * 10, *[0.14] * 6, *[0.4] * 3, 1.04)  # seconds: a fifth of 0.3, 0.7, 2.0 and 5.2
CHAIN = 9


class Sleeper:
    """Answers after a time that the seed determines; records when each request was in flight."""

    identity = "sleeper"

    def __init__(self, places: int, tail: Sequence[float]) -> None:
        self._places, self._tail = asyncio.Semaphore(places), tail
        self.spans: list[tuple[float, float]] = []

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        async with self._places:
            began = time.perf_counter()
            assert sampling.seed is not None
            wait = self._tail[sampling.seed % len(self._tail)] if self._tail else 0.0
            await asyncio.sleep(wait)
            if self._tail:  # when memory is measured, nothing is recorded here
                self.spans.append((began, time.perf_counter()))
            return Completion(f"Some words, {sampling.seed} of them.", "stop", 50, 8, wait)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        raise AssertionError("no step of this chain is a choice")

    def ideal(self, places: int) -> float:
        """Seconds, if no place were ever free."""
        return sum(end - began for began, end in self.spans) / places

    def in_flight(self, until: float) -> float:
        """Mean requests in flight, from the first one sent until that share of all had been sent."""
        starts = sorted(began for began, _ in self.spans)
        first, last = starts[0], starts[int(until * len(starts)) - 1]
        busy = sum(max(0.0, min(end, last) - max(began, first)) for began, end in self.spans)
        return busy / (last - first)


def preset(rows: int, places: int) -> Preset:
    line = {"self_instruct": {"accept": rows}, "constitutional": {"rounds": 4}, "rows_in_flight": 4 * places}
    models = {"generator": {"engine": "scripted", "replies": ["unused"]}}
    return build({"name": "bench", "about": "overlap", "models": models, "line": line})


def instructions(rows: range) -> list[Row]:
    return [
        {"instruction_id": digest("bench", n), "instruction": f"Say what the number {n} means.", "topic": "numbers"}
        for n in rows
    ]


async def as_the_line(line: RefreshPipeline, rows: list[Row]) -> None:
    """Chunk after chunk, each row independently, as in `refresh`."""
    size = line.preset.line.chunk
    async with asyncio.TaskGroup() as group:
        for start in range(0, len(rows), size):
            group.create_task(line._walk_chunk(rows[start : start + size]))


async def step_by_step(line: RefreshPipeline, rows: list[Row]) -> None:
    """Every row through a step before the next step begins."""

    async def work() -> None:
        going = rows
        for stage in line.graph.stages:  # one chain
            step, engine = stage.step, line.runner.engine(stage)
            found = await asyncio.gather(*(line.executor.apply(step, row, engine) for row in going))
            going = [row for some in found for row in some]

    await line.executor.chunk("all", work)


@contextmanager
def a_line(rows: int, places: int, engine: Sleeper) -> Iterator[RefreshPipeline]:
    refresh_preset = preset(rows, places)
    with (
        TemporaryDirectory() as home,
        Lake.open(Path(home)) as lake,
        StepProgress(StringIO()) as progress,
        Run(lake, "refresh", refresh_preset) as run,
    ):
        yield RefreshPipeline(refresh_preset, Executor(lake, run, progress), {"generator": engine, "aligner": engine})
        run.end("finished", {})


def measure(walk: Callable[..., object], rows: int, places: int) -> tuple[float, float, float]:
    """Seconds from the first request to the end; the same over the ideal; mean in flight until 9 in 10 were sent."""

    async def main() -> tuple[float, float, float]:
        engine = Sleeper(places, TAIL)
        with a_line(rows, places, engine) as line:
            await walk(line, instructions(range(rows)))  # type: ignore[misc]
            ended = time.perf_counter()
            seconds = ended - min(began for began, _ in engine.spans)
            (answered,) = line.executor.lake.rows("SELECT count(*) AS n FROM revisions")
        assert answered["n"] == 4 * rows, "every row must have come to its end"
        return seconds, seconds / engine.ideal(places), engine.in_flight(0.9) / places

    return asyncio.run(main())


def short(requests: int) -> None:
    """One walk with answers at once: prints requests, seconds and peak memory (MiB) as JSON."""

    async def main() -> float:
        rows = requests // CHAIN
        with a_line(rows, 64, Sleeper(64, ())) as line:
            began = time.perf_counter()
            window = asyncio.Semaphore(4)

            async def chunk(start: int) -> None:
                async with window:
                    await line._walk_chunk(instructions(range(start, min(start + 256, rows))))

            await asyncio.gather(*(chunk(start) for start in range(0, rows, 256)))
            return time.perf_counter() - began

    seconds = asyncio.run(main())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"requests": requests, "seconds": seconds, "peak": peak}))


def shorts(counts: Sequence[int]) -> None:
    print("| requests | requests/s | peak memory, MiB |\n|---|---|---|")
    for count in counts:
        command = [sys.executable, __file__, "--one", str(count)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        print(f"| {count:,} | {count / found['seconds']:.0f} | {found['peak']:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--places", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, nargs="+")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return short(given.one)
    if given.short:
        return shorts(given.short)
    print(
        f"{given.rows} rows × {CHAIN} requests, {given.places} places, medians of {given.rounds} alternating rounds\n"
    )
    print("| walked | seconds | over the ideal | in flight until 9 in 10 were sent |\n|---|---|---|---|")
    sides = {"row by row": as_the_line, "step by step": step_by_step}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, walk in sides.items():
            found[name].append(measure(walk, given.rows, given.places))
    for name, rounds in found.items():
        seconds, over, full = (statistics.median(figures) for figures in zip(*rounds, strict=True))
        print(f"| {name} | {seconds:.1f} | {over:.2f} | {full:.2f} |")
    ours, theirs = ([one[0] for one in found[name]] for name in sides)
    print(f"\nSpeed-up: {statistics.median(b / a for a, b in zip(ours, theirs, strict=True)):.2f}")
    return None


if __name__ == "__main__":
    main()
