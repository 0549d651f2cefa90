"""Read-only connections to the lake, at its newest snapshot or an older one, with a cache of query results."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from alignery.config.preset import Preset
from alignery.config.schema import Schedule
from alignery.errors import UsageError
from warehouse import Lake
from warehouse.query.snapshots import resolve
from warehouse.schema.tables import Row

_OPEN = 4  # snapshots that are open beside the newest one
_KEPT = 128  # cached results by snapshot
_RUNS = 4096  # runs with cached counts
_T = TypeVar("_T")
Upcoming = Callable[[Schedule], Mapping[str, datetime]]


class Lakes:
    """One lake, open for reading, and some of its snapshots; used from several threads.

    Args:
        home: the folder of the lake.
        preset: whose lake it is, and whose methods' tables and views it has.
        upcoming: schedule → when each flow runs next; None where that cannot be known.

    Raises:
        LakeUsageError: there is no lake.
    """

    def __init__(self, home: Path, preset: Preset, upcoming: Upcoming | None = None) -> None:
        self.preset, self.upcoming = preset, upcoming
        self._place, self._schema = preset.place(home), preset.lake_schema
        self.now = Lake.open(self._place, schema=self._schema, read_only=True)
        # One that is dropped is closed once the last request that reads it has ended.
        self._pinned: OrderedDict[int, Lake] = OrderedDict()
        self._cached: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._runs: OrderedDict[tuple[str, int], list[Row]] = OrderedDict()
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
                f"{self._place}: cannot be written to ({error.strerror}); marks need a writable lake"
            ) from error

    def once(self, lake: Lake, snapshot: int, key: tuple[Any, ...], count: Callable[[], _T]) -> _T:
        """What `count` returns, cached by snapshot, because a snapshot never changes.

        If a commit is made during the query, the result may contain it, and is not cached.
        """
        whole = (snapshot, *key)
        with self._lock:
            if whole in self._cached:
                self._cached.move_to_end(whole)
                found: _T = self._cached[whole]
                return found
        found = count()
        if lake.snapshot() == snapshot:
            self._keep(self._cached, whole, found, _KEPT)
        return found

    def by_run(
        self, versions: Callable[[], Mapping[str, int]], count: Callable[[list[str]], list[Row]]
    ) -> dict[str, list[Row]]:
        """Run → its rows of what `count` returns for runs; a run's are counted once for each of its last commits.

        Args:
            versions: gives run → the snapshot of its last commit.
        """
        asked = versions()
        with self._lock:
            found = {run: self._runs[run, at] for run, at in asked.items() if (run, at) in self._runs}
        if missing := [run for run in asked if run not in found]:
            counted: dict[str, list[Row]] = {run: [] for run in missing}
            for row in count(missing):
                counted[row["run_id"]].append(row)
            still = versions()  # else a commit during the query may be in it
            for run, rows in counted.items():
                if still.get(run) == asked[run]:
                    self._keep(self._runs, (run, asked[run]), rows, _RUNS)
            found |= counted
        return found

    def _keep(self, among: OrderedDict[Any, Any], key: Any, found: Any, most: int) -> None:
        with self._lock:
            among[key] = found
            if len(among) > most:
                among.popitem(last=False)

    def close(self) -> None:
        for lake in (self.now, *self._pinned.values()):
            lake.close()
