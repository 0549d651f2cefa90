"""Does memory grow with the table? Peak resident memory and seconds, each measured in a process of its own.

    OMP_NUM_THREADS=1 python bench/memory.py [--instructions 100000 1000000] [--lakes FOLDER]

A lake of N instructions is written through `Lake.append`, each with a first answer, a principled answer, a revision and
a correction, in texts of 200 to 1,500 characters that share no line, and with the attempts that wrote them. A lake that
is already in FOLDER is reused. ALIGNERY_MEMORY limits DuckDB's memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from warehouse import Lake
from warehouse.database.connection import MEMORY
from warehouse.export.export import export
from warehouse.query.snapshots import release_of

Row = dict[str, Any]
CHUNK = 5_000  # instructions a commit
START = datetime(2026, 1, 1, tzinfo=UTC)
COMMON: Row = {"step": "bench.write", "fingerprint": "bench", "parents": [], "inputs": "{}", "prompt_id": "bench/write"}
COMMON |= {"prompt_hash": "bench", "model": "bench", "sampling": "{}", "seed": 1, "try_number": 0, "final": True}
COMMON |= {"state": "accepted", "finish_reason": "stop", "tokens_in": 100, "tokens_out": 100, "latency_s": 1.0}


class Texts:
    """Slices of one long random text, each under a number of its own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        letters = "eeeeeettttaaaooiinnsshhrrddlluccmmwwffggyyppbbvk"
        words = ["".join(self.random.choices(letters, k=self.random.randint(2, 9))) for _ in range(20_000)]
        self.long = " ".join(self.random.choices(words, k=500_000))

    def take(self, shortest: int, longest: int) -> str:
        begin = self.random.randrange(len(self.long) - longest)
        return self.long[begin : begin + self.random.randint(shortest, longest)]


def build(home: Path, count: int) -> None:
    """Write the lake, chunk by chunk."""
    texts = Texts(count)
    with Lake.open(home) as lake:
        for begin in range(0, count, CHUNK):
            records: dict[str, list[Row]] = {"instructions": [], "responses": [], "revisions": [], "corrections": []}
            attempts: list[Row] = []
            for number in range(begin, min(begin + CHUNK, count)):
                for table, row in chain(number, texts):
                    records[table].append(row)
                    attempts.append(attempt(row))
            lake.ledger.append(records, attempts, run_id="bench", step="bench.write", fingerprint="bench")


def chain(number: int, texts: Texts) -> Iterator[tuple[str, Row]]:
    """One instruction and everything made from it."""
    ask, first, principled, revised, corrected = (
        hashlib.blake2b(f"{number}-{part}".encode(), digest_size=16).hexdigest() for part in range(5)
    )
    words = {"topic": "bench", "origin": "self_instruct", "state": "accepted"}
    yield "instructions", record(ask, f"{number}: {texts.take(200, 500)}", [], **words)
    of = {"instruction_id": ask}
    yield "responses", record(first, texts.take(200, 1500), [ask], **of, kind="base")
    yield "responses", record(principled, texts.take(200, 1500), [ask], **of, kind="principled")
    of |= {"response_id": first}
    rule = {"principle_id": "bench", "principle_hash": "bench", "round": 1, "target_id": first, "critique_id": first}
    yield "revisions", record(revised, texts.take(200, 1500), [first], **of, **rule, changed=True)
    yield "corrections", record(corrected, texts.take(200, 1500), [first], **of, template_id="bench", is_copy=False)


def record(id: str, text: str, parents: list[str], **fields: Any) -> Row:
    common = {"id": id, "text": text, "parents": parents, "attempt_id": f"a{id}", "work_key": f"w{id}"}
    return common | {"created_at": START} | fields


def attempt(wrote: Row) -> Row:
    return COMMON | {
        "id": wrote["attempt_id"],
        "work_key": wrote["work_key"],
        "raw_text": wrote["text"],
        "created_at": START,
    }


def measure(task: str, home: Path) -> Row:
    """Run one task in a process of its own; its rows, peak resident memory (MiB) and seconds."""
    done = subprocess.run(
        [sys.executable, __file__, "--task", task, "--lakes", home], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def export_one(shape: str, home: Path) -> int:
    """Export one shape, as `alignery export` does; returns its rows."""
    with Lake.open(home, read_only=True) as lake:
        release = release_of(lake, str(lake.snapshot()))
    with TemporaryDirectory(dir=home) as out, Lake.open(home, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, [shape], Path(out) / "export", release=release, licences={})
    return sum(done.rows[shape].values())


def refresh(home: Path) -> int:
    """A refresh of 64 new instructions and their answers, from an engine that answers at once; returns its requests."""
    import asyncio
    from io import StringIO

    from alignery.config.preset import build
    from alignery.pipeline.executor import Executor
    from alignery.pipeline.progress import StepProgress
    from alignery.pipeline.refresh import RefreshPipeline
    from alignery.pipeline.run import Run
    from tasks.engines import Sampling, ScriptedEngine

    texts = Texts(time.time_ns())

    def speak(prompt: Any, sampling: Sampling) -> str:
        words = [f"Say what this means: {texts.take(200, 300)}" for _ in range(7)]
        return "\n".join(f"{number}. {item}" for number, item in enumerate(words, 1))

    line: dict[str, dict[str, Any]] = {
        "self_instruct": {"accept": 64, "max_candidates": 640, "requests_per_round": 16, "max_words": 400}
    }
    line["self_instruct"]["sampling"] = {"max_tokens": 1024 + time.time_ns() % 100_000}  # never requested before
    models = {"generator": {"engine": "scripted", "replies": [f"{time.time_ns()}"]}}
    preset = build({"name": "bench", "about": "memory", "models": models, "line": line})
    engine = ScriptedEngine(speak)
    with Lake.open(home) as lake, StepProgress(StringIO()) as progress, Run(lake, "refresh", preset) as run:
        executor = Executor(lake, run, progress)
        asyncio.run(RefreshPipeline(preset, executor, {"generator": engine, "aligner": engine}).walk())
        run.end("finished", {})
    return executor.tally.sent


# What is measured: a function of a lake's home, run in a process of its own; it returns how many rows it handled.
TASKS = {f"export {shape}": partial(export_one, shape) for shape in ("sft", "preferences", "qac")}
TASKS["refresh"] = refresh


def run(task: str, home: Path) -> None:
    """What the process of its own does: the task, and its figures as JSON."""
    begun = time.perf_counter()
    rows = TASKS[task](home)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "peak": peak, "seconds": seconds}))


def main() -> None:
    """Build the missing lakes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--lakes", type=Path, default=Path(gettempdir()) / "alignery-memory")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        return run(given.task, given.lakes)
    print(f"DuckDB may hold {os.environ.get('ALIGNERY_MEMORY', MEMORY)} before it goes on in temporary files.\n")
    print("| task | instructions | rows | peak memory, MiB | seconds |\n|---|---|---|---|---|")
    for count in given.instructions:
        home = given.lakes / str(count)
        if not home.exists():
            half = given.lakes / f".{count}"
            shutil.rmtree(half, ignore_errors=True)
            build(half, count)
            half.rename(home)
        for task in TASKS:
            found = measure(task, home)
            figures = (f"{found['rows']:,}", f"{found['peak']:.0f}", f"{found['seconds']:.0f}")
            print(f"| {task} | {count:,} | {' | '.join(figures)} |", flush=True)
    return None


if __name__ == "__main__":
    main()
