"""What was answered and is not committed yet: a file beside the lake, so that `kill -9` loses no answer.

An answer is written here as soon as it is read, and committed later with many others. A file is dropped when what it
holds has landed; one that a dead process left is taken into the lake by the next run on the same host. It is written
and not synced: it outlives its process, and not a power cut.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Any

import orjson

from warehouse.columns import WHEN
from warehouse.lake import Lake
from warehouse.ledger import Batch
from warehouse.schema import TABLES, LakeError, LakeFault, Row

FOLDER = "journal"
_NUMBERS = count()  # of this process' files, so that no two have one name
_log = logging.getLogger(__name__)


class Journal:
    """One run's journal. Its file is locked while this process lives: so a live run is told from a dead one."""

    def __init__(self, home: Path, run_id: str) -> None:
        self._folder, self._run_id = home / FOLDER, run_id
        self._file: IO[bytes] | None = None

    def write(self, batch: Batch) -> None:
        """Add what came of one row. Raises LakeFault where the disk takes no more."""
        parts = {"step": batch.step, "fingerprint": batch.fingerprint}
        line = parts | {"records": batch.records, "attempts": batch.attempts}
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise LakeFault(
                f"{self._folder}: {error.strerror}; make room and run again: what was committed is kept"
            ) from error

    def turn(self) -> IO[bytes] | None:
        """Begin another file with the next line; the last one is the caller's, to `drop` when its rows have landed."""
        file, self._file = self._file, None
        return file

    def end(self) -> None:
        """Drop it, for all that it holds has been written elsewhere."""
        if file := self.turn():
            drop(file)

    def _opened(self) -> IO[bytes]:
        self._folder.mkdir(exist_ok=True)
        while True:
            file = (self._folder / f"{self._run_id}.{next(_NUMBERS):06}.jsonl").open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            # Before it was locked, another run could have taken it for a dead one's, and dropped it.
            if Path(file.name).exists():
                return file
            file.close()


def drop(file: IO[bytes]) -> None:
    """Remove a file whose rows have landed."""
    Path(file.name).unlink()
    file.close()


def recover(lake: Lake) -> int:
    """Take into the lake what killed runs left in their journals; returns how many attempts that were.

    Raises:
        LakeError: a journal cannot be read, or does not fit this lake; it is left where it is.
    """
    landed = 0
    for file in _left(lake.home):
        path = Path(file.name)
        try:
            batches = list(_batches(file))
            landed += lake.append_all(batches, run_id=path.name.split(".")[0]) if batches else 0
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"{path}: what a killed run left cannot be taken in: {error}; move the file away to go on without it"
            ) from error
        drop(file)
    if landed:
        _log.info("%d answers that a killed run had left were taken into the lake", landed)
    return landed


def waiting(home: Path) -> int:
    """How many journal files of dead runs are there to be taken in."""
    return sum(1 for _ in _left(home))


def _left(home: Path) -> Iterator[IO[bytes]]:
    """The journals whose process is dead, open and locked."""
    for path in sorted((home / FOLDER).glob("*.jsonl")):
        try:
            file = path.open("rb")
        except FileNotFoundError:  # its owner, or another run that took it in, has dropped it meanwhile
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if path.exists():  # or it did between the opening and the lock
                yield file


def _batches(file: IO[bytes]) -> Iterator[Batch]:
    """What a journal holds, one batch a fingerprint. Of an attempt that was written twice the last line counts."""
    lines = [json.loads(line) for line in file if line.endswith(b"\n")]  # the last may be torn
    newest = {attempt["id"]: number for number, line in enumerate(lines) for attempt in line["attempts"]}
    found: dict[tuple[str, str], tuple[dict[str, list[Row]], list[Row]]] = {}
    for number, line in enumerate(lines):
        records, attempts = found.setdefault((line["step"], line["fingerprint"]), ({}, []))
        kept = [attempt for attempt in line["attempts"] if newest[attempt["id"]] == number]
        attempts += _timed("attempts", kept)
        ids = {attempt["id"] for attempt in kept}
        for table, rows in line["records"].items():
            records.setdefault(table, []).extend(_timed(table, [row for row in rows if row["attempt_id"] in ids]))
    for (step, fingerprint), (records, attempts) in found.items():
        yield Batch(step, fingerprint, records, attempts)


def _timed(table: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows with their times as times again."""
    if table not in TABLES:
        raise KeyError(f"no table {table!r}")
    times = [field.name for field in TABLES[table] if field.type == WHEN]
    return [{**row, **{name: datetime.fromisoformat(row[name]) for name in times if row.get(name)}} for row in rows]
