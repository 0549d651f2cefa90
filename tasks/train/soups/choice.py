"""Which of the interpolated models is taken, and what the whole set of them shows.

Source: Rewarded soups (arXiv 2306.04488, section 3): λ from 0 to 1 in steps of 0.1, every model asked the same prompts,
and the front of those that none dominates on two axes. Departure: the paper leaves the choice of λ to the user, after
the fact; here it is a number, or `least_gain`, a rule of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tasks.evaluate.front import Point, front, hypervolume

Figures = Mapping[str, float]  # axis → 0 to 1, higher is better
Rule = Literal["least_gain"] | float

START = "start"  # the label of the model that all parts were trained from


def shares(count: int) -> list[float]:
    """λ, the share of the second model: `count` values from 0 to 1, as far apart as each other."""
    return [round(place / (count - 1), 4) for place in range(count)]


def label(share: float) -> str:
    return f"λ {share:g}"


def least_gain(start: Figures, figures: Figures) -> float:
    """The gain over the start on the axis where that is the least; below zero where one axis got worse."""
    return min(figures[axis] - start[axis] for axis in start)


def choose(start: Figures, grid: Mapping[float, Figures], rule: Rule) -> float:
    """The share that is taken: the rule's own, or the one whose least gain is the greatest.

    Of equal ones, that with the greatest sum over the axes, then the one nearest to a half, then the lower.

    Args:
        start: the figures of the model that both parts were trained from.
        grid: share → the figures of the model with that share of the second part.
    """
    if not isinstance(rule, str):
        return rule
    return max(
        grid, key=lambda share: (least_gain(start, grid[share]), sum(grid[share].values()), -abs(share - 0.5), -share)
    )


def summary(axes: tuple[str, str], models: Mapping[str, Figures], grid: Mapping[float, Figures]) -> dict[str, Any]:
    """What the figures show of the whole: for a report.

    Args:
        axes: in the order of the parts.
        models: label → figures, of all models that were asked: the start, the grid, a baseline.
        grid: share → figures, of the interpolated ones alone.

    Returns:
        front: labels of the models that none dominates; hypervolume: the share of the unit square that the grid
        dominates; hypervolume_of_ends: what the two parts by themselves, and the start, dominate of it.
    """

    def point(figures: Figures) -> Point:
        return figures[axes[0]], figures[axes[1]]

    ends = [*([models[START]] if START in models else []), grid[min(grid)], grid[max(grid)]]
    return {
        "front": front({name: point(figures) for name, figures in models.items()}),
        "hypervolume": hypervolume([point(figures) for figures in grid.values()]),
        "hypervolume_of_ends": hypervolume([point(figures) for figures in ends]),
    }
