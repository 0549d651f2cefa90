"""Accepted instructions in the order in which they were accepted: any number, in little memory."""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import pyarrow as pa

from tasks.step import Row

COLUMNS = ("id", "topic", "text", "question_type")
_SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
_FULL = 16_384  # of the newest rows that are kept as they are, before they go to the file


class Accepted(Sequence[Row]):
    """Rows with id, topic, text and question_type, by their place.

    All but the newest are in a temporary file that is mapped into memory; in addition eight bytes per row are held, its
    place among those of its topic.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._parts: list[pa.RecordBatch] = []  # in the file
        self._starts: list[int] = []  # the place of the first row of each
        self._stored = 0
        self._newest: list[Row] = []
        self._by_topic: dict[str, array[int]] = {}  # places
        self._file = tempfile.NamedTemporaryFile(suffix=".arrow")  # noqa: SIM115  # lives as long as this
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        self._by_topic.setdefault(row["topic"], array("Q")).append(len(self))
        self._newest.append({name: row.get(name) for name in COLUMNS})
        if len(self._newest) == _FULL:
            newest, self._newest = self._newest, []
            self._store(pa.RecordBatch.from_pylist(newest, _SCHEMA))

    def extend(self, batch: pa.RecordBatch) -> None:
        """Add rows that are Arrow already, behind those that were added before; only as long as none was appended."""
        for place, topic in enumerate(batch["topic"].to_pylist(), len(self)):
            self._by_topic.setdefault(topic, array("Q")).append(place)
        self._store(batch.select(COLUMNS))

    def _store(self, batch: pa.RecordBatch) -> None:
        begin = self._file.tell()
        with pa.ipc.new_stream(self._file, batch.schema) as writer:
            writer.write_batch(batch)
        self._file.flush()
        with pa.memory_map(self._file.name) as mapped:
            mapped.seek(begin)
            self._parts.append(pa.ipc.open_stream(mapped).read_next_batch())
        self._starts.append(self._stored)
        self._stored += batch.num_rows

    def __len__(self) -> int:
        return self._stored + len(self._newest)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        if place >= self._stored:
            return self._newest[place - self._stored]
        number = bisect_right(self._starts, place) - 1
        return self._parts[number].slice(place - self._starts[number], 1).to_pylist()[0]

    def __iter__(self) -> Iterator[Row]:
        for part in self._parts:
            yield from part.to_pylist()
        yield from self._newest

    def first(self, count: int | None = None) -> View:
        """The first `n` of them, also when more are added; by default all."""
        return View(self, range(len(self) if count is None else min(count, len(self))))

    def places(self, topic: str) -> Sequence[int]:
        """Where the rows of a topic are, in ascending order."""
        return self._by_topic.get(topic, ())


class View(Sequence[Row]):
    """Some of the rows, by their places; they are not copied."""

    def __init__(self, rows: Accepted, places: Sequence[int], count: int | None = None) -> None:
        self._rows, self._places = rows, places
        self._count = len(places) if count is None else count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self._rows[self._places[range(self._count)[place]]]

    def of_topic(self, topic: str) -> View:
        """The rows of a topic among the first ones."""
        places = self._rows.places(topic)
        return View(self._rows, places, bisect_left(places, self._count))
