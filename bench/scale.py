"""What a lake that grows every night costs the next refresh, and what a large pool costs the gate: ratios in one run.

    OMP_NUM_THREADS=1 python bench/scale.py [refresh] [gate] [halves] [--finished 10000 100000] [--pool 1000000]

`refresh`: lakes of so many finished instructions, nine attempts each, written through the ledger. A refresh with
nothing to do; and one that adds 500, beside the same on an empty lake, with an engine that answers at once and with one
that answers 64 requests in a quarter of a second each (as some thirty GPUs with an 8B model). Each in a process of its
own.

`gate`: candidates against a pool of so many texts, beside RapidFuzz over all of it; in one process and in two.
`halves`: what each of two processes has to do of it, measured without them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from alignery.config.preset import Preset, build
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, raise_first
from alignery.pipeline.run import Run
from bench.data.dedup import Texts, words
from prompts import Message
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Sampling, ScriptedEngine
from tasks.filters.pools import _BLOCK, DividedPool
from tasks.filters.rouge import RougePool
from warehouse import Lake
from warehouse.maintenance import maintain

ADDED, PLACES, PACES = 500, 64, (0.0, 0.25)
WORDS = words()
COUNT, CALLS = 6, 9  # candidates of a request; attempts of an instruction
NOW = datetime.now(UTC)


def preset(accept: int) -> Preset:
    line = {
        "self_instruct": {"accept": accept, "max_candidates": 10 * accept + 10_000, "count": COUNT},
        "respond": {},
        "self_align": {},
        "constitutional": {"rounds": 3},
        "aligner": {},
    }
    models = {"generator": {"engine": "scripted", "replies": ["unused"]}}
    return build({"name": "scale", "about": "a bench", "models": models, "line": line})


def speak(prompt: str | list[Message], sampling: Sampling) -> str:
    """Instructions of words as often as in our seeds, or some words."""
    draw = random.Random(sampling.seed)
    if sampling.presence_penalty:
        return "\n".join(f"{n}. {' '.join(draw.choices(WORDS, k=draw.randint(12, 20)))}" for n in range(1, COUNT + 1))
    return "I follow rule 1 (ethical). Answer: " + " ".join(draw.choices(WORDS, k=40))


def pipeline(lake: Lake, run: Run, made: Preset, latency: float) -> RefreshPipeline:
    engine = MeteredEngine(ScriptedEngine(speak, latency_s=latency), Budget(), PLACES)
    executor = Executor(lake, run, StepProgress(StringIO()), reject_limit=1.0)
    return RefreshPipeline(made, executor, dict.fromkeys(("generator", "aligner", "judge"), engine))


def fill(home: Path, count: int) -> None:
    """A lake of so many instructions that are finished, in rounds of 64 requests."""
    draw, size = random.Random(count), 64 * COUNT
    with Lake.open(home) as lake:
        line = pipeline(lake, Run(lake, "refresh", preset(count)), preset(count), 0)
        source, topics = line.writing.instructions, line.library.topics()
        assert source
        fingerprints = [(s.step.name, s.step.fingerprint(line.runner.engine(s)), s.step.prompt) for s in line.stages]
        prints = (fingerprints * CALLS)[:CALLS]
        for first in range(0, count, 24_960):
            ids = [digest("i", n) for n in range(first, min(first + 24_960, count))]
            texts = [" ".join(draw.choices(WORDS, k=draw.randint(12, 20))) for _ in ids]
            attempts = pa.concat_tables([_attempts(ids, place, prints[place]) for place in range(CALLS)])
            records = {"instructions": _instructions(ids, texts, topics)}
            lake.ledger.append(records, attempts, run_id="r", step="bench", fingerprint=prints[0][1])
            finished = [{"instruction_id": id, "walk_key": line.finished.walk_key, "requests": CALLS} for id in ids]
            rounds = [
                {
                    "source_key": source.key,
                    "round": (first + at) // size,
                    "requests": 64,
                    "candidates": size,
                    "topics": [topics[n % len(topics)] for n in range(64)],
                    "accepted": ids[at : at + size],
                }
                for at in range(0, len(ids), size)
            ]
            lake.ledger.write_tables({"finished": finished, "rounds": rounds}, run_id="r", message="bench")
        maintain.apply(lake)


def _attempts(ids: Sequence[str], place: int, of: tuple[str, str, Any]) -> pa.Table:
    step, fingerprint, prompt = of
    calls = [digest(id, place) for id in ids]
    same = {"step": step, "fingerprint": fingerprint, "prompt_id": prompt.id, "prompt_hash": prompt.hash}
    same |= {"inputs": "{}", "model": "scripted", "sampling": "{}", "state": "accepted", "finish_reason": "stop"}
    same |= {"raw_text": " ".join(WORDS[:40])}
    columns: dict[str, Any] = {name: pa.array([text] * len(ids)) for name, text in same.items()}
    columns |= {"id": calls, "work_key": [call[::-1] for call in calls], "request_key": [call[5:] for call in calls]}
    columns |= {"parents": [[id] for id in ids], "final": [True] * len(ids)}
    columns |= {"try_number": pa.array([0] * len(ids), pa.int32()), "created_at": _when(len(ids))}
    return pa.table(columns)


def _instructions(ids: Sequence[str], texts: Sequence[str], topics: Sequence[str]) -> pa.Table:
    columns: dict[str, Any] = {"id": ids, "text": texts, "work_key": ids, "state": ["accepted"] * len(ids)}
    columns |= {"topic": [topics[n % len(topics)] for n in range(len(ids))], "origin": ["self_instruct"] * len(ids)}
    columns |= {"parents": pa.array([[]] * len(ids), pa.list_(pa.string())), "created_at": _when(len(ids))}
    return pa.table(columns)


def _when(count: int) -> pa.Array:
    return pa.array([NOW] * count, pa.timestamp("us", tz="UTC"))


def refresh(home: str, accept: int, latency: float) -> None:
    """In a process of its own: one refresh; prints its figures as JSON."""
    begun = time.perf_counter()
    with Lake.open(Path(home), threads=1) as lake, Run(lake, "refresh", preset(accept)) as run:
        opened, used = time.perf_counter(), time.process_time()
        line = pipeline(lake, run, preset(accept), latency)

        async def walk() -> None:
            with raise_first():
                await line.walk()

        asyncio.run(walk())
        run.end("finished", {})
        tally, ended, used = line.executor.tally, time.perf_counter(), time.process_time() - used
    peak = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    found = {"open": opened - begun, "seconds": ended - opened, "cpu": used, "sent": tally.sent, "saved": tally.saved}
    print(json.dumps(found | {"memory": int(peak.split()[1]) // 1024, "reached": line.reached}))


def measured(home: Path, accept: int, latency: float) -> dict[str, Any]:
    code = f"from bench.scale import refresh; refresh({str(home)!r}, {accept}, {latency})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def refreshes(sizes: Sequence[int], folder: Path) -> None:
    heads = ["finished", "opening, s", "nothing to do, s", "CPU, s", "memory, MiB"]
    heads += ["500 more, CPU s", "of an empty lake", "paced: 500 more, s", "of an empty lake"]
    print(f"| {' | '.join(heads)} |\n{'|---' * 9}|")
    empty = {pace: measured(folder / f"empty-{pace}", ADDED, pace) for pace in PACES}
    for size in sizes:
        home = folder / str(size)
        fill(home, size)
        idle = measured(home, size, 0.0)
        assert (idle["sent"], idle["reached"]) == (0, size)
        cells = [f"{size:,}", *(f"{idle[name]:.1f}" for name in ("open", "seconds", "cpu")), str(idle["memory"])]
        for number, (pace, what) in enumerate(zip(PACES, ("cpu", "seconds"), strict=True), 1):
            more = measured(home, size + number * ADDED, pace)
            cells += [f"{more[what]:.1f}", f"{more[what] / empty[pace][what]:.2f} ×"]
        print(f"| {' | '.join(cells)} |", flush=True)


def gate(size: int) -> None:
    """Milliseconds a candidate, best of three: all pairs by RapidFuzz, and a pool in one process and in two."""
    source = Texts(WORDS, 6)
    asked, texts = source.take(256), source.take(size)
    begun = time.perf_counter()
    one = RougePool(texts, threads=1)
    filled = time.perf_counter() - begun
    two = DividedPool(2)
    for text in texts:
        two.add(text)
    two.compare(asked[:1])
    few, coded = ([one._encode(text) for text in some] for some in (asked[:64], texts))

    def all_pairs() -> int:
        for first in range(0, size, 50_000):
            some = coded[first : first + 50_000]
            cdist(few, some, scorer=Indel.normalized_similarity, dtype=np.float64, workers=-1)
        return len(few)

    def of_pool(pool: RougePool | DividedPool) -> int:
        for first in range(0, len(asked), 64):
            pool.compare(asked[first : first + 64], 0.7)
        return len(asked)

    ways = (all_pairs, lambda: of_pool(one), lambda: of_pool(two))
    best = [(float("inf"), float("inf"))] * len(ways)  # wall, CPU of this process
    for _ in range(3):
        for place, way in enumerate(ways):
            begun, used = time.perf_counter(), time.process_time()
            count = way()
            found = (1e3 * (time.perf_counter() - begun) / count, 1e3 * (time.process_time() - used) / count)
            best[place] = min(best[place], found)
    (every, cpu), (alone, alone_cpu), (both, _) = best
    print("| pool | filled, s | all pairs, ms | CPU | one process | CPU | two | one of all pairs, CPU | two of one |")
    print("|---|---|---|---|---|---|---|---|---|")
    figures = [f"{one:.1f}" for one in (every, cpu, alone, alone_cpu, both)]
    print(f"| {size:,} | {filled:.0f} | {' | '.join(figures)} | {cpu / alone_cpu:.1f} × | {alone / both:.2f} × |")


def halves(size: int) -> None:
    """CPU milliseconds a candidate of a pool, and of each of its parts in two processes, one after the other in this
    one: the best of twelve, so that other processes hardly count."""
    source = Texts(WORDS, 6)
    asked, texts = source.take(128), source.take(size)
    found = []
    parts = [[text for place, text in enumerate(texts) if place // _BLOCK % 2 == part] for part in (0, 1)]
    for some in (texts, *parts):
        pool, best = RougePool(some, threads=1), [float("inf")] * 4
        for _ in range(12):
            for number in range(4):
                begun = time.process_time()
                pool.compare(asked[32 * number : 32 * number + 32], 0.7)
                best[number] = min(best[number], time.process_time() - begun)
        found.append(1e3 * sum(best) / len(asked))
    whole, *each = found
    print("| pool | whole, CPU ms | in parts | whole of the slower part |\n|---|---|---|---|")
    print(f"| {size:,} | {whole:.2f} | {' and '.join(f'{part:.2f}' for part in each)} | {whole / max(each):.2f} × |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["refresh", "gate"])
    parser.add_argument("--finished", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--pool", type=int, default=1_000_000)
    given = parser.parse_args()
    if "refresh" in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            refreshes(given.finished, Path(folder))
    if "gate" in given.parts:
        gate(given.pool)
    if "halves" in given.parts:
        halves(given.pool)


if __name__ == "__main__":
    main()
