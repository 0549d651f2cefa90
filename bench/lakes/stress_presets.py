"""Two presets refreshed at once on Postgres and S3: `python bench/lakes/stress_presets.py`; the tests run a short form.

Four processes, two for each preset, run `alignery refresh` on one lake while random ones are killed with `kill -9`. The
second process of a preset waits until the first has ended or died, and goes on in its place. Two readers look for
partial commits all the time. Then the lake is compared with one on SQLite, on which the same presets were refreshed
once without kills: every row must be there once, and no request sent again whose answer was stored.

Rows are compared by all of their columns except those that belong to one call or run (`OWN`): its id, run and times;
where a reply came from, and its tokens, of which a replayed reply has none; and what the gate found nearest, because it
compares with the instructions that the other preset has by then. What the gate decides must be equal: the presets have
different topics, so that no instruction of one is a near-duplicate of one of the other's. Of the attempts the final
ones are compared: a kill may leave others.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/helpers")]

import alignery.config.methods  # noqa: E402, F401  # what lakes have by default
from bench.lakes.readers import partial_commits_query, reading  # noqa: E402
from bench.lakes.refreshes import TOPICS, Refreshes, write_preset  # noqa: E402
from warehouse import Lake, LakeLocation  # noqa: E402
from warehouse.health.doctor import doctor  # noqa: E402

# A fork server that was started before would not have the keys of S3.
PROCESSES = multiprocessing.get_context("spawn")
OWN = {"attempts": {"id", "latency_s", "tokens_in", "tokens_out", "tokens_cached", "replayed_from"}}
OWN |= {"instructions": {"similarity", "mean_similarity", "nearest"}}
OWN_OF_ALL = {"run_id", "created_at", "attempt_id"}
COMPARED = ("attempts", "finished", "rounds", "prompts")  # beside the records
EXPECTED = ("upkeep", "disk")  # warnings: files that killed writers left, and small ones; a machine with little room
LIMIT_S = 1800.0


@dataclass
class Figures:
    """What a stress did. All from `lost` on must be 0."""

    requests: int  # final attempts of the undisturbed lake
    kills: int  # of processes that had sent a request
    seconds: float
    reads: int  # of readers
    lost: int  # rows of the undisturbed lake that are missing
    extra: int  # rows that it does not have
    duplicated: int  # ids, or final attempts of a work key, that are there twice
    partial_commits: int
    partial_reads: int  # reads that saw a part of a commit
    asked_again: int  # requests sent although their answer was stored
    errors: int  # processes that ended with an error, unkilled
    doctor: int  # findings of `alignery doctor --deep`, without the warnings of `EXPECTED`

    @property
    def faults(self) -> dict[str, int]:
        return {name: count for name, count in list(asdict(self).items())[4:] if count}


def stress(folder: Path, catalog: str, data: str, *, accept: int, kills: int, seed: int = 7) -> Figures:
    """Run it all; see the module's docstring. S3's keys are in the environment."""
    plain, log = LakeLocation(folder / "plain"), folder / "log"
    shared = LakeLocation(folder / "shared", catalog, data)
    for each, lake in ((plain, {}), (shared, {"catalog": catalog, "data": data})):
        Lake.open(each).close()
        for name in TOPICS:
            write_preset(each.home, name, accept, lake)
    log.touch()
    undisturbed = Refreshes(folder / "undisturbed", plain.home)
    for name in TOPICS:
        undisturbed.start(name, plain.home / f"{name}.yaml")
        assert undisturbed.alive[name][1].wait() == 0, (folder / f"{name}.err").read_text()
    expected = rows_of(plain)
    requests = expected["attempts"].total()
    begun, refreshes = time.monotonic(), Refreshes(log, shared.home)
    filled = [table for table, rows in expected.items() if rows and table not in COMPARED]
    # Between reads a pause: the cores are for the refreshes.
    with reading(PROCESSES, shared, partial_commits_query(filled), pause_s=0.1) as read_counts:
        try:
            killed = _kill_at_random(refreshes, shared, requests, kills, random.Random(seed))
        finally:
            refreshes.end()
    seconds = time.monotonic() - begun
    for error in refreshes.errors:
        print(error, file=sys.stderr, flush=True)
    reads, partial = (sum(counts) for counts in zip(*read_counts, strict=True))
    found = {"requests": requests, "kills": killed, "seconds": seconds, "reads": reads, "partial_reads": partial}
    return Figures(**found, errors=len(refreshes.errors), **_examine(shared, log, expected))


def _kill_at_random(refreshes: Refreshes, place: LakeLocation, requests: int, kills: int, draw: random.Random) -> int:
    """Start them all, and kill, spread over the whole of the work; returns the kills of processes at work."""
    killed, end = 0, time.monotonic() + LIMIT_S
    for name in TOPICS:
        for number in range(2):
            refreshes.start(f"{name}-{number}", place.home / f"{name}.yaml")
    with Lake.open(place, read_only=True, threads=1) as lake:
        while refreshes.alive:
            refreshes.restart_failed()
            assert time.monotonic() < end, f"after {LIMIT_S:.0f} s these still run: {sorted(refreshes.alive)}"
            done = lake.rows("SELECT count(*) AS n FROM attempts WHERE final")[0]["n"] if killed < kills else 0
            if killed < kills and done >= killed * requests // (kills + 1) and refreshes.working():
                time.sleep(draw.uniform(0, 0.8))
                if running := sorted(refreshes.alive):
                    # Both that are at work, so that two take over at one time; or any one, which may be waiting.
                    killed += refreshes.kill(draw.choice([sorted(refreshes.working()), [draw.choice(running)]]))
            time.sleep(0.1)
    return killed


def _examine(place: LakeLocation, log: Path, expected: dict[str, Counter[str]]) -> dict[str, int]:
    found, stored, again = rows_of(place), set(), 0
    for what, _, *request in map(str.split, log.read_text().splitlines()):
        again += what == "sent" and tuple(request) in stored
        stored |= {tuple(request)} if what == "stored" else set()
    with Lake.open(place, read_only=True) as lake:
        ids = [(table, "id") for table in (*lake.schema.records, "attempts", "commits")]
        ids.append(("attempts WHERE final", "work_key"))
        twice = [f"SELECT count(*) - count(DISTINCT {column}) AS n FROM {table}" for table, column in ids]
        duplicated = sum(row["n"] for row in lake.rows(" UNION ALL ".join(twice)))
        partial = len(lake.rows(partial_commits_query(lake.schema.records)))
    findings = [one for one in doctor(place, deep=True) if one.state != "ok"]
    findings = [one for one in findings if one.state == "problem" or one.check not in EXPECTED]
    for one in findings:
        print(f"{one.state}: {one.check}: {one.what}", file=sys.stderr)
    return {
        "lost": sum((expected[table] - found[table]).total() for table in expected),
        "extra": sum((found[table] - expected[table]).total() for table in expected),
        "duplicated": duplicated,
        "partial_commits": partial,
        "asked_again": again,
        "doctor": len(findings),
    }


def rows_of(place: LakeLocation) -> dict[str, Counter[str]]:
    """The rows of each table, as far as they must be equal in two lakes of the same presets."""
    found = {}
    with Lake.open(place, read_only=True) as lake:
        for table in (*COMPARED, *lake.schema.records):
            names = [name for name in lake.schema.tables[table].names if name not in OWN_OF_ALL | OWN.get(table, set())]
            query = f"SELECT {', '.join(names)} FROM {table}" + (" WHERE final" if table == "attempts" else "")
            found[table] = Counter(json.dumps(row, sort_keys=True, default=str) for row in lake.rows(query))
    return found


def serve(ready: Any, stop: Any) -> None:
    """An S3 server in a process of its own."""
    from servers import s3

    with s3("lake") as environment:
        ready.put(environment)
        stop.wait()


def main() -> None:
    """Print the table of docs/guides/hosts.md."""
    from servers import postgres

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ready, stop = PROCESSES.Queue(), PROCESSES.Event()
        server = PROCESSES.Process(target=serve, args=(ready, stop), daemon=True)
        server.start()
        stack.callback(stop.set)
        os.environ |= ready.get(timeout=60)
        cluster = Path(tempfile.mkdtemp())  # the user postgres must be able to reach it
        stack.callback(shutil.rmtree, cluster, ignore_errors=True)
        catalog = stack.enter_context(postgres(cluster)).database("stress")
        found = stress(Path(folder), catalog, "s3://lake/stress", accept=100, kills=24)
    values = asdict(found) | {"seconds": f"{found.seconds:.0f}"}
    print("| " + " | ".join(name.replace("_", " ") for name in values) + " |\n|" + "---|" * len(values))
    print("| " + " | ".join(map(str, values.values())) + " |", flush=True)
    if found.faults or found.kills < 20:
        sys.exit(f"these must be 0: {found.faults or 'none of them is not'}; kills: got {found.kills}, expected 20")


if __name__ == "__main__":
    main()
