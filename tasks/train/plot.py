"""The curve of a training's loss as an SVG file, which any browser shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from alignery.untrusted import printable

WIDTH, HEIGHT = 640, 360  # pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48  # margins
POINTS = 400  # a longer history is drawn as the means of so many stretches


def loss_curve(title: str, losses: Sequence[float]) -> str:
    """One polyline over the steps (from 1), with ticks on both axes; a loss of zero is on the picture.

    Args:
        title: what was trained.
        losses: one a step, finite, at least one.
    """
    low, high = min(0.0, *losses), max(0.0, *losses)
    rise = ticks(low, high)
    low, high = min(low, rise[0]), max(high, rise[-1])
    last = len(losses)
    run = [tick for tick in ticks(0, last) if float(tick).is_integer() and tick <= last]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(loss: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - low) / (high - low)

    line = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in _points(losses))
    floor = HEIGHT - BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(printable(title))}: loss</text>',
        *(_level(y(tick), f"{tick:g}") for tick in rise),
        *(f'<text x="{x(tick):.1f}" y="{floor + 18}" text-anchor="middle">{tick:g}</text>' for tick in run),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">step</text>',
        f'<polyline fill="none" stroke="#1f6feb" stroke-width="1.5" points="{line}"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that span from low to high, which may be equal."""
    spread = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / about))
    width = next(power * step for step in (1, 2, 5, 10) if power * step * about >= spread * 0.999)
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return [round(number * width, 12) for number in range(first, max(last, first + 1) + 1)]


def _points(losses: Sequence[float]) -> list[tuple[float, float]]:
    size = max(1, math.ceil(len(losses) / POINTS))
    stretches = [losses[start : start + size] for start in range(0, len(losses), size)]
    return [
        (number * size + (len(stretch) + 1) / 2, sum(stretch) / len(stretch))
        for number, stretch in enumerate(stretches)
    ]


def _level(y: float, label: str) -> str:
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )
