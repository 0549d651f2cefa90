"""Commits what killed runs left in their journals, line by line, whatever the lines contain.

An invalid line (incomplete, not JSON, of another shape, with a value that a column does not hold) is moved to
`<journal>.rejected` beside it, and the others are committed. A file that cannot be read is left in place.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import orjson

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database.lock import exclusive_on_host
from warehouse.errors import LakeFailure, RowRefused
from warehouse.journal import FOLDER, LONGEST, drop
from warehouse.lake import Lake
from warehouse.ledger import Batch
from warehouse.schema.arrow import check_row
from warehouse.schema.columns import WHEN
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row

REJECTED = ".rejected"
_LOCK_TRIES, _LOCK_RETRY_S = 3, 0.02  # a process that only inspects a journal locks it for a moment
_NAMED = 3  # lines of a file whose reasons are listed one by one
_log = logging.getLogger(__name__)


@dataclass
class Line:
    """One line of a journal and its content; `why` it cannot be committed, if so."""

    number: int
    text: bytes
    batch: Batch | None = None
    why: str = ""


@dataclass
class JournalState:
    """The state of a lake's journals."""

    dead: list[Path] = field(default_factory=list)  # killed runs left them
    live: list[Path] = field(default_factory=list)  # a run is at work on them
    unreadable: dict[Path, str] = field(default_factory=dict)  # and why
    rejected: dict[Path, int] = field(default_factory=dict)  # lines that were set aside


def recover(lake: Lake) -> int:
    """Commit what killed runs left in their journals; returns the number of attempts.

    Processes that share a home take turns. Otherwise one would take a journal that another is committing for that of a
    live run, start before the commit, and request the answers again.

    Raises:
        LakeUsageError: the home cannot be written.
        LakeFailure: nothing was committed, or lines could not be set aside: the journals are unchanged.
    """
    if not any((lake.home / FOLDER).glob("*.jsonl")):
        return 0
    committed = 0
    with ExitStack() as stack:
        stack.enter_context(exclusive_on_host(lake.place, "recovery", "committing what killed runs left"))
        runs: dict[str, list[IO[bytes]]] = {}
        for file in _left(lake.home, JournalState()):
            runs.setdefault(Path(file.name).name.split(".")[0], []).append(stack.enter_context(file))
        # All files of a run at once: a call may be in one file as answered, in another as judged.
        for run_id, files in runs.items():
            committed += _recover(lake, run_id, files)
    if committed:
        _log.info("%d answers that a killed run had left were committed to the lake", committed)
    return committed


def waiting(home: Path) -> int:
    """How many journal files of dead runs wait to be committed."""
    return len(journal_state(home).dead)


def journal_state(home: Path) -> JournalState:
    """The state of the journals; read-only."""
    found = JournalState()
    for file in _left(home, found):
        with file:
            found.dead.append(Path(file.name))
    for path in sorted((home / FOLDER).glob(f"*{REJECTED}")):
        try:
            if not path.is_file():  # to open a pipe would wait for its writer
                raise OSError(0, "it is no file")
            data = path.read_bytes()
            found.rejected[path] = data.count(b"\n") + (not data.endswith(b"\n"))
        except OSError as error:
            found.unreadable[path] = str(error.strerror)
    return found


def _recover(lake: Lake, run_id: str, files: list[IO[bytes]]) -> int:
    lines = {file.name: list(lines_of(file, lake.schema)) for file in files}
    whole = [line for some in lines.values() for line in some if line.batch]
    try:
        committed = lake.ledger.append_batches(_batches(whole), run_id=run_id)
    except RowRefused:
        committed = _one_by_one(lake, run_id, whole)
    for name, some in lines.items():
        _set_aside(Path(name), [line for line in some if line.why])
    for file in files:
        drop(file)
    return committed


def _one_by_one(lake: Lake, run_id: str, lines: list[Line]) -> int:
    """Each call separately, because one of them contradicts the lake."""
    committed = 0
    for batch in _batches(lines, together=False):
        try:
            committed += lake.ledger.append_batches([batch], run_id=run_id)
        except RowRefused as error:
            ids = {attempt["id"] for attempt in batch.attempts}
            for line in lines:
                if line.batch and ids & {attempt["id"] for attempt in line.batch.attempts}:
                    line.why = str(error)
    return committed


def _set_aside(path: Path, lines: list[Line]) -> None:
    """Store lines that cannot be committed. The same lines make the same file, so a kill in between does not matter."""
    if not lines:
        return
    aside = path.with_suffix(REJECTED)
    try:
        if aside.is_symlink() or (aside.exists() and not aside.is_file()):
            raise OSError(0, "what has its name is no file; remove that")
        with effects.JOURNAL_SET_ASIDE:
            aside.write_bytes(b"".join(line.text for line in lines))
    except OSError as error:
        raise LakeFailure(
            f"{aside}: {len(lines)} lines that cannot be taken into the lake could not be set aside: {error.strerror}; "
            "make room and run again"
        ) from error
    for line in lines[:_NAMED]:
        _log.warning("%s: line %d is set aside in %s: %s", path, line.number, aside, line.why)
    if len(lines) > _NAMED:
        _log.warning("%s: %d lines in all are set aside in %s", path, len(lines), aside)


