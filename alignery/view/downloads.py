"""All rows that a page covers, as a file: CSV, Parquet, or a line of JSON a row."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import orjson

from warehouse import Lake

KINDS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "jsonl": "application/x-ndjson"}
_ROWS = 8192  # at a time
_BLOCK = 1 << 20


def written(lake: Lake, query: str, kind: str) -> IO[bytes]:
    """The result of a SELECT in a temporary file, at its beginning.

    Raises:
        LakeUsageError: it is not one SELECT, or it takes too long.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed once it is sent
    write: dict[str, Callable[[Any, IO[bytes]], None]] = {"csv": _csv, "parquet": _parquet, "jsonl": _jsonl}
    with lake.query(query) as cursor:
        write[kind](cursor.to_arrow_reader(_ROWS), file)
    file.seek(0)
    return file


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block


def _csv(reader: Any, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    lines = csv.writer(text)
    lines.writerow(reader.schema.names)
    for batch in reader:
        for row in batch.to_pylist():
            lines.writerow([_cell(value) for value in row.values()])
    text.detach()


def _parquet(reader: Any, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _jsonl(reader: Any, file: IO[bytes]) -> None:
    for batch in reader:
        for row in batch.to_pylist():
            file.write(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE))


def _cell(value: Any) -> Any:
    return orjson.dumps(value, default=str).decode() if isinstance(value, list | dict) else value
