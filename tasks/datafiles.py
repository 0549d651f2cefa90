"""Rows of a user's data files, streamed: JSON Lines, CSV, Parquet, a folder of such shards, or a `datasets` folder.

A row that cannot be read is passed on as such, with its number and the reason; only an unreadable file is an error.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from alignery.errors import UsageError
from alignery.untrusted import excerpt

LONGEST = 16 << 20  # bytes of a line; our choice
_BATCH = 8192  # rows of a Parquet file or data set that are read at once
_BLOCK = 1 << 20
_AGAIN = 4  # how many times all lines of a CSV file may be read again; our choice


class DataFileError(UsageError):
    """A data file cannot be read, or lacks a column; the message names the file and the fix."""


@dataclass(frozen=True)
class DataRow:
    """One row of a file: its values by column; or, where it cannot be read, its raw text and the reason."""

    file: str  # the file's name
    number: int  # from 1; of a line, in JSON Lines and CSV
    values: dict[str, Any]
    fault: str | None = None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[DataRow]:
    """The rows of a file or folder, shard by shard in the order of their names.

    Args:
        columns: those that are wanted.

    Raises:
        DataFileError: it is missing, of an unknown kind, or a table in it lacks a column.
    """
    if _is_dataset(path):
        yield from _of_dataset(path, columns)
        return
    for file in files_of(path):
        yield from _READERS[_kind(file)](file, columns)


def files_of(path: Path) -> list[Path]:
    """The file, or the shards of a folder. Raises DataFileError if there are none."""
    if os.path.isfile(path):
        if _kind(path) not in _READERS:
            raise DataFileError(
                f"{excerpt(path)}: got a file of the kind {_kind(path)!r}, expected one of {sorted(_READERS)}; "
                "convert it"
            )
        return [path]
    if not os.path.isdir(path):
        what = "neither file nor folder" if os.path.lexists(path) else "nothing there"
        raise DataFileError(f"{excerpt(path)}: got {what}, expected a data file or a folder of them; give one")
    found = [file for file in _within(path) if _kind(file) in _READERS]
    if not found:
        raise DataFileError(f"{excerpt(path)}: got a folder without data files, expected some of {sorted(_READERS)}")
    return found


def parts_of(path: Path) -> list[Path]:
    """What can be read alone: a folder of `datasets`, a file, or each shard of a folder."""
    return [path] if _is_dataset(path) else files_of(path)


def content_hash(path: Path) -> str:
    """The sha256 of a file's bytes, or of those of all files that are read of a folder, with their names."""
    total = hashlib.sha256()
    for file in _within(path) if _is_dataset(path) else files_of(path):
        own = hashlib.sha256()
        with _opened(file) as data:
            while block := data.read(_BLOCK):
                own.update(block)
        if path == file:
            return own.hexdigest()
        total.update(f"{file.relative_to(path)}\0{own.hexdigest()}\0".encode(errors="surrogateescape"))
    return total.hexdigest()


