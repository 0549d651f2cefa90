"""A user's own data as a source of instructions: read in batches, judged, committed, and passed on chunk by chunk.

What the lake has keeps its verdict, so a run that is repeated reads the data again and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from alignery.pipeline.finished import FinishedWork
from alignery.pipeline.source import Chunks
from alignery.untrusted import excerpt
from tasks import datafiles
from tasks.datafiles import DataFileError, DataRow
from tasks.methods.prompts import method as prompts
from tasks.methods.prompts.method import Entry
from tasks.methods.prompts.templates import Template, templated
from tasks.step import Row
from warehouse import Lake, LakeUsageError
from warehouse.ledger import Batch
from warehouse.query.snapshots import resolve

BATCH = 4096  # rows that are read, judged and committed at once; our choice
STEP = "prompts.read"
_FIRST = 100  # rows of a file that are read to check it; our choice


@dataclass
class Counts:
    """What was read of one entry, as recorded in the run's totals."""

    origin: str
    source: str
    sha256: str  # of the bytes that were read; of a lake, its snapshot
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    earlier: int = 0  # rejected rows whose verdict is an earlier run's
    new: int = 0  # rows that the lake did not have
    repeated: int = 0  # accepted rows with a prompt of an earlier row; their answers and pairs are still used
    incomplete: int = 0  # accepted rows without the answer, correction or pair that the entry's columns name


class OwnData:
    """All entries of `line.prompts`, one after the other.

    Args:
        judge: judges candidates as the other sources' are; for entries without a gate, only contamination.
        template: the hash of the words that corrections are asked in.
    """

    name = "prompts"
    short = None  # it has no target that it could miss

    def __init__(
        self,
        entries: Sequence[Entry],
        finished: FinishedWork,
        executor: Executor,
        judge: Callable[[Sequence[Row], bool], Sequence[Row]],
        allowed: Callable[[Row], bool],
        template: str,
    ) -> None:
        self._entries, self._finished, self._executor = entries, finished, executor
        self._judge, self._allowed, self._template = judge, allowed, template
        self.counts: list[Counts] = []
        self.is_target_known = False  # before all of it was read

    @property
    def target(self) -> int:
        return self.reached

    @property
    def reached(self) -> int:
        return sum(one.accepted for one in self.counts)

    async def write(self, chunks: Chunks, size: int, group: asyncio.TaskGroup) -> None:
        """Put chunks of rows with which the stages start."""
        for entry in self._entries:
            await self._write(entry, chunks, size)
        self.is_target_known = True

    async def _write(self, entry: Entry, chunks: Chunks, size: int) -> None:
        with ExitStack() as stack:
            entry, words = await asyncio.to_thread(entry.read)
            counts, rows = await asyncio.to_thread(self._open, entry, words, stack)
            self.counts.append(counts)
            seen: set[bytes] = set()
            batches = prompts.batches(rows, BATCH)
            while batch := await asyncio.to_thread(next, batches, None):
                started = await self._finished.without_finished(await self._ingest(entry, batch, counts, seen))
                for first in range(0, len(started), size):
                    if self._executor.spent:
                        return
                    await chunks.put(started[first : first + size])

    def _open(self, entry: Entry, words: Sequence[Template], stack: ExitStack) -> tuple[Counts, Iterator[DataRow]]:
        counts, rows = self._rows(entry, _columns(entry, words), stack)
        return counts, templated(rows, words, entry.draw == "one") if words else rows

    def _rows(self, entry: Entry, columns: Sequence[str], stack: ExitStack) -> tuple[Counts, Iterator[DataRow]]:
        if entry.path:
            found = Counts(entry.name, str(entry.path), datafiles.content_hash(entry.path))
            return found, datafiles.read_rows(entry.path, columns)
        lake, snapshot = _opened(entry, columns, stack)
        return Counts(entry.name, f"{lake.place} {entry.table}", f"snapshot {snapshot}"), _of_lake(lake, entry, columns)

    async def _ingest(self, entry: Entry, batch: Sequence[DataRow], counts: Counts, seen: set[bytes]) -> list[Row]:
        """Judge and commit what of a batch is new; returns the rows with which the stages start."""
        read = [(row, prompts.instruction(row, entry)) for row in batch]
        counts.read += len(read)
        candidates: dict[str, Row] = {}
        for _, record in read:  # equal prompts are one instruction, recorded for the first of the rows
            candidates.setdefault(record["id"], record)
        ledger = self._executor.lake.ledger
        known = {one["id"]: one for one in await asyncio.to_thread(ledger.records, "instructions", [*candidates])}
        fresh = [record for id, record in candidates.items() if id not in known and not record["reason"]]
        judged = {one["id"]: one for one in await asyncio.to_thread(self._judge, fresh, entry.gate)}
        verdicts = candidates | judged | known
        new = [verdict for id, verdict in verdicts.items() if id not in known]
        counts.new += len(new)
        records: dict[str, list[Row]] = {"instructions": new}
        started = []
        for row, candidate in read:
            record = verdicts[candidate["id"]]
            if record["state"] != "accepted":
                counts.rejected += 1
                counts.earlier += candidate["id"] in known
                continue
            brought = prompts.companions(row, entry, record, self._template)
            for table, rows in brought.items():
                records.setdefault(table, []).extend(rows)
            counts.incomplete += not prompts.is_complete(row, entry)
            mark = bytes.fromhex(record["id"])
            if mark in seen:
                counts.repeated += 1
                continue
            seen.add(mark)
            counts.accepted += 1
            if self._allowed(record):
                started.append(prompts.start_row(record, brought))
        await self._commit(entry, records)
        return started

    async def _commit(self, entry: Entry, records: Mapping[str, Sequence[Row]]) -> None:
        if not await asyncio.to_thread(self._has_new, records):
            return
        await self._executor.begin()
        now = datetime.now(UTC)
        stamped = {name: [row | {"created_at": now} for row in rows] for name, rows in records.items() if rows}
        batch = Batch(STEP, digest(STEP, entry.name), stamped, [])
        run_id = self._executor.run.id
        await asyncio.to_thread(self._executor.lake.ledger.append_batches, [batch], run_id=run_id)

    def _has_new(self, records: Mapping[str, Sequence[Row]]) -> bool:
        """Whether the lake lacks any of them."""
        ledger = self._executor.lake.ledger
        return any(
            len(ledger.records(table, [row["work_key"] for row in rows])) < len({row["id"] for row in rows})
            for table, rows in records.items()
            if rows
        )

    def totals(self) -> list[dict[str, Any]]:
        """What was read, entry by entry."""
        return [asdict(one) for one in self.counts]


