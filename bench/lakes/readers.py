"""Processes that read a lake while others write to it, and count the reads that saw a part of a commit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from warehouse import Lake, LakeLocation

READERS = 2


def partial_commits_query(records: Iterable[str]) -> str:
    """The commits whose counts are not those of the rows that came with them.

    One statement, hence one snapshot.
    """
    came = [f"SELECT snapshot_id, 0 AS attempts, 1 AS records FROM {table}" for table in records]
    came.append("SELECT snapshot_id, 1, 0 FROM attempts")
    came.append("SELECT snapshot_id, -attempts, -records FROM commits")
    sums = "sum(attempts) <> 0 OR sum(records) <> 0"
    return f"SELECT snapshot_id FROM ({' UNION ALL '.join(came)}) GROUP BY snapshot_id HAVING {sums}"


@contextmanager
def reading(processes: Any, place: LakeLocation, query: str, pause_s: float = 0.0) -> Iterator[list[tuple[int, int]]]:
    """Read until the block ends; then the list has each reader's reads, and those that saw a part of a commit.

    Args:
        processes: a context of multiprocessing.
        query: has rows where a commit is there in part.
        pause_s: after each read, so that the cores are for the writers.
    """
    counts: list[tuple[int, int]] = []
    stop, results = processes.Event(), processes.Queue()
    readers = [processes.Process(target=_read, args=(place, query, pause_s, stop, results)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        yield counts
    finally:
        stop.set()
        counts += [results.get(timeout=120) for _ in readers]
        for reader in readers:
            reader.join()


def _read(place: LakeLocation, query: str, pause_s: float, stop: Any, results: Any) -> None:
    reads = partial = 0
    with Lake.open(place, read_only=True, threads=1) as lake:
        while not stop.is_set():
            partial += bool(lake.rows(query))
            reads += 1
            time.sleep(pause_s)
    results.put((reads, partial))
