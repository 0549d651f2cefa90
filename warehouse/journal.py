"""Answers that are not committed yet: a file next to the lake, so that `kill -9` loses no answer.

Each call is written here as soon as it is answered, a line a call, and committed later with many others. A file is
deleted once its rows are committed; one that a dead process left is committed by the next run on the same host
(`warehouse.recovery`).

A line is acknowledged once the kernel has all of it: written and not synced, so it survives its process, but not a
power cut or a crash of the machine. With ALIGNERY_JOURNAL_FSYNC=1 each line is synced first, which costs the run a
wait for the disk at each answer. What cannot be written in full is truncated, and the caller gets an error.
"""

from __future__ import annotations

import fcntl
import logging
import os
from itertools import count
from pathlib import Path
from typing import IO, Any

import orjson

from alignery import effects
from warehouse.errors import LakeFailure, RowRefused
from warehouse.ledger import Batch
from warehouse.schema.arrow import check_row, check_texts
from warehouse.schema.lake_schema import LakeSchema, default

FOLDER = "journal"
LONGEST = 64 << 20  # bytes of a line; our choice
FSYNC = "ALIGNERY_JOURNAL_FSYNC"
_NUMBERS = count()  # of this process' files, so that no two have one name
_log = logging.getLogger(__name__)


class Journal:
    """One run's journal. Its file is locked while this process lives: so a live run is distinguished from a dead one.

    A line survives the process that wrote it; with ALIGNERY_JOURNAL_FSYNC=1 also a power cut.
    """

    def __init__(self, home: Path, run_id: str, schema: LakeSchema | None = None) -> None:
        self._folder, self._run_id, self._schema = home / FOLDER, run_id, schema or default()
        self._file: IO[bytes] | None = None
        self._size = 0  # bytes of its whole lines
        self._broken = False  # a partly written line could not be removed
        self._sync = os.environ.get(FSYNC, "0") not in ("", "0")

    def write(self, batch: Batch) -> None:
        """Add calls of one step, and the records that were read from them.

        Raises:
            RowRefused: a row does not fit its table; nothing was written.
            LakeFailure: the disk is full; nothing was written, or it was removed again.
        """
        line = _encoded(self._schema, batch)
        try:
            if self._broken:
                raise OSError(0, "an earlier line could not be taken back")
            if self._file is None:
                self._file, self._size = self._opened(), 0
            self._append(self._file.fileno(), line)
        except OSError as error:
            raise LakeFailure(
                f"{self._folder}: an answer could not be kept: {error.strerror}; make room and run again: what was "
                "committed or journalled before it is kept"
            ) from error

    def turn(self) -> IO[bytes] | None:
        """Start another file with the next line; the caller has to `drop` the last one once its rows are committed."""
        file, self._file = self._file, None
        return file

    def end(self) -> None:
        """Drop it, because all of it has been written elsewhere."""
        if file := self.turn():
            drop(file)

    def _append(self, file: int, line: bytes) -> None:
        """Write a line completely, or leave none of it: a partial one would break those that follow."""
        try:
            with effects.JOURNAL_APPEND:
                left = memoryview(line)
                while left:  # on a disk that is nearly full a part is written, and no error raised
                    left = left[os.write(file, left) :]
            if self._sync:
                with effects.JOURNAL_SYNC:
                    os.fsync(file)
        except OSError:
            self._broken = True
            with effects.JOURNAL_TRUNCATE:
                os.ftruncate(file, self._size)
                os.lseek(file, self._size, os.SEEK_SET)  # or the next line would follow a hole
            self._broken = self._sync  # after a failed fsync the disk's content is unknown
            raise
        self._size += len(line)

    def _opened(self) -> IO[bytes]:
        with effects.JOURNAL_OPEN:
            self._folder.mkdir(exist_ok=True)
            while True:
                file = (self._folder / f"{self._run_id}.{next(_NUMBERS):06}.jsonl").open("xb")
                fcntl.flock(file, fcntl.LOCK_EX)
                # Before it was locked, another run could have taken it for a dead run's, and dropped it.
                if Path(file.name).exists():
                    break
                file.close()
        if self._sync:
            self._sync_folder()
        return file

    def _sync_folder(self) -> None:
        """So that the file's name is on the disk, too."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            with effects.JOURNAL_SYNC:
                os.fsync(folder)
        finally:
            os.close(folder)


def drop(file: IO[bytes]) -> None:
    """Remove a file whose rows are committed. One that stays is committed again, which changes nothing."""
    try:
        with effects.JOURNAL_REMOVE:
            Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: its rows are committed, but it cannot be removed: %s; remove it", file.name, error.strerror)
    finally:
        file.close()


def _encoded(schema: LakeSchema, batch: Batch) -> bytes:
    """A batch as a line. Raises RowRefused if the lake would not accept a row, which must not be journalled."""
    tables: dict[str, Any] = {"attempts": batch.attempts, **batch.records}
    for name, rows in tables.items():
        for row in rows:
            check_row(schema, name, row)
    line = {"step": batch.step, "fingerprint": batch.fingerprint}
    try:
        text = orjson.dumps(
            line | {"records": batch.records, "attempts": batch.attempts}, option=orjson.OPT_APPEND_NEWLINE
        )
    except TypeError as error:
        for name, rows in tables.items():
            for row in rows:
                check_texts(schema, name, row)
        raise RowRefused(f"{batch.step}: a row cannot be written as JSON: {error}") from error
    if len(text) > LONGEST:
        cells = ((f"{name}.{field}", len(str(row[field]))) for name in tables for row in tables[name] for field in row)
        field, size = max(cells, key=lambda cell: cell[1])
        raise RowRefused(f"{field}: got {size:,} characters; a call and its records may take {LONGEST:,} bytes")
    return text
