"""Points on two axes, higher is better on both: which of them no other dominates, and how much these dominate."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Point = tuple[float, float]


def front(points: Mapping[str, Point]) -> list[str]:
    """The labels of the points that none dominates (the Pareto front), from left to right; of equal ones, all.

    A point dominates another that is better on neither axis and worse on one.
    """
    return sorted(
        (
            label
            for label, (x, y) in points.items()
            if not any((a >= x and b >= y) and (a, b) != (x, y) for a, b in points.values())
        ),
        key=lambda label: (points[label][0], -points[label][1]),
    )


def hypervolume(points: Collection[Point], reference: Point = (0.0, 0.0)) -> float:
    """The area that at least one of the points dominates, above and to the right of the reference. Exact.

    Args:
        reference: the worst there can be; with figures from 0 to 1 and the origin, the area is a share of the square.
    """
    area, height = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):  # from the right: each adds what lies above those before
        if x > reference[0] and y > height:
            area, height = area + (x - reference[0]) * (y - height), y
    return area
