"""Shared output functions: the console, one value as a cell, and JSON for scripts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from alignery.cli.hints import runnable
from alignery.untrusted import printable, printable_json

WIDTH = 160  # characters of a line where there is no terminal
CELL = 80  # characters of a value shown in a table
SHORT = 24  # characters of a value that is never broken
SLIVER = 16  # characters that a long value must have in a line of its cell
_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)
ID = 8  # characters of an id where the whole of it is not needed: `trace` and `--run` take them


class _Literal(Console):
    """A console that prints strings as plain text: no markup, no emoji names, no terminal control sequences."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(printable(text), **how)  # here too, so that it is measured as it is shown


def console() -> Console:
    width = None if sys.stdout.isatty() else WIDTH
    return _Literal(width=width, soft_wrap=False, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Print a message; never wrapped, so that a command in it can be copied and run unchanged."""
    console().print(runnable(text), soft_wrap=True)


@contextmanager
def quiet() -> Iterator[None]:
    """In the block `hint` prints nothing."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def hint(text: str) -> None:
    """Print what to run next, as `say` does; nothing under --quiet."""
    if not _is_quiet.get():
        say(text)


def table(found: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """One or more rows as a table."""
    rich_table = Table(title=title, header_style="bold")
    for name in found[0]:
        cells = [plain(row[name]) for row in found]
        # Short values, such as names, stay whole, as do numbers with their intervals; long ones are wrapped.
        short = all(map(_stays_whole, cells))
        right = all(isinstance(row[name], int | float | None) for row in found)
        rich_table.add_column(line(name), no_wrap=short, overflow="fold", justify="right" if right else "left")
    for row in found:
        rich_table.add_row(*(plain(value) for value in row.values()))
    return rich_table


def fits(found: Sequence[Mapping[str, Any]], width: int) -> bool:
    """Whether the rows are readable as a table of this width: short values whole, long ones not too narrow."""
    needed = 0
    for name in found[0]:
        cells = [line(name), *(plain(row[name]) for row in found)]
        needed += max(map(len, cells)) + 3 if all(map(_stays_whole, cells)) else SLIVER + 3
    return needed < width


def _stays_whole(cell: str) -> bool:
    """Whether a cell is never broken."""
    return len(cell) <= SHORT or not any(char.isalpha() for char in cell)


def plain(value: Any, limit: int = CELL) -> str:
    """A value as bounded text without terminal control sequences."""
    match value:
        case None:
            text = ""
        case float():
            text = f"{value:.3f}"
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            text = str(value)
    # Cut first, because a text may be long.
    return printable(text if len(text) <= limit else text[: limit - 1] + "…")


def line(value: Any, limit: int = CELL) -> str:
    """The same on one line."""
    return " ".join(plain(value, limit).split())


def short(id: str | None) -> str:
    """The beginning of an id."""
    return plain(id)[:ID]


def as_json(value: Any) -> None:
    """Strict JSON without terminal control sequences; in ASCII if the stream encodes nothing else."""
    narrow = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    print(printable_json(json.dumps(_jsonable(value), ensure_ascii=narrow, allow_nan=False, indent=2)))


def _jsonable(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no number for it
        case Mapping():
            return {str(key): _jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [_jsonable(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _jsonable(asdict(value))
    return str(value)