def _locked(file: IO[bytes]) -> bool:
    """Lock a journal; False if a live run holds its lock."""
    for left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_LOCK_RETRY_S)
        else:
            return True
    return False


def _left(home: Path, found: JournalState) -> Iterator[IO[bytes]]:
    """The journals whose process is dead, open and locked; the others are noted in `found`."""
    for path in sorted((home / FOLDER).glob("*.jsonl")):
        try:
            if path.exists() and not path.is_file():  # to open a pipe would wait for its writer
                raise OSError(0, "it is no file")
            file = path.open("rb")
        except FileNotFoundError:  # its owner, or another run that committed it, has dropped it meanwhile
            continue
        except OSError as error:
            found.unreadable[path] = str(error.strerror)
            todo = "correct its permissions, or move it away, and run again"
            _log.warning("%s: cannot be read: %s; its answers are not in the lake: %s", path, error.strerror, todo)
            continue
        if not _locked(file):
            found.live.append(path)
            file.close()
            continue
        if path.exists():  # or it did between the opening and the lock
            yield file
        else:
            file.close()


def lines_of(file: IO[bytes], schema: LakeSchema) -> Iterator[Line]:
    """Each line with its batch, or why it is invalid."""
    number, within = 1, False  # within a line that is too long, and is read in pieces
    while text := file.readline(LONGEST):
        is_whole = text.endswith(b"\n")
        line = Line(number, text)
        if within or (not is_whole and len(text) == LONGEST):
            line.why = f"longer than {LONGEST:,} bytes"
        else:
            try:
                line.batch = _read(text, schema)
            except (ValueError, KeyError, TypeError, OverflowError) as error:  # of a value that is not ours, bare
                line.why = excerpt(f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error)
        within = not is_whole and bool(line.why)
        number += is_whole
        yield line


def _read(text: bytes, schema: LakeSchema) -> Batch:
    """A line's batch. Raises ValueError (RowRefused is one), KeyError or TypeError if it is invalid."""
    line = orjson.loads(text)
    if not isinstance(line, dict) or not isinstance(line["records"], dict):
        raise ValueError("got another shape, expected step, fingerprint, records and attempts")
    step, fingerprint, given = line["step"], line["fingerprint"], line["records"]
    if not isinstance(step, str) or not isinstance(fingerprint, str):
        raise ValueError("step or fingerprint is no text")
    if unknown := given.keys() - schema.records.keys():
        raise ValueError(f"no record table {min(unknown)!r}")
    attempts = [_row(schema, "attempts", row) for row in line["attempts"]]
    records = {table: [_row(schema, table, row) for row in rows] for table, rows in given.items()}
    ids = {attempt["id"] for attempt in attempts}
    if any(row.get("attempt_id") not in ids for rows in records.values() for row in rows):
        raise ValueError("a record names an attempt that is not in its line")
    return Batch(step, fingerprint, records, attempts)


def _row(schema: LakeSchema, table: str, given: Mapping[str, Any]) -> Row:
    """A row with its times as times again, checked."""
    if not isinstance(given, dict):
        raise ValueError(f"{table}: got {type(given).__name__}, expected a row")
    times = [field.name for field in schema.tables[table] if field.type == WHEN and given.get(field.name)]
    row = {**given, **{name: datetime.fromisoformat(given[name]) for name in times}}
    check_row(schema, table, row)
    return row


def _batches(lines: list[Line], *, together: bool = True) -> list[Batch]:
    """The lines' batches, one per fingerprint, or one per call.

    If a call was written twice, the final one counts, and of two such the last.
    """
    calls = [(line.batch, attempt) for line in lines if line.batch for attempt in line.batch.attempts]
    chosen: dict[str, int] = {}
    for number, (_, attempt) in enumerate(calls):
        there = chosen.get(attempt["id"])
        if there is None or attempt["final"] or not calls[there][1]["final"]:
            chosen[attempt["id"]] = number
    found: dict[tuple[str, str, int], tuple[dict[str, list[Row]], list[Row]]] = {}
    for number in chosen.values():
        batch, attempt = calls[number]
        key = (batch.step, batch.fingerprint, 0 if together else number)
        records, attempts = found.setdefault(key, ({}, []))
        attempts.append(dict(attempt))
        for table, rows in batch.records.items():
            mine = [dict(row) for row in rows if row["attempt_id"] == attempt["id"]]
            records.setdefault(table, []).extend(mine)
    return [Batch(step, mark, *rows) for (step, mark, _), rows in found.items()]
