"""What a notebook shows of a run's result: a table in HTML, escaped and bounded, without a style sheet or a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from html import escape
from typing import Any, TypeVar

from alignery.untrusted import excerpt

CELL = 200  # characters of a value
ROWS = 50
_T = TypeVar("_T", bound="Displayed")


class Displayed:
    """A dataclass that a notebook shows as a table of its fields."""

    def shown(self) -> Mapping[str, object]:
        """Name → value, in the order of the table."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        return table({"": name, type(self).__name__: value} for name, value in self.shown().items())


class Picture(str):
    """A drawing: the text of an SVG file, which a notebook shows."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


class Results(list[_T]):
    """Results of one kind, which a notebook shows as one table with a row for each."""

    def _repr_html_(self) -> str:
        return table([one.shown() for one in self])


def untypeset(html: str) -> str:
    """HTML whose text MathJax leaves alone; Jupyter has it set `$…$` in outputs, and TeX makes links too."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{html}</div>'


def table(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as HTML: the columns are those of all rows; what a row lacks, or is None, stays empty."""
    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    head = "".join(f'<th style="text-align:left">{escape(excerpt(name, CELL))}</th>' for name in names)
    body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in names)}</tr>" for row in listed[:ROWS])
    more = f"<p>and {len(listed) - ROWS} more</p>" if len(listed) > ROWS else ""
    return untypeset(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}")


def _cell(value: Any) -> str:
    """A value's cell: a number to three decimals, a mapping or a list as its items."""
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        value = f"{value:.3f}".rstrip("0").rstrip(".")
    elif isinstance(value, Mapping):
        value = ", ".join(f"{name} {one}" for name, one in value.items())
    elif isinstance(value, list):
        value = "; ".join(map(str, value))
    return f'<td style="text-align:left">{escape(excerpt(value, CELL))}</td>'
