"""Curves over the steps of a training, one panel a figure, as an SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from alignery.untrusted import printable
from tasks.train.plot import ticks

Points = Sequence[tuple[float, float]]  # (step, value)
COLOURS = ("#1f6feb", "#cf222e", "#1a7f37", "#bf8700", "#8250df")
WIDTH, HEIGHT, GAP, TOP = 250, 150, 62, 64  # pixels, of a panel and around it
COLUMNS = 3
MOST = 300  # points of a line; a longer one is thinned


def panels(title: str, figures: Mapping[str, Mapping[str, Points]]) -> str:
    """A panel for each figure, with a line for each label.

    Args:
        title: what was trained.
        figures: name → label → (step, value), finite, of any number of steps; the same label has the same colour.
    """
    labels = list(dict.fromkeys(label for lines in figures.values() for label in lines))
    colours = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(labels)}
    rows = -(-len(figures) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP // 2, TOP + rows * (HEIGHT + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{GAP}" y="22" font-size="15">{escape(printable(title))}</text>',
    ]
    for place, label in enumerate(one for one in labels if one):
        lines.append(
            f'<text x="{GAP + 140 * place}" y="40" fill="{colours[label]}">{escape(printable(label[:20]))}</text>'
        )
    for place, (name, series) in enumerate(figures.items()):
        left, top = GAP + place % COLUMNS * (WIDTH + GAP), TOP + place // COLUMNS * (HEIGHT + GAP)
        lines += _panel(left, top, name, {colours[label]: points for label, points in series.items()})
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(left: int, top: int, name: str, series: Mapping[str, Points]) -> list[str]:
    """One figure; its lines by colour."""
    values = [value for points in series.values() for _, value in points] or [0.0]
    last = max((step for points in series.values() for step, _ in points), default=1.0) or 1.0
    rise = ticks(min(values), max(values), 4)
    low, high = rise[0], rise[-1]
    floor = top + HEIGHT

    def x(step: float) -> float:
        return left + WIDTH * step / last

    def y(value: float) -> float:
        return floor - HEIGHT * (value - low) / (high - low)

    lines = [f'<text x="{left}" y="{top - 6}" font-weight="bold">{escape(printable(name))}</text>']
    for tick in rise:
        lines.append(
            f'<line x1="{left}" y1="{y(tick):.1f}" x2="{left + WIDTH}" y2="{y(tick):.1f}" stroke="#ddd"/>'
            f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    lines += [f'<text x="{x(tick):.1f}" y="{floor + 16}" text-anchor="middle">{tick:g}</text>' for tick in (0, last)]
    for colour, points in series.items():
        pairs = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in _thinned(points))
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{pairs}"/>')
    return lines


def _thinned(points: Points) -> Points:
    return points[:: -(-len(points) // MOST)] if points else points
