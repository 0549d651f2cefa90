"""Rule-based rewards: propositions about an answer, each true or not, and a weighted sum of their probabilities.

Source: Rule Based Rewards (Mu et al., arXiv 2411.01111). The same: a judge says how probable it is that a proposition
holds; the reward is linear in these, and its weights are fitted so that better answers score higher; propositions for
needless refusals balance those for harm. Departures:
1. The weights are fitted on preference pairs (logistic regression of the differences), where the paper ranks
   completions of four made-up kinds with a hinge loss; or they are set by hand.
2. No sum with a helpfulness reward model: `grpo` adds rules and model where RL is wanted; here one scorer ranks.
3. A row's value is weight × probability, so that the view `scored` means them as it does other aspects: the mean of
   n such values is their sum over n, which ranks alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.engines import Sampling
from tasks.methods.base import choice_limits
from tasks.step import Row, Step, probabilities

if TYPE_CHECKING:
    from prompts import Library, Proposition

SCORER = "propositions"
ITERATIONS = 50  # of Newton's method; it ends in far fewer


def proposition(library: Library, one: Proposition, weight: float, min_mass: float) -> Step:
    """Weighs a proposition about a sample: its probability by the judge, times its weight."""
    prompt = library.prompt("score/proposition")

    def read(reply: str, row: Row) -> list[Row]:
        value = weight * probabilities(reply)[0]
        return [{"scorer": SCORER, "aspect": one.id, "value": value, "scale": f"0 to {weight:g}", "reason": None}]

    return Step(
        name="score.proposition",
        table="sample_scores",
        prompt=prompt,
        sampling=Sampling(),
        parents=("instruction_id", "sample_id"),
        variables=lambda row: {"instruction": row["instruction"], "response": row["sample"], "proposition": one.text},
        read=read,
        key_fields=lambda row: {"proposition": one.id, "hash": one.hash, "weight": weight},
        options=prompt.following("Yes", "No"),
        **choice_limits(min_mass),
    )


def fitted(
    better: Sequence[Mapping[str, float]], worse: Sequence[Mapping[str, float]], l2: float = 1.0
) -> dict[str, float]:
    """The weights by which the better answer of each pair most probably scores higher: log-odds a unit of probability.

    Logistic regression without an intercept on the differences, by Newton's method: the weights minimise
    Σ log(1 + exp(−w · (x_better − x_worse))) + l2 / 2 · |w|².

    Args:
        better, worse: of each pair, proposition → its probability (a row's value over its weight), 0 to 1; a
            proposition that an answer lacks counts as 0. l2: how strongly the weights are drawn to zero; above 0, or
            separable pairs would have no finite weights.

    Raises:
        ValueError: no pairs, not as many of both, or an l2 that is not above 0.
    """
    import numpy as np

    if not better or len(better) != len(worse) or l2 <= 0:
        raise ValueError(
            f"got {len(better)} better and {len(worse)} worse answers and l2 {l2:g}, expected pairs and an l2 above 0"
        )
    names = sorted({name for one in (*better, *worse) for name in one})
    x = np.array([[up.get(n, 0.0) - down.get(n, 0.0) for n in names] for up, down in zip(better, worse, strict=True)])
    w = np.zeros(len(names))
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-x @ w))
        slope = x.T @ (p - 1) + l2 * w
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + l2 * np.eye(len(names)), slope)
        w -= step
        if np.abs(step).max() < 1e-9:
            break
    return dict(zip(names, w.tolist(), strict=True))
