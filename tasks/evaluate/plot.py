"""Models' figures with their intervals as an SVG file, which any browser shows: a panel for each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from alignery.untrusted import printable

Figure = tuple[float, float, float]  # value, and the ends of its interval

PICTURES = "pictures"  # the folder of a home that has those of the newest evaluation
LABELS, PANEL, GAP, LINE, TOP = 230, 200, 24, 22, 64  # pixels
LONGEST = 32  # characters of a label
COLOUR = "#1f6feb"


def dots(title: str, models: Mapping[str, Mapping[str, Figure]], span: tuple[float, float] = (0.0, 1.0)) -> str:
    """A line for each model, a panel for each axis, a dot with whiskers where the model has a figure.

    Args:
        title: what was compared.
        models: label → axis → (value, low, high), within the span; the first model's value is a dashed line in each
            panel, to compare the others with.
        span: the values at the left and right edge of each panel.
    """
    axes = list(dict.fromkeys(axis for figures in models.values() for axis in figures))
    width = LABELS + len(axes) * (PANEL + GAP)
    height = TOP + LINE * len(models) + 36
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(printable(title))}</text>',
        *(_label(place, label) for place, label in enumerate(models)),
    ]
    for place, axis in enumerate(axes):
        lines += _panel(LABELS + place * (PANEL + GAP), axis, list(models.values()), span)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _y(place: int) -> float:
    return TOP + LINE * (place + 0.5)


def _label(place: int, label: str) -> str:
    shown = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
    return f'<text x="{LABELS - 12}" y="{_y(place) + 4}" text-anchor="end">{escape(printable(shown))}</text>'


def _panel(left: int, axis: str, models: Sequence[Mapping[str, Figure]], span: tuple[float, float]) -> list[str]:
    floor = TOP + LINE * len(models)

    def x(value: float) -> float:
        return left + PANEL * (value - span[0]) / (span[1] - span[0])

    middle = (span[0] + span[1]) / 2
    lines = [
        f'<text x="{x(middle)}" y="{TOP - 12}" text-anchor="middle" font-weight="bold">{escape(printable(axis))}</text>'
    ]
    for tick in (span[0], middle, span[1]):
        lines.append(f'<line x1="{x(tick)}" y1="{TOP}" x2="{x(tick)}" y2="{floor}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(tick)}" y="{floor + 18}" text-anchor="middle">{tick:g}</text>')
    if first := models[0].get(axis):
        at = f'x1="{x(first[0]):.1f}" y1="{TOP}" x2="{x(first[0]):.1f}" y2="{floor}"'
        lines.append(f'<line {at} stroke="#888" stroke-dasharray="3 3"/>')
    for place, figures in enumerate(models):
        if axis in figures:
            value, low, high = (f"{x(end):.1f}" for end in figures[axis])
            y = _y(place)
            lines.append(f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{COLOUR}" stroke-width="2"/>')
            lines.append(f'<circle cx="{value}" cy="{y}" r="4" fill="{COLOUR}"/>')
    return lines
