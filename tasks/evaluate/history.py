"""The promoted model over time as an SVG file: each decision of the registry, and the model in place after it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from alignery.untrusted import printable
from tasks.evaluate.held_out import interval
from tasks.evaluate.plot import COLOUR, LONGEST, VERDICTS, Figure
from tasks.step import Row

MOST = 60  # decisions that are shown, the newest
NAMED = 12  # of those that put a model in place, that are named below the panels
LEFT, WIDE, HIGH, GAP, TOP, LINE = 56, 620, 96, 44, 76, 18  # pixels
STATES = {"promoted": VERDICTS["better"], "kept": "#8c959f", "rolled back": VERDICTS["unsure"]}
_LEGEND = "green: promoted; grey: kept back; amber: rolled back; blue: in use now; whiskers: 95 %"
_Score = tuple[Figure, float | None]


def history(rows: Sequence[Row]) -> str:
    """A panel for each axis: what each candidate scored, and the model in place after each decision.

    An oracle's figures are means from 0 to 1. A judge's are win rates against the incumbent, which have no
    line through them: each has another opponent, and .5 is as good as that one.

    Args:
        rows: the registry's decisions on one alias, the oldest first: {state, model, model_path, against, figures,
            policy, created_at}.
    """
    scored = [_scored(row) for row in rows]
    axes = list(dict.fromkeys(axis for figures in scored[-MOST:] for axis in figures))
    changes = [(number, row) for number, row in enumerate(rows, 1) if row["state"] != "kept"][-NAMED:]
    floor = TOP + (HIGH + GAP) * len(axes)
    width, height = LEFT + WIDE + 24, floor + LINE * (len(changes) + 1)
    of = f"the last {MOST} of {len(rows)} decisions" if len(rows) > MOST else f"decisions 1 to {len(rows)}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="15">The promoted model: {of}</text>',
        f'<text x="16" y="42" fill="#57606a" font-size="11">{_LEGEND}</text>',
    ]
    for place, axis in enumerate(axes):
        found = [figures.get(axis) for figures in scored]
        lines += _panel(TOP + place * (HIGH + GAP), axis, rows, found)
    for place, (number, row) in enumerate(changes):
        name = printable(Path(row["model_path"]).name if row["model_path"] else "the preset's own model")
        what = f"{number}: {row['state']}, {row['created_at']:%Y-%m-%d}: {name[:LONGEST]}"
        lines.append(f'<text x="16" y="{floor + LINE * place}" fill="{STATES[row["state"]]}">{escape(what)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _scored(row: Row) -> dict[str, _Score]:
    """Of each axis: the candidate's value with its interval, and the incumbent's; None of a judge."""
    judged = json.loads(row["policy"] or "{}").get("by") == "judge"
    return {
        one["axis"]: ((one["after"], *interval(one["after"], one["prompts"])), None if judged else one["before"])
        for one in json.loads(row["figures"] or "[]")
        if one["prompts"]
    }


def _values_in_place(rows: Sequence[Row], found: Sequence[_Score | None]) -> list[float | None]:
    """The value of the model in place after each decision; None where it is not known."""
    own = rows[0]["against"]  # the preset's own model; a decision by hand has no name for it
    known: dict[str | None, float] = {}
    values = []
    for row, one in zip(rows, found, strict=True):
        before = row["against"] or own
        if one and one[1] is not None:
            known |= {row["model"]: one[0][0], before: one[1]}
        values.append(known.get(before if row["state"] == "kept" else row["model"] or own))
    return values


def _panel(top: int, axis: str, rows: Sequence[Row], found: Sequence[_Score | None]) -> list[str]:
    first, values = max(0, len(rows) - MOST), _values_in_place(rows, found)[-MOST:]
    shown, step = list(zip(rows[-MOST:], found[-MOST:], strict=True)), WIDE / min(len(rows), MOST)
    ends = [end for _, one in shown if one for end in one[0]] + [value for value in values if value is not None]
    low, high = math.floor(min(ends) * 10) / 10, math.ceil(max(ends) * 10) / 10
    high = max(high, low + 0.1)

    def x(place: float) -> str:
        return f"{LEFT + step * (place + 0.5):.1f}"

    def y(value: float) -> str:
        return f"{top + HIGH * (high - value) / (high - low):.1f}"

    judged = any(one and one[1] is None for _, one in shown)
    title = printable(axis[:LONGEST]) + (": win rate against the incumbent" if judged else "")
    lines = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    for tick in (low, high):
        lines.append(f'<line x1="{LEFT}" y1="{y(tick)}" x2="{LEFT + WIDE}" y2="{y(tick)}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{float(y(tick)) + 4}" text-anchor="end">{tick:g}</text>')
    lines += _line(values, x, y)
    for place, (row, one) in enumerate(shown):
        colour = STATES[row["state"]]
        if row["state"] != "kept":
            at = f'x1="{x(place)}" y1="{top}" x2="{x(place)}" y2="{top + HIGH}"'
            lines.append(f'<line {at} stroke="{colour}" stroke-dasharray="3 3"/>')
        if one:
            value, *whisker = map(y, one[0])
            at = f'x1="{x(place)}" y1="{whisker[0]}" x2="{x(place)}" y2="{whisker[1]}"'
            lines.append(f'<line {at} stroke="{colour}" stroke-width="2"/>')
            lines.append(f'<circle cx="{x(place)}" cy="{value}" r="4" fill="{colour}"/>')
    every = math.ceil(len(shown) / 20)
    for place in range(0, len(shown), every):
        number = f'<text x="{x(place)}" y="{top + HIGH + 14}" text-anchor="middle" font-size="10" fill="#57606a">'
        lines.append(f"{number}{first + place + 1}</text>")
    return lines


def _line(values: Sequence[float | None], x: Callable[[float], str], y: Callable[[float], str]) -> list[str]:
    """The model in place, as steps: each value holds from its decision to the next."""
    segments, before = [], None
    for place, value in enumerate(values):
        if value is not None:
            start = f"M{x(place)} {y(value)}" if before is None else f"L{x(place)} {y(value)}"
            segments.append(f"{start} L{x(place + 1 if place + 1 < len(values) else place + 0.5)} {y(value)}")
        before = value
    return [f'<path d="{" ".join(segments)}" fill="none" stroke="{COLOUR}" stroke-width="1.5"/>'] if segments else []
