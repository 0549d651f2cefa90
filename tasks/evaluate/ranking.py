"""Several models compared: ranked from a judge's verdicts, and Aligner's table of w by model and suite.

Bradley and Terry (1952): the log-odds that a is preferred to b are the difference of their strengths. A tie counts half
a win for each. Choices:
1. A Gaussian prior of mean 0 and standard deviation 2 on each strength (350 points of Elo), so that a model which never
   lost, or never won, has a finite strength.
2. Strengths have mean 0 within each group of models that are linked by verdicts (which the prior sees to); between
   groups nothing was compared.
3. Intervals are of the distance to the mean of the group, from the information matrix or, where that is wider, from the
   scores summed by prompt (a sandwich): the verdicts on one prompt share an answer, and are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluate.judge import AGAINST_BASE
from tasks.evaluate.length_control import Array, fit, logistic
from tasks.step import Row

_WIDTH = 2.0  # of the prior, in log-odds
_Z = 1.96
ELO = 400 / np.log(10)  # points of Elo for one unit of log-odds


@dataclass(frozen=True)
class Standing:
    """A model's place. Strength and its 95 % interval are log-odds against the mean of its group (see ELO)."""

    model: str
    strength: float
    low: float
    high: float
    win: int
    tie: int
    lose: int
    group: int  # models of the same number are linked by verdicts; 0 is the largest group


def rankings(verdicts: Sequence[Row]) -> list[Row]:
    """`rank` for each dimension and judge: rows {dimension, judge, models}.

    Args:
        verdicts: the rows of `rank`, each with its dimension and judge.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in verdicts:
        found.setdefault((row["dimension"], row["judge"]), []).append(row)
    return [
        {"dimension": dimension, "judge": judge, "models": rank(rows)} for (dimension, judge), rows in found.items()
    ]


def rank(verdicts: Sequence[Row]) -> list[Standing]:
    """The models by strength, group by group.

    Args:
        verdicts: rows {prompt_id, a, b, score}: two different models, and 1 where a won, 0 where b did, 0.5 for a tie.
    """
    models = sorted({row[side] for row in verdicts for side in ("a", "b")})
    places = {model: place for place, model in enumerate(models)}
    design, scores = np.zeros((len(verdicts), len(models))), np.array([row["score"] for row in verdicts], float)
    for number, row in enumerate(verdicts):
        design[number, places[row["a"]]], design[number, places[row["b"]]] = 1.0, -1.0
    if not models:
        return []
    found, covariance = fit(design, scores, np.eye(len(models)) / _WIDTH**2)
    groups = _groups(design)
    centred = np.eye(len(models)) - (groups[:, None] == groups) / np.bincount(groups)[groups][:, None]
    residuals = design * (scores - logistic(design @ found))[:, None]
    names = {id: place for place, id in enumerate(dict.fromkeys(row["prompt_id"] for row in verdicts))}
    summed = np.zeros((len(names), len(models)))  # by prompt
    np.add.at(summed, [names[row["prompt_id"]] for row in verdicts], residuals)
    robust = covariance @ summed.T @ summed @ covariance
    errors = np.sqrt(np.maximum(*(np.diag(centred @ one @ centred.T) for one in (covariance, robust))))
    standings = [
        Standing(
            model,
            float(found[place]),
            float(found[place] - _Z * errors[place]),
            float(found[place] + _Z * errors[place]),
            *_played(model, verdicts),
            int(groups[place]),
        )
        for model, place in places.items()
    ]
    return sorted(standings, key=lambda one: (one.group, -one.strength, one.model))


def _groups(design: Array) -> np.ndarray:
    """(models,): the number of the group that each is linked to by verdicts, the largest group first."""
    linked = np.abs(design.T) @ np.abs(design) > 0
    for _ in range(len(linked)):
        linked = linked @ linked
    _, found = np.unique(linked, axis=0, return_inverse=True)
    order = np.argsort(-np.bincount(found), kind="stable")
    return np.argsort(order)[found]


def _played(model: str, verdicts: Sequence[Row]) -> tuple[int, int, int]:
    """Wins, ties and losses."""
    scores = [
        row["score"] if row["a"] == model else 1 - row["score"] for row in verdicts if model in (row["a"], row["b"])
    ]
    return sum(one > 0.5 for one in scores), sum(one == 0.5 for one in scores), sum(one < 0.5 for one in scores)


def three_h(figures: Sequence[Row]) -> tuple[list[str], dict[str, dict[str, tuple[float, float, float]]]]:
    """Aligner's table (arXiv 2402.02416, section 4): w of each model against its base, by suite and dimension.

    Args:
        figures: rows {model, suite, metric, value} of the `evals` table, the oldest first; of two the newer counts.

    Returns:
        The columns, "suite: dimension", and model → column → (w, low, high), the ends of its 95 % interval.
    """
    parts: dict[str, dict[str, dict[str, float]]] = {}
    for row in figures:
        dimension, _, name = row["metric"].rpartition("_")
        if row["suite"].endswith(AGAINST_BASE) and name in ("w", "low", "high") and dimension.isalpha():
            column = f"{row['suite'].removesuffix(AGAINST_BASE)}: {dimension}"
            parts.setdefault(row["model"], {}).setdefault(column, {})[name] = row["value"]
    table = {
        model: {column: (one["w"], one["low"], one["high"]) for column, one in cells.items() if len(one) == 3}
        for model, cells in parts.items()
    }
    return list(dict.fromkeys(column for cells in table.values() for column in cells)), table
