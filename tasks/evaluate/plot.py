"""Figures with their intervals as SVG files, which any browser shows: models by axis or by two, the gate's decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap

from alignery.untrusted import printable
from tasks.evaluate.front import front as pareto_front
from tasks.evaluate.gate import Moved

Figure = tuple[float, float, float]  # value, and the ends of its interval

LABELS, PANEL, GAP, LINE, TOP = 230, 200, 40, 22, 64  # pixels
LONGEST = 32  # characters of a label
COLOUR = "#1f6feb"
SQUARE, SQUARE_LEFT = 320, 56  # of a picture of two axes
ROW, LETTER = 14, 7  # of its labels: from one baseline to the next, and the width of a letter
VERDICTS = {"better": "#1a7f37", "worse": "#cf222e", "unsure": "#bf8700", "same": "#57606a"}
WIDE, SIDE, WORDS = (
    360,
    170,
    105,
)  # of a forest plot: its panel and its verdicts, in pixels; its longest line, in letters


def dots(
    title: str,
    models: Mapping[str, Mapping[str, Figure]],
    span: tuple[float, float] = (0.0, 1.0),
    mark: float | None = None,
) -> str:
    """A line for each model, a panel for each axis, a dot with whiskers where the model has a figure.

    Args:
        title: what was compared.
        models: label → axis → (value, low, high), within the span.
        span: the values at the left and right edge of each panel.
        mark: the value of the dashed line in each panel, to compare with; the first model's if left out.
    """
    axes = list(dict.fromkeys(axis for figures in models.values() for axis in figures))
    width = LABELS + len(axes) * (PANEL + GAP)
    height = TOP + LINE * len(models) + 36
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(printable(title))}</text>',
        *(_label(_y(place), label) for place, label in enumerate(models)),
    ]
    for place, axis in enumerate(axes):
        lines += _panel(LABELS + place * (PANEL + GAP), axis, list(models.values()), span, mark)
    return "\n".join([*lines, "</svg>"]) + "\n"


def forest(title: str, why: str, axes: Sequence[Moved]) -> str:
    """A forest plot of a decision: the difference on each axis with its interval, and the margin that it must clear.

    An axis passes where its whisker ends right of its red mark; what is right of the dashed line is a gain. The ends
    are at the decision's own level, so that the picture shows exactly the decision.

    Args:
        why: the decision, shown below the title.
    """
    words = wrap(printable(why), WORDS)
    top = TOP + 16 * len(words)
    low = min((min(one.low, -one.margin) for one in axes), default=-1.0)
    high = max((max(one.high, one.margin) for one in axes), default=1.0)
    floor, width = top + LINE * len(axes), LABELS + WIDE + SIDE

    def x(value: float) -> str:
        return f"{LABELS + WIDE * (value - low) / (high - low):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{floor + 44}" '
        f'viewBox="0 0 {width} {floor + 44}" font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{floor + 44}" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(printable(title))}</text>',
        *(f'<text x="16" y="{46 + 16 * number}">{escape(line)}</text>' for number, line in enumerate(words)),
        f'<line x1="{x(0)}" y1="{top}" x2="{x(0)}" y2="{floor}" stroke="#888" stroke-dasharray="3 3"/>',
    ]
    for value, mark in ((low, f"{low:+.2f}"), (0.0, "0"), (high, f"{high:+.2f}")):
        lines.append(f'<text x="{x(value)}" y="{floor + 18}" text-anchor="middle">{mark}</text>')
    lines.append(
        f'<text x="{x((low + high) / 2)}" y="{floor + 36}" text-anchor="middle">candidate less incumbent; red: the '
        "margin</text>"
    )
    for place, one in enumerate(axes):
        y = top + LINE * (place + 0.5)
        ends = f'x1="{x(one.low)}" y1="{y}" x2="{x(one.high)}" y2="{y}"'
        colour, edge = VERDICTS.get(one.verdict, "#57606a"), x(-one.margin)
        attributes = f'x="{LABELS + WIDE + 12}" y="{y + 4}" fill="{colour}"'
        lines += [
            _label(y, f"{one.axis} ({one.prompts})"),
            f'<line x1="{edge}" y1="{y - 8}" x2="{edge}" y2="{y + 8}" stroke="{VERDICTS["worse"]}" stroke-width="3"/>',
            f'<line {ends} stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{x(one.after - one.before)}" cy="{y}" r="4" fill="{colour}"/>',
            f"<text {attributes}>{one.verdict} {one.after - one.before:+.3f}</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def pareto(title: str, models: Mapping[str, Mapping[str, Figure]], x: str, y: str) -> str:
    """A point for each model on two axes, with whiskers along both; those that none dominates are joined by a line.

    A model dominates another that is better on neither axis and worse on one, by the values alone: where whiskers
    overlap, another set of prompts may turn the order.

    Args:
        models: label → axis → (value, low, high), 0 to 1, higher is better; each has both axes.
    """
    at = {label: (figures[x], figures[y]) for label, figures in models.items()}
    front = pareto_front({label: (one[0][0], one[1][0]) for label, one in at.items()})

    def across(value: float) -> str:
        return f"{SQUARE_LEFT + SQUARE * value:.1f}"

    def down(value: float) -> str:
        return f"{TOP + SQUARE * (1 - value):.1f}"

    width, height, floor = SQUARE_LEFT + SQUARE + 180, TOP + SQUARE + 48, TOP + SQUARE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(printable(title))}</text>',
        '<text x="16" y="42" fill="#57606a" font-size="11">line: models that none dominates; whiskers: 95 %</text>',
        f'<text x="{across(0.5)}" y="{floor + 38}" text-anchor="middle" font-weight="bold">'
        f"{escape(printable(x))}</text>",
        f'<text x="{across(0)}" y="{TOP - 6}" font-weight="bold">{escape(printable(y))}</text>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        lines.append(f'<line x1="{across(tick)}" y1="{TOP}" x2="{across(tick)}" y2="{floor}" stroke="#ddd"/>')
        lines.append(f'<line x1="{across(0)}" y1="{down(tick)}" x2="{across(1)}" y2="{down(tick)}" stroke="#ddd"/>')
        lines.append(f'<text x="{across(tick)}" y="{floor + 18}" text-anchor="middle">{tick:g}</text>')
        lines.append(f'<text x="{SQUARE_LEFT - 8}" y="{float(down(tick)) + 4}" text-anchor="end">{tick:g}</text>')
    points = " ".join(f"{across(at[label][0][0])},{down(at[label][1][0])}" for label in front)
    lines.append(f'<polyline points="{points}" fill="none" stroke="{COLOUR}" stroke-dasharray="4 3"/>')
    written: list[tuple[float, float, int]] = []
    for label, (wide, high) in at.items():
        colour = COLOUR if label in front else "#8c959f"
        (cx, *xs), (cy, *ys) = map(across, wide), map(down, high)
        shown = _short(label)
        left, base = _free_place(float(cx) + 8, float(cy), len(shown), written)
        written.append((left, base, len(shown)))
        lines += [
            f'<line x1="{xs[0]}" y1="{cy}" x2="{xs[1]}" y2="{cy}" stroke="{colour}"/>',
            f'<line x1="{cx}" y1="{ys[0]}" x2="{cx}" y2="{ys[1]}" stroke="{colour}"/>',
            f'<circle cx="{cx}" cy="{cy}" r="4" fill="{colour}"/>',
            f'<text x="{left:.1f}" y="{base:.1f}" fill="{colour}">{escape(printable(shown))}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _free_place(
    left: float, down: float, letters: int, written: Sequence[tuple[float, float, int]]
) -> tuple[float, float]:
    """Where a point's label goes: (left, baseline), inside the square and clear of the labels that are there already.

    Above the point if that is free, else below it, else further off, each time a line higher or lower.

    Args:
        down: where the point is.
        letters: of the label.
        written: (left, baseline, letters) of each label so far.
    """

    def is_free(base: float) -> bool:
        inside = TOP + 12 <= base <= TOP + SQUARE - 4
        return inside and not any(
            abs(base - other) < ROW and left < begin + LETTER * count and begin < left + LETTER * letters
            for begin, other, count in written
        )

    places = [down + side for line in range(SQUARE // ROW) for side in (-8 - ROW * line, 16 + ROW * line)]
    return left, next(filter(is_free, places), down - 8)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _y(place: int) -> float:
    return TOP + LINE * (place + 0.5)


def _label(y: float, label: str) -> str:
    shown = _short(label)
    return f'<text x="{LABELS - 12}" y="{y + 4}" text-anchor="end">{escape(printable(shown))}</text>'


def _panel(
    left: int, axis: str, models: Sequence[Mapping[str, Figure]], span: tuple[float, float], mark: float | None
) -> list[str]:
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
    if mark is None and axis in models[0]:
        mark = models[0][axis][0]
    if mark is not None:
        at = f'x1="{x(mark):.1f}" y1="{TOP}" x2="{x(mark):.1f}" y2="{floor}"'
        lines.append(f'<line {at} stroke="#888" stroke-dasharray="3 3"/>')
    for place, figures in enumerate(models):
        if axis in figures:
            value, low, high = (f"{x(end):.1f}" for end in figures[axis])
            y = _y(place)
            lines.append(f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{COLOUR}" stroke-width="2"/>')
            lines.append(f'<circle cx="{value}" cy="{y}" r="4" fill="{COLOUR}"/>')
    return lines
