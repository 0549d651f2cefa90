"""Drawings as SVG, made only of numbers: bars, a curve, an interval. Their colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT, LEFT = 640, 180, 64
_POINTS = 400  # of a curve


def bar(parts: Sequence[tuple[str, float]], label: str) -> Markup:
    """One bar of several parts.

    Args:
        parts: (class of the style sheet, share of the whole width, 0 to 1).
        label: what it shows, for screen readers.
    """
    x, shapes = 0.0, []
    for kind, width in parts:
        shapes.append(
            f'<rect class="{escape(kind)}" x="{x:.3f}" y="0" width="{max(0.0, width) * 100:.3f}" height="10"/>'
        )
        x += max(0.0, width) * 100
    return _svg("bar", "0 0 100 10", label, "".join(shapes), stretch=True)


def curve(points: Sequence[float], label: str) -> Markup:
    """A line over its place in the sequence; the least and the greatest value are shown beside it."""
    values = [float(value) for value in points[:: max(1, len(points) // _POINTS)]]
    if len(values) < 2:
        return Markup()
    low, high = min(values), max(values)
    step, span = (WIDTH - LEFT - 10) / (len(values) - 1), (high - low) or 1.0
    line = " ".join(
        f"{LEFT + n * step:.1f},{HEIGHT - 24 - (v - low) / span * (HEIGHT - 40):.1f}" for n, v in enumerate(values)
    )
    axes = f'<line class="axis" x1="{LEFT}" y1="{HEIGHT - 24}" x2="{WIDTH - 10}" y2="{HEIGHT - 24}"/>'
    words = (
        f'<text x="{LEFT - 6}" y="20" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - 20}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 6}">1</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 6}" text-anchor="end">{len(points)}</text>'
    )
    return _svg("curve", f"0 0 {WIDTH} {HEIGHT}", label, f'{axes}<polyline class="line" points="{line}"/>{words}')


def interval(low: float, middle: float, high: float, margin: float, label: str) -> Markup:
    """A difference with its interval on an axis from -1 to 1; the margin is the band about 0."""

    def place(value: float) -> float:
        return 100 + 100 * max(-1.0, min(1.0, value))

    shapes = (
        f'<rect class="band" x="{place(-margin):.1f}" y="2" width="{place(margin) - place(-margin):.1f}" height="16"/>'
        '<line class="axis" x1="100" y1="0" x2="100" y2="20"/>'
        f'<line class="line" x1="{place(low):.1f}" y1="10" x2="{place(high):.1f}" y2="10"/>'
        f'<circle class="dot" cx="{place(middle):.1f}" cy="10" r="3.5"/>'
    )
    return _svg("interval", "0 0 200 20", label, shapes)


def _svg(kind: str, box: str, label: str, shapes: str, *, stretch: bool = False) -> Markup:
    ratio = ' preserveAspectRatio="none"' if stretch else ""
    return Markup(f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(label)}"{ratio}>{shapes}</svg>')
