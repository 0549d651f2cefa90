"""Progress: bars on a terminal, else a plain line now and then.

A run over instructions knows how many there are, but not how many requests they will take: the totals of steps are the
requests known so far, and the time left is estimated from the requests that the finished instructions took. Other runs
know all requests of a step, and estimate the time left for each step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

PLAIN_EVERY_S, PLAIN_AT_MOST_S = 5.0, 60.0  # between plain lines: the more, the longer the run is under way
ENOUGH, ENOUGH_S = 20, 5.0  # done in this run, and its seconds, before the time left is estimated; our choice
_shown_on: ContextVar[TextIO | None] = ContextVar("_shown_on", default=None)


class _Nowhere(StringIO):
    """Accepts everything and discards it."""

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
    """Requests of one step, or all. `new` are those of `done` that this run did, since the clock's second `begun`."""

    done: int = 0
    total: int = 0
    new: int = 0
    begun: float = 0.0

    def add(self, rows: int, begun: float) -> None:
        """Count rows that this run did, the first of them since `begun`."""
        self.begun = self.begun if self.new else begun
        self.new += rows
        self.done += rows

    def is_known(self, now: float) -> bool:
        """Whether enough was done for an estimate."""
        return self.new >= ENOUGH and now - self.begun >= ENOUGH_S

    def left(self, now: float) -> str:
        """The estimated time left at this run's pace; empty before enough was done."""
        if not self.is_known(now) or self.done >= self.total:
            return ""
        return self.time_for(self.total - self.done, now)

    def time_for(self, rows: float, now: float) -> str:
        """The estimated time of that many more."""
        return f"about {_duration(rows * (now - self.begun) / self.new)} left"

    def __str__(self) -> str:
        return f"{self.done}/{self.total}"


@dataclass
class _Walk:
    """Instructions in progress: `target` are wanted, `reached` were written so far."""

    target: int = 0
    reached: int = 0
    is_final: bool = False  # the target
    writing: Collection[str] = ()  # steps that write instructions
    before: int = 0  # finished by earlier runs
    done: int = 0  # finished by this run
    requests: int = 0  # of those in `done`
    start: tuple[int, int] = (0, 0)  # `reached`, and requests of `writing`, at the first call of `target`

    def requests_left(self, counts: Mapping[str, _Count]) -> float | None:
        """Estimated from the finished instructions and the written ones; None before there are enough."""
        written = sum(count.done for step, count in counts.items() if step in self.writing)
        if not self.is_final or self.done < ENOUGH:
            return None
        missing, (reached, begun) = self.target - self.reached, self.start
        if missing and self.reached == reached:
            return None
        walked = sum(count.done for count in counts.values()) - written
        left = self.requests / self.done * (self.target - self.before) - walked
        return max(0.0, left) + (missing * (written - begun) / (self.reached - reached) if missing else 0.0)


class StepProgress:
    """Counts the work of each step, found or done, and shows it on standard error, or on another stream."""

    def __init__(self, on: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = on or stream()
        self._clock = clock
        self._counts: dict[str, _Count] = {}
        self._requests, self._walk = _Count(), _Walk()
        self._money, self._currency = 0.0, ""
        self._bars: dict[str, TaskID] = {}
        self._begun = self._spoke = clock()
        console = Console(file=self._stream)
        fancy = self._stream.isatty() and not console.is_dumb_terminal
        self._rich = _Bars(lambda: " · ".join(self._head()), console) if fancy else None

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
        """Add rows of a step to its total, some of them already in the lake."""
        count = self._counts.setdefault(step, _Count())
        count.total += rows
        count.done += done
        self._show(step)

    def tick(self, step: str, took_s: float = 0.0) -> None:
        """Count a finished row of a step, with the duration of its request."""
        begun = self._clock() - took_s
        for count in (self._counts[step], self._requests):
            count.add(1, begun)
        self._show(step)

    def target(self, rows: int, reached: int, is_final: bool, writing: Collection[str]) -> None:
        """How many instructions are wanted, and how many are written.

        Args:
            is_final: the number wanted will not grow.
            writing: the steps that write instructions.
        """
        walk = self._walk
        if not walk.target:
            walk.start = reached, sum(count.done for step, count in self._counts.items() if step in writing)
        walk.target, walk.reached, walk.is_final, walk.writing = rows, reached, is_final, writing

    def walked(self, requests: int) -> None:
        """Count an instruction that went through all stages, with its requests, sent or found in the lake."""
        self._walk.done += 1
        self._walk.requests += requests

    def finished_before(self, rows: int) -> None:
        """Count instructions that earlier runs took through all stages."""
        self._walk.before += rows

    def spend(self, money: float, currency: str) -> None:
        self._money, self._currency = self._money + money, currency

    def _show(self, step: str) -> None:
        now = self._clock()
        if self._rich:
            count = self._counts[step]
            if step not in self._bars:
                self._bars[step] = self._rich.add_task(step, total=count.total, left="")
            left = "" if self._walk.target else count.left(now)
            self._rich.update(self._bars[step], completed=count.done, total=count.total, left=left)
        elif now - self._spoke >= min(PLAIN_AT_MOST_S, max(PLAIN_EVERY_S, (now - self._begun) / 50)):
            self._say()

    def _say(self) -> None:
        self._spoke = now = self._clock()
        parts = [*self._head()]
        for step, count in self._counts.items():
            left = "" if self._walk.target else count.left(now)
            parts.append(f"{step} {count}" + (f" ({left})" if left else ""))
        print(" · ".join(parts), file=self._stream, flush=True)

    def _head(self) -> Iterable[str]:
        """The parts of the line about the whole run."""
        now = self._clock()
        yield f"{now - self._begun:5.0f} s"
        walk = self._walk
        if walk.target:
            yield f"{walk.before + walk.done}/{walk.target} instructions"
        if (left := walk.requests_left(self._counts)) and self._requests.is_known(now):
            yield self._requests.time_for(left, now)
        if self._requests.new and (took := now - self._requests.begun) > 0:
            yield f"{_number(self._requests.new / took)} requests/s"
        if self._currency:
            yield f"{self._money:,.{2 if self._money >= 1 else 4}f} {self._currency}"


class _Bars(Progress):
    """A line about the whole run, and below it a bar for each step; on a narrow terminal bars shrink first."""

    def __init__(self, head: Callable[[], str], console: Console) -> None:
        self._head_line = head
        whole = {"no_wrap": True, "overflow": "ellipsis"}
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=Column(**whole)),  # type: ignore[arg-type]
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", justify="right", table_column=Column(**whole)),  # type: ignore[arg-type]
            TextColumn("{task.fields[left]}", table_column=Column(**whole)),  # type: ignore[arg-type]
            console=console,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield Text(self._head_line().strip(), no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


def _duration(seconds: float) -> str:
    """A rough duration: 20 s, 7 min, 3.5 h."""
    if seconds < 95:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5700 else f"{seconds / 3600:.1f} h"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
