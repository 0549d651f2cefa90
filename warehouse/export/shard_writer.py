"""Parquet in shards, `<split>-00000-of-000NN.parquet`, whose bytes depend only on the rows."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from alignery import effects

if TYPE_CHECKING:
    import pyarrow.parquet as pq

GROUP = 4096  # rows of a row group; as many are held in memory


class Shards:
    """One split's files, written as its rows come; a context manager. Without rows there is no file.

    Args:
        folder: where the files go.
        split: the first part of their names.
        limit: rows of a file at most.
    """

    def __init__(self, folder: Path, split: str, schema: pa.Schema, limit: int) -> None:
        self._folder, self._split, self._limit = folder, split, limit
        self._waiting = schema.empty_table()
        self._open: pq.ParquetWriter | None = None
        self._room = limit
        self._rows: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open.close()

    def add(self, batch: pa.RecordBatch) -> None:
        self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([batch])])
        while self._waiting.num_rows >= (size := min(GROUP, self._room)):
            self._write(size)

    def finish(self) -> dict[Path, int]:
        """Write what is left, and name the files now that their number is known; returns their rows."""
        if self._waiting.num_rows:
            self._write(self._waiting.num_rows)
        if self._open:
            self._end_shard()
        count = len(self._rows)
        names = {self._draft(n): self._folder / f"{self._split}-{n:05}-of-{count:05}.parquet" for n in range(count)}
        with effects.SHARD_NAME:
            return {draft.rename(name): rows for (draft, name), rows in zip(names.items(), self._rows, strict=True)}

    def _write(self, size: int) -> None:
        import pyarrow.parquet as pq

        # In one piece, because a row group's pages depend on how its columns are split into chunks.
        group = self._waiting.slice(0, size).combine_chunks()
        self._waiting = self._waiting.slice(size)
        if self._open is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open = pq.ParquetWriter(self._draft(len(self._rows)), group.schema, compression="zstd")
        self._open.write_table(group, row_group_size=size)
        self._room -= size
        if not self._room:
            self._end_shard()

    def _end_shard(self) -> None:
        assert self._open is not None
        self._open.close()
        self._open = None
        self._rows.append(self._limit - self._room)
        self._room = self._limit

    def _draft(self, number: int) -> Path:
        return self._folder / f"{self._split}-{number:05}.parquet"
