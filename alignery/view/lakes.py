"""Read-only connections to the lake, at its newest snapshot or an older one, with a cache of query results."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alignery.config.preset import Preset
from alignery.errors import UsageError
from warehouse import Lake
from warehouse.browse.table_page import columns_of
from warehouse.query import status
from warehouse.query.snapshots import resolve

_OPEN = 4  # snapshots that are open beside the lake as it is now
_KEPT = 128  # counted results
_T = TypeVar("_T")


class Lakes:
    """One lake, open for reading, and some of its snapshots; used from several threads.

    Args:
        home: the folder of the lake.
        preset: whose lake it is, and whose methods' tables and views it has.

    Raises:
        LakeUsageError: there is no lake.
    """

    def __init__(self, home: Path, preset: Preset) -> None:
        self.preset = preset
        self._place, self._schema = preset.place(home), preset.lake_schema
        self.now = Lake.open(self._place, schema=self._schema, read_only=True)
        # One that is dropped is closed once the last request that reads it has ended.
        self._pinned: OrderedDict[int, Lake] = OrderedDict()
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, name: str | None) -> Lake:
        """The lake at a tag, a snapshot's number, a date or an age. Raises LakeUsageError where there is none."""
        if not name:
            return self.now
        snapshot = resolve(self.now, name)
        with self._lock:
            if snapshot not in self._pinned:
                self._pinned[snapshot] = Lake.open(self._place, schema=self._schema, snapshot=snapshot)
            self._pinned.move_to_end(snapshot)
            lake = self._pinned[snapshot]
            if len(self._pinned) > _OPEN:
                self._pinned.popitem(last=False)
        return lake

    @contextmanager
    def writing(self) -> Iterator[Lake]:
        """The lake, open to be written to, for a person's marks.

        Raises:
            UsageError: it may not be written to.
        """
        try:
            with Lake.open(self._place, schema=self._schema) as lake:
                yield lake
        except OSError as error:
            raise UsageError(
                f"{self._place}: cannot be written to ({error.strerror}); marks need a lake that may be"
            ) from error

    def once(self, lake: Lake, snapshot: int, key: tuple[Any, ...], count: Callable[[], _T]) -> _T:
        """What `count` returns, counted once for a snapshot: what stands in it never changes."""
        whole = (snapshot, *key)
        with self._lock:
            if whole in self._kept:
                self._kept.move_to_end(whole)
                found: _T = self._kept[whole]
                return found
        found = count()
        with self._lock:
            self._kept[whole] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def columns(self, lake: Lake, name: str) -> dict[str, str]:
        """The columns of a table or view. Raises LakeUsageError where there is none of that name."""
        status.check_table(lake, name)
        return self.once(lake, 0, ("columns", name), lambda: columns_of(lake, name))

    def close(self) -> None:
        for lake in (self.now, *self._pinned.values()):
            lake.close()