def check(entry: Entry) -> None:
    """Open an entry's data, and read the first rows of each of its files.

    Raises:
        AligneryError: the data cannot be read, lacks a column, or none of the first rows is a prompt.
    """
    entry, words = entry.read()
    columns = _columns(entry, words)
    if not entry.path:
        with ExitStack() as stack:
            _opened(entry, columns, stack)
        return
    for file in datafiles.parts_of(entry.path):
        rows = datafiles.read_rows(file, columns)
        found = list(islice(templated(rows, words, entry.draw == "one") if words else rows, _FIRST))
        faults = [fault for row in found if (fault := prompts.instruction(row, entry)["reason"])]
        if found and len(faults) == len(found):
            raise DataFileError(
                f"{excerpt(file)}: got no prompt in its first {len(found)} rows, expected one in `{entry.field}`: line "
                f"{found[0].number} is {faults[0]}; correct the file, or the entry's columns"
            )


def _columns(entry: Entry, words: Sequence[Template]) -> list[str]:
    """The columns that are read."""
    return sorted(set().union(*(one.columns for one in words))) if words else entry.columns


def _opened(entry: Entry, columns: Sequence[str], stack: ExitStack) -> tuple[Lake, int]:
    """An entry's lake, open until the stack is closed, and the snapshot that is read."""
    with Lake.open(entry.lake, read_only=True) as now:  # type: ignore[arg-type]  # one of the two is given
        snapshot = resolve(now, entry.tag) if entry.tag else now.snapshot()
        place = now.place
    lake = stack.enter_context(Lake.open(place, snapshot=snapshot))
    there = [column["name"] for column in lake.columns(entry.table)]
    if missing := [column for column in columns if column not in there]:
        raise LakeUsageError(f"{place}: {entry.table} has no column {missing[0]!r}; it has {there}")
    return lake, snapshot


def _of_lake(lake: Lake, entry: Entry, names: Sequence[str]) -> Iterator[DataRow]:
    columns = ", ".join(f'"{column}"' for column in names)
    where = f"{entry.lake} {entry.tag or ''}".strip()
    there = {column["name"] for column in lake.columns(entry.table)}
    only = " WHERE state = 'accepted'" if "state" in there else ""
    order = "id" if "id" in there else "ALL"
    with lake.query(f"SELECT {columns} FROM {entry.table}{only} ORDER BY {order}") as cursor:
        number = 0
        for batch in cursor.to_arrow_reader(BATCH):
            for values in batch.to_pylist():
                number += 1
                yield DataRow(where, number, values)
