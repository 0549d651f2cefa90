"""Progress: bars where there is a terminal, a plain line every few seconds where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S = 5.0
_shown_on: ContextVar[TextIO | None] = ContextVar("_shown_on", default=None)


class _Nowhere(StringIO):
    """Takes all, and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def hidden() -> Iterator[None]:
    """Whatever shows progress in the block, in this thread or task, shows none."""
    token = _shown_on.set(_Nowhere())
    try:
        yield
    finally:
        _shown_on.reset(token)


def stream() -> TextIO:
    """Where progress is shown: standard error, or nowhere."""
    return _shown_on.get() or sys.stderr


@dataclass
class _Count:
    done: int = 0
    total: int = 0


class StepProgress:
    """Counts the work of each step, found or done, and shows it on standard error, or on another stream."""

    def __init__(self, on: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = on or stream()
        self._clock = clock
        self._counts: dict[str, _Count] = {}
        self._bars: dict[str, TaskID] = {}
        self._begun = self._spoke = clock()
        self._rich: Progress | None = None
        if self._stream.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self._rich = Progress(*columns, console=Console(file=self._stream))

    def __enter__(self) -> StepProgress:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich:
            self._rich.stop()
        elif self._counts:
            self._say()

    def expect(self, step: str, rows: int, done: int = 0) -> None:
        """More rows of a step came into view, some of them already in the lake."""
        count = self._counts.setdefault(step, _Count())
        count.total += rows
        self.tick(step, done)

    def tick(self, step: str, rows: int = 1) -> None:
        count = self._counts[step]
        count.done += rows
        if self._rich:
            if step not in self._bars:
                self._bars[step] = self._rich.add_task(step)
            self._rich.update(self._bars[step], completed=count.done, total=count.total)
        elif self._clock() - self._spoke >= PLAIN_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._spoke = self._clock()
        parts = [f"{step} {count.done}/{count.total}" for step, count in self._counts.items()]
        print(f"{self._spoke - self._begun:5.0f} s  " + " · ".join(parts), file=self._stream, flush=True)
