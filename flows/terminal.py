"""What all that is shown has in common: the console, one value as a cell, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH = 160  # characters of a line where there is no terminal
CELL = 80  # characters of a value shown in a table
SHORT = 24  # characters of a value that is never broken
SLIVER = 16  # characters that a long value must have in a line of its cell
ID = 8  # characters of an id where the whole of it is not needed: `trace` and `--run` take them
# What a model wrote may hold a terminal's commands; they are shown and not obeyed.
_COMMANDS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False, highlight=False)


def table(found: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """Rows, of which there is one at least, as a table."""
    made = Table(title=title, header_style="bold")
    for name in found[0]:
        cells = [cell(row[name]) for row in found]
        # Short values, such as names, stay whole; long ones give way.
        short = all(len(text) <= SHORT for text in cells)
        right = all(isinstance(row[name], int | float | None) for row in found)
        made.add_column(name, no_wrap=short, overflow="fold", justify="right" if right else "left")
    for row in found:
        made.add_row(*(cell(value) for value in row.values()))
    return made


def fits(found: Sequence[Mapping[str, Any]], width: int) -> bool:
    """Whether the rows are pleasant as a table of this width: short values whole, long ones not in slivers."""
    longest = [max(len(plain(row[name])) for row in [*found, {name: name}]) for name in found[0]]
    return sum((length if length <= SHORT else SLIVER) + 3 for length in longest) < width


def cell(value: Any, limit: int = CELL) -> str:
    """A value as rich's markup: bounded, nothing of it obeyed."""
    return escape(plain(value, limit))


def plain(value: Any, limit: int = CELL) -> str:
    """A value as bounded text in which a terminal finds no commands."""
    match value:
        case None:
            text = ""
        case float():
            text = f"{value:.3f}"
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            text = str(value)
    # Cut first, for a text may be long.
    return (text if len(text) <= limit else text[: limit - 1] + "…").translate(_COMMANDS)


def line(value: Any, limit: int = CELL) -> str:
    """The same on one line."""
    return " ".join(plain(value, limit).split())


def short(id: str | None) -> str:
    """The beginning of an id."""
    return plain(id)[:ID]


def as_json(value: Any) -> None:
    print(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def _jsonable(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
