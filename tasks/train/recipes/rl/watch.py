"""A watch on reward hacking: the figures that show it, and the bounds at which a training is stopped.

A policy that exploits a fault of its reward writes answers that score and are of no use: longer and longer, the same
few words, or text that is unlikely under the start model. The reward itself rises all the while. What shows it are the
length of the answers, how varied they are (distinct-2), their perplexity under the start model, and the divergence from
it (Gao et al., arXiv 2210.10760, measure overoptimisation by the latter). Each is a mean over the answers of a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from tasks.train.config import Row, Strict

FIGURES = ("reward", "kl", "length", "distinct_2", "perplexity")
MOST = 50.0  # nats a token, of a perplexity that is a number still
Figures = Mapping[str, float]


class StopWhen(Strict):
    """Bounds of the figures, against their means over the first `window` steps; the newest are means over as many.

    All are our choice, and rough: `bench/training/rl.py` shows what a training does to them. None: no bound.
    """

    kl: float | None = Field(default=60.0, gt=0)  # nats an answer, from the start model
    length: float | None = Field(default=2.0, gt=1)  # times the first answers' tokens, or the same part of them
    distinct_2: float | None = Field(
        default=0.25, gt=0, lt=1
    )  # of the first answers' share of new word pairs, at least
    perplexity: float | None = Field(default=20.0, gt=1)  # times the first answers', under the start model
    window: int = Field(default=5, ge=1)  # steps


def exceeded(stop: StopWhen, steps: Sequence[Figures]) -> str | None:
    """Why a training is to be stopped, in words, or None.

    Args:
        steps: the figures of each step so far, first to last; `FIGURES` are their names.
    """
    if len(steps) < 2 * stop.window:
        return None
    first, last = (
        {name: _mean(part, name) for name in FIGURES} for part in (steps[: stop.window], steps[-stop.window :])
    )
    against = [*_beyond(stop, first, last)]
    if not against:
        return None
    return f"reward {first['reward']:.3g} → {last['reward']:.3g}, while {'; '.join(against)}"


def _beyond(stop: StopWhen, first: Figures, last: Figures) -> list[str]:
    reasons = []
    if stop.kl is not None and last["kl"] > stop.kl:
        reasons.append(f"answers are {last['kl']:.3g} nats from the start model, where stop_when.kl allows {stop.kl:g}")
    ratio = last["length"] / max(first["length"], 1e-9)
    if stop.length is not None and not 1 / stop.length <= ratio <= stop.length:
        reasons.append(
            f"answers went from {first['length']:.3g} to {last['length']:.3g} tokens, where stop_when.length allows "
            f"{stop.length:g} times"
        )
    if stop.distinct_2 is not None and last["distinct_2"] < stop.distinct_2 * first["distinct_2"]:
        reasons.append(
            f"distinct-2 fell from {first['distinct_2']:.2g} to {last['distinct_2']:.2g}, where stop_when.distinct_2 "
            f"keeps {stop.distinct_2:g} of it"
        )
    if stop.perplexity is not None and last["perplexity"] > stop.perplexity * first["perplexity"]:
        reasons.append(
            f"perplexity under the start model rose from {first['perplexity']:.3g} to {last['perplexity']:.3g}, where "
            f"stop_when.perplexity allows {stop.perplexity:g} times"
        )
    return reasons


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """The figures of one step, from the rows of its answers; see `rollouts` for their columns."""
    tokens = [row["tokens"] for row in rows]
    start = sum(row["start_logp"] for row in rows)
    return {
        "reward": sum(row["reward"] for row in rows) / len(rows),
        "kl": sum(row["kl"] for row in rows) / len(rows),
        "length": sum(tokens) / len(rows),
        "distinct_2": distinct([row["completion"] for row in rows], 2),
        "perplexity": math.exp(min(-start / sum(tokens), MOST)),
    }


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of words over all n-grams, 0 to 1; 0 where no text has n words."""
    words = [text.lower().split() for text in texts]
    grams = [tuple(one[place : place + n]) for one in words for place in range(len(one) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _mean(steps: Sequence[Figures], name: str) -> float:
    return sum(step[name] for step in steps) / len(steps)
