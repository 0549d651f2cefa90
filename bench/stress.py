"""Exactly once, under fire: `python bench/stress.py`, and the short form of it that the tests run.

Eight processes commit forty chunks each to one lake while they are killed with `kill -9` at random, at least a hundred
times in all; two readers read all along. Then every chunk that was acknowledged must be there once, none in part, none
twice, and no reader may ever have seen half a commit. On a SQLite catalog, and on a real Postgres.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import alignery.config.methods  # noqa: F401  # what lakes have by default
from bench.lakes.readers import partial_commits_query, reading
from warehouse import Lake, LakeLocation

ROWS = 20  # attempts of one chunk; each writes an instruction and an answer
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warehouse", "psycopg", "pandas"])

PARTIAL_COMMITS = partial_commits_query(["instructions", "responses"])  # the tables that the chunks write


@dataclass(frozen=True)
class Figures:
    """What a stress did. All of `lost`, `partial_commits`, `duplicated`, `missing` and `partial_reads` must be 0."""

    chunks: int
    kills: int
    seconds: float
    reads: int  # of readers
    lost: int  # acknowledged chunks of which a row is missing
    partial_commits: int  # commits that are there in part
    duplicated: int  # work keys, attempts or records that are there twice
    missing: int  # chunks that are not there in the end
    partial_reads: int  # reads that saw a part of a commit


def chunk_of(worker: int, number: int, run: str) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Records and attempts of one chunk of work. The calls are this run's own, the work is not."""
    stamp = {"created_at": datetime.now(UTC)}
    calls: list[dict[str, Any]] = []
    instructions: list[dict[str, Any]] = []
    responses: list[dict[str, Any]] = []
    for n in range(ROWS):
        key = f"w{worker}-c{number}-{n}"
        call = {"id": f"{key}-{run}", "work_key": key, "step": "stress.ask", "fingerprint": "f", "parents": []}
        call |= {"inputs": "{}", "prompt_id": "p", "prompt_hash": "h", "model": "m", "sampling": "{}", "seed": n}
        calls.append(call | {"try_number": 0, "state": "accepted", "final": True, "raw_text": "word " * 60} | stamp)
        record = {"parents": [], "attempt_id": call["id"], "work_key": key} | stamp
        instructions.append(
            {"id": f"i-{key}", "topic": "t", "text": f"ask {key}", "origin": "seed", "state": "accepted"} | record
        )
        responses.append(
            {"id": f"r-{key}", "instruction_id": f"i-{key}", "kind": "base", "text": "word " * 60} | record
        )
    return {"instructions": instructions, "responses": responses}, calls


def work(place: LakeLocation, worker: int, chunks: range, run: str, log: Path) -> None:
    """Commit what is not there yet, and note each chunk that was acknowledged."""
    acknowledged = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Lake.open(place) as lake:
        for number in chunks:
            records, calls = chunk_of(worker, number, run)
            if lake.ledger.unfinished([call["work_key"] for call in calls]):
                lake.ledger.append(records, calls, run_id=run, step="stress.ask", fingerprint="f")
            os.write(acknowledged, f"{worker} {number}\n".encode())


def stress(
    place: LakeLocation, log: Path, *, processes: int = 8, chunks: int = 40, kills: int = 100, seed: int = 7
) -> Figures:
    """Run it all; see the module's docstring."""
    draw, begun, killed = random.Random(seed), time.monotonic(), 0
    Lake.open(place).close()
    log.touch()
    with reading(PROCESSES, place, PARTIAL_COMMITS) as read_counts:
        workers = {n: _start(place, n, chunks, 0, log) for n in range(processes)}
        for number in range(1, kills + 1):
            # Spread over the whole of the work, and at a random moment within a chunk.
            _until(log, number * (processes * chunks) // (kills + 1), workers)
            time.sleep(draw.uniform(0, 0.08))
            if not (alive := [n for n, worker in workers.items() if worker.is_alive()]):
                break
            victim = draw.choice(alive)
            workers[victim].kill()
            workers[victim].join()
            killed += workers[victim].exitcode == -signal.SIGKILL
            workers[victim] = _start(place, victim, chunks, number, log)
        for worker in workers.values():
            worker.join()
            assert worker.exitcode == 0, "a worker that was not killed has failed; its output is above"
    reads, partial_reads = (sum(counts) for counts in zip(*read_counts, strict=True))
    found = {"chunks": processes * chunks, "kills": killed, "seconds": time.monotonic() - begun}
    return Figures(**found, reads=reads, partial_reads=partial_reads, **_examine(place, log, processes, chunks))


def _examine(place: LakeLocation, log: Path, processes: int, chunks: int) -> dict[str, int]:
    with Lake.open(place, read_only=True) as lake:
        keys = [row["work_key"] for row in lake.rows("SELECT work_key FROM attempts WHERE final")]
        there = {tuple(key.split("-")[:2]) for key in keys}
        whole = {
            chunk for chunk in there if not lake.ledger.unfinished([f"{chunk[0]}-{chunk[1]}-{n}" for n in range(ROWS)])
        }
        duplicated = len(keys) - len(set(keys))
        for table in ("attempts", "instructions", "responses", "commits"):
            duplicated += lake.rows(f"SELECT count(*) - count(DISTINCT id) AS n FROM {table}")[0]["n"]
        partial = len(lake.rows(PARTIAL_COMMITS))
    acknowledged = {(f"w{worker}", f"c{number}") for worker, number in map(str.split, log.read_text().splitlines())}
    missing = processes * chunks - len(whole)
    return {"lost": len(acknowledged - whole), "partial_commits": partial, "duplicated": duplicated, "missing": missing}


def _start(place: LakeLocation, worker: int, chunks: int, life: int, log: Path) -> Any:
    process = PROCESSES.Process(target=work, args=(place, worker, range(chunks), f"run-{worker}-{life}", log))
    process.start()
    return process


def _until(log: Path, chunks: int, workers: dict[int, Any]) -> None:
    """Wait until so many chunks were acknowledged, or all is done."""
    while len(set(log.read_text().splitlines())) < chunks and any(worker.is_alive() for worker in workers.values()):
        time.sleep(0.005)


def main() -> None:
    """Print the table of docs/guides/hosts.md."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests/helpers"))
    from servers import postgres

    names = ("catalog", "chunks", "kills", "seconds", "reads", "lost")
    print("| " + " | ".join((*names, "partial commits", "duplicated", "missing", "partial reads")) + " |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with postgres(Path(tempfile.mkdtemp())) as server:
            places = {
                "SQLite": LakeLocation(home / "sqlite"),
                "Postgres": LakeLocation(home / "pg", server.database("stress")),
            }
            for name, place in places.items():
                found = stress(place, home / f"{name}.log")
                values = [name, found.chunks, found.kills, f"{found.seconds:.0f}", found.reads, found.lost]
                values += [found.partial_commits, found.duplicated, found.missing, found.partial_reads]
                print("| " + " | ".join(map(str, values)) + " |", flush=True)
                if any((found.lost, found.partial_commits, found.duplicated, found.missing, found.partial_reads)):
                    sys.exit(json.dumps(found.__dict__))


if __name__ == "__main__":
    main()
