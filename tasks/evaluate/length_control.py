"""The win rate that a judge would give if both answers had the same length: judges prefer long ones.

Source: Length-Controlled AlpacaEval (arXiv 2404.04475, section 3). For answer a against answer b to prompt x:

    P(a is preferred) = logistic(theta + phi * tanh((len_a - len_b) / s) + psi * gamma_x)

s is the standard deviation of the differences of length, gamma_x the difficulty of the prompt. The length-controlled
win rate is the mean over prompts with the term of length left out. Departures:
1. gamma_x is the log-odds of how other models did on the prompt against the same answer b (a half win and a half loss
   added), standardised; with no other model there is no such term. The paper fits it to all models of its leaderboard.
2. A Gaussian prior with a standard deviation of 2.5 on each coefficient (as Gelman et al. 2008, arXiv 0901.4011, have
   it in width) replaces the paper's cross-validated penalty: it needs no draws, and has a value even if one side never
   wins.
3. Lengths are in characters, which every tokenizer leaves alike.
4. An interval is given as well. Ties count a half, which varies less than wins and losses do: it is too wide rather
   than too narrow. Where no length overlaps (one model's answers are all longer), it is wide, as it must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_WIDTH = 2.5  # of the prior
_Z = 1.96
_STEPS = 50  # of Newton; a dozen suffices


def win_rate(
    scores: Sequence[float], longer: Sequence[int], difficulty: Sequence[float] | None = None
) -> tuple[float, float, float]:
    """The length-controlled win rate of `a`, and its 95 % interval: 0 to 1.

    Args:
        scores: of each prompt, 1 where a won, 0 where b did, 0.5 for a tie; at least one.
        longer: of each prompt, the length of a's answer less that of b's.
        difficulty: gamma_x of each prompt, as `difficulties` gives it.
    """
    won, differences = np.asarray(scores, float), np.asarray(longer, float)
    spread = differences.std()
    terms = [np.ones(len(won)), np.tanh(differences / spread) if spread else np.sign(differences)]
    if difficulty is not None and np.ptp(difficulty):
        terms.append((np.asarray(difficulty) - np.mean(difficulty)) / np.std(difficulty))
    design = np.column_stack(terms)  # (prompts, 2 or 3)
    coefficients, covariance = fit(design, won, np.eye(design.shape[1]) / _WIDTH**2)
    design[:, 1] = 0.0
    rates = logistic(design @ coefficients)
    mean = float(rates.mean())
    gradient = (rates * (1 - rates)) @ design / len(won)
    # On the scale of log-odds, which has no ends to run over.
    error = float(np.sqrt(gradient @ covariance @ gradient)) / (mean * (1 - mean))
    centre = np.log(mean / (1 - mean))
    low, high = logistic(np.array([centre - _Z * error, centre + _Z * error]))
    return mean, float(low), float(high)


def difficulties(others: Sequence[Mapping[str, float]], prompts: Sequence[str]) -> list[float] | None:
    """gamma_x of each prompt from the scores of other models, prompt_id → score; None where there are no others."""
    if not others:
        return None
    found = [[scores[id] for scores in others if id in scores] for id in prompts]
    rates = [(sum(scores) + 0.5) / (len(scores) + 1) for scores in found]
    return [float(np.log(rate / (1 - rate))) for rate in rates]


def fit(design: Array, scores: Array, precision: Array) -> tuple[Array, Array]:
    """Logistic regression with a Gaussian prior of mean 0, by Newton's steps: coefficients and their covariance.

    Args:
        design: (rows, terms).
        scores: (rows,), each 0 to 1.
        precision: (terms, terms), the inverse of the prior's covariance; it must be positive definite.
    """
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        rates = logistic(design @ found)
        curvature = (design.T * (rates * (1 - rates))) @ design + precision
        step = np.linalg.solve(curvature, design.T @ (scores - rates) - precision @ found)
        found += step
        if np.abs(step).max() < 1e-9:
            break
    return found, np.asarray(np.linalg.inv(curvature), np.float64)


def logistic(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))
