"""Several models beside each other: their ranking by a judge, and w of each against its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from alignery.cli.render import console as terminal
from alignery.cli.render.console import console, plain, say
from tasks.evaluate.ranking import ELO, Standing

Cells = Mapping[str, tuple[float, float, float]]


def ranking(
    rankings: Sequence[Mapping[str, Any]], columns: Sequence[str], table: Mapping[str, Cells], as_json: bool
) -> None:
    """A ranking for each dimension and judge, then the table of w.

    Args:
        rankings: as `tasks.evaluate.ranking.rankings` gives them.
        columns, table: as `three_h` gives them.
    """
    if as_json:
        return terminal.as_json({"rankings": rankings, "w": table})
    for one in rankings:
        _ranked(f"{one['dimension']}, by the judge {one['judge']}", one["models"])
    if table:
        shown = Table("against its base", *columns, title="w = (wins - losses) / all, with its 95 % interval")
        for model, cells in table.items():
            shown.add_row(plain(model), *(_w(cells.get(column)) for column in columns))
        console().print(shown)
    if not rankings:
        say("No judge has compared two models yet: give the preset `evaluate: {judge: {}}`, and alignery evaluate")
    return None


def _ranked(title: str, standings: Sequence[Standing]) -> None:
    table = Table("", "model", "Elo", "95 %", "win", "tie", "lose", title=plain(title))
    for place, one in enumerate(standings, 1):
        if place > 1 and one.group != standings[place - 2].group:
            table.add_section()
        ends = f"{one.low * ELO:+.0f} to {one.high * ELO:+.0f}"
        counts = map(str, (one.win, one.tie, one.lose))
        table.add_row(str(place), plain(one.model), f"{one.strength * ELO:+.0f}", ends, *counts)
    console().print(table)
    if standings[-1].group:
        say("No verdict links the groups that a line parts: across it, the places say nothing.")


def _w(cell: tuple[float, float, float] | None) -> str:
    return "–" if cell is None else f"{cell[0]:+.2f} ({cell[1]:+.2f} to {cell[2]:+.2f})"