def _within(folder: Path) -> list[Path]:
    """The files of a folder and of the folders in it; hidden ones are other programs' own."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _kind(path: Path) -> str:
    return path.suffix.lower()


def _jsonl(path: Path, columns: Sequence[str]) -> Iterator[DataRow]:
    with _opened_text(path) as file:
        number = 0
        while line := file.readline(LONGEST):
            number += 1
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if len(line) == LONGEST and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                    pass
                yield DataRow(path.name, number, {"": _shown(line)}, f"a line of more than {LONGEST:,} bytes")
            elif line.strip():
                yield _of_json(path, number, line, columns)


def _of_json(path: Path, number: int, line: bytes, columns: Sequence[str]) -> DataRow:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return DataRow(path.name, number, {"": _shown(line)}, f"not UTF-8: the byte 0x{line[error.start]:02x}")
    except (ValueError, RecursionError) as error:
        return DataRow(path.name, number, {"": _shown(line)}, f"not JSON: {excerpt(error, 80)}")
    if not isinstance(value, dict):
        return DataRow(path.name, number, {"": _shown(line)}, f"got {type(value).__name__}, expected a JSON object")
    values = {column: value[column] for column in columns if column in value}
    if not values:
        fault = f"no field {columns[0]!r}; the row has {excerpt(list(value), 100)}"
        return DataRow(path.name, number, {"": _shown(line)}, fault)
    return DataRow(path.name, number, values)


def _shown(line: bytes) -> str:
    return line[:200].decode(errors="replace").strip()


def _csv(path: Path, columns: Sequence[str]) -> Iterator[DataRow]:
    csv.field_size_limit(LONGEST)
    _opened_text(path).close()
    # Bytes that are not UTF-8 become lone surrogates, which the row's own check refuses.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _Lines(file)
        # Strictly, because a quote that is never closed would make one field of all that follows.
        reader = csv.reader(lines, delimiter="\t" if _kind(path) == ".tsv" else ",", strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise DataFileError(
                f"{excerpt(path)}: its first line is not CSV: {excerpt(error, 80)}; correct it"
            ) from error
        _check_columns(path, header, columns)
        while True:
            lines.begin()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = f"not CSV: {error}; are its quotes right?"
                for number, line in lines.failed():
                    yield DataRow(path.name, number, {"": _shown(line.encode(errors="surrogateescape"))}, fault)
                continue
            if not row:
                continue
            values = {name: value for name, value in zip(header, row, strict=False) if name in columns}
            wrong = f"got {len(row)} fields, expected {len(header)}" if len(row) != len(header) else None
            if wrong and lines.last > lines.first:
                wrong += f", on lines {lines.first} to {lines.last}; are its quotes right?"
            yield DataRow(path.name, lines.first, values, wrong)


class _Lines:
    """The lines of a CSV file. After a faulty row its lines are parsed again from the second one on, because an
    unclosed quote consumes all that follow."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._row: list[str] = []  # the lines of the row that is being read
        self._size = 0  # their characters
        self._again: list[str] = []  # lines to be read again, the next one at the end
        self._fresh, self._repeated = 0, 0  # characters read from the file, and again
        self.first = 1  # the row's first line, from 1

    @property
    def last(self) -> int:
        """The row's last line."""
        return self.first + len(self._row) - 1

    def begin(self) -> None:
        """A new row begins on the next line."""
        self.first += len(self._row)
        self._row, self._size = [], 0

    def failed(self) -> list[tuple[int, str]]:
        """Number and text of each line that is lost with the row: its first one; all where too much was read again."""
        again = self._size - len(self._row[0])
        # Lines in which every other quote is never closed would be read again from each of them.
        if self._repeated + again > _AGAIN * self._fresh:
            return list(enumerate(self._row, start=self.first))
        self._repeated += again
        self._again += reversed(self._row[1:])
        self._row = self._row[:1]
        return [(self.first, self._row[0])]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._again:
            line = self._again.pop()
        else:
            line = self._file.readline(LONGEST)
            self._fresh += len(line)
            if len(line) == LONGEST and not line.endswith("\n"):
                while (rest := self._file.readline(LONGEST)) and not rest.endswith("\n"):
                    pass
        if not line:
            raise StopIteration
        self._row.append(line)
        self._size += len(line)
        if self._size >= LONGEST:
            raise csv.Error(f"a row of more than {LONGEST:,} characters")
        return line


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[DataRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _opened(path).close()
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, columns)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=list(columns)):
                for values, fault in _values(batch):
                    number += 1
                    yield DataRow(path.name, number, values, fault)
    except DataFileError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataFileError(
            f"{excerpt(path)}: not a sound Parquet file: {excerpt(error, 200)}; write it again"
        ) from error


def _values(batch: Any) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Each row's values; or, if a value has no Python equivalent, what is wrong with it."""
    try:
        for values in batch.to_pylist():
            yield values, None
    except (ValueError, OverflowError):
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0], None
            except (ValueError, OverflowError) as error:
                yield {}, f"a value that cannot be read: {excerpt(error, 80)}"


def _is_dataset(path: Path) -> bool:
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _of_dataset(path: Path, columns: Sequence[str]) -> Iterator[DataRow]:
    from datasets import DatasetDict, load_from_disk

    try:
        found = load_from_disk(str(path))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataFileError(f"{excerpt(path)}: not a sound data set: {excerpt(error, 200)}; save it again") from error
    splits = found if isinstance(found, DatasetDict) else {"": found}
    for name, split in splits.items():
        where = f"{path.name}/{name}" if name else path.name
        _check_columns(path, split.column_names, columns)
        number = 0
        for batch in split.select_columns(list(columns)).iter(_BATCH):
            for row in zip(*(batch[column] for column in columns), strict=True):
                number += 1
                yield DataRow(where, number, dict(zip(columns, row, strict=True)))


def _check_columns(path: Path, there: Sequence[str], columns: Sequence[str]) -> None:
    shown = excerpt(list(there), 200)
    if missing := [column for column in columns if column not in there]:
        raise DataFileError(
            f"{excerpt(path)}: got no column {missing[0]!r}, expected one of {shown}; name one of these"
            + ("" if _kind(path) not in (".csv", ".tsv") else " (.csv is read with commas, .tsv with tabs)")
        )
    if twice := [column for column in columns if list(there).count(column) > 1]:
        raise DataFileError(f"{excerpt(path)}: got two columns {twice[0]!r} in {shown}; rename one")


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataFileError(
            f"{excerpt(path)}: cannot be read: {error.strerror}; give a file that you may read"
        ) from error


def _opened_text(path: Path) -> Any:
    file = _opened(path)
    if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
        file.close()
        raise DataFileError(f"{excerpt(path)}: got UTF-16, expected UTF-8; save the file as UTF-8")
    return file


_READERS = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
