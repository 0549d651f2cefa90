"""Exact tests of paired differences, for the gate's decisions.

A difference is candidate less incumbent on one prompt, from -1 to 1. Differences are rounded to hundredths, which makes
their sum a walk on a lattice: its whole distribution is computed, so that no p-value rests on draws or on a normal law.
All p-values are one-sided. Each function states its assumptions; all assume that prompts are independent of each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_UNIT = 100  # steps of the lattice from 0 to 1
POWER = 0.8  # the chance at which a test is said to see a difference
_Counts = tuple[tuple[int, int], ...]  # (difference in hundredths, how many prompts have it), ascending


def better(changes: Sequence[float]) -> float:
    """The paired permutation test, by signs: p of a sum this high if each difference were as likely the other way.

    Of wins, ties and losses it is the exact sign test. Exact where candidate and incumbent are exchangeable, prompt by
    prompt, which is what "no difference" means (Fisher; Good, Permutation Tests, 3.2). Ties say nothing and drop out.
    """
    return _better(_counts(changes))


def inferior(changes: Sequence[float], margin: float) -> float:
    """p of a mean this high if the true mean were -margin: a small one shows that the candidate is not worse by that.

    The law it is computed under is the one nearest to the differences seen, in Kullback-Leibler's sense, whose mean is
    -margin (exponential tilting: Efron 1981; Lee and Young 2003); the distribution of its sum is exact. One loss of 1
    is added before what was seen is tilted: a model without a loss could have had one. Without wins the test is then
    the exact binomial. Its error at the margin was enumerated over wins, ties and losses: at most the level, give or
    take a tenth of it (tests/evaluate/test_exact.py).
    """
    return _inferior(_counts(changes), margin)


def lower_bound(changes: Sequence[float], level: float) -> float:
    """The least mean that `inferior` does not refuse at a level: the end of a one-sided interval, from -1 to 1."""
    return _lower_bound(_counts(changes), level)


def interval(changes: Sequence[float], level: float) -> tuple[float, float]:
    """The mean's interval, from -1 to 1; each end is wrong with a chance of `level`. Never of no width."""
    return lower_bound(changes, level), -lower_bound([-change for change in changes], level)


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """The hypotheses that are refused so that the chance to refuse any true one is at most `level` (Holm 1979)."""
    refused: set[str] = set()
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if p_values[name] > level / (len(p_values) - place):
            break
        refused.add(name)
    return refused


def detectable(changes: Sequence[float], level: float) -> float:
    """The least true gain, 0 to 1, that `better` at this level would see in 8 of 10 cases on as many prompts.

    By the normal law, with the mean square that was seen, or that of the gain alone where that is more.
    """
    reach = _reach(level)
    return min(1.0, max(reach * math.sqrt(_mean_square(changes) / len(changes)), reach**2 / len(changes)))


def needed(changes: Sequence[float], level: float, margin: float) -> int:
    """Prompts with which a candidate that is in truth the same passes `inferior` in 8 of 10 cases, differing as often
    as was seen; at least as many as a model without any loss needs."""
    least = math.log(level) / math.log1p(-margin) if margin < 1 else 1
    return math.ceil(max(_reach(level) ** 2 * _mean_square(changes) / margin**2, least))


def _reach(level: float) -> float:
    """How many standard errors a difference has that a one-sided test sees with `POWER`."""
    return NormalDist().inv_cdf(1 - level) + NormalDist().inv_cdf(POWER)


def _mean_square(changes: Sequence[float]) -> float:
    return (sum(change**2 for change in changes) + 1) / (len(changes) + 1)  # one loss more, as in `inferior`


def _counts(changes: Sequence[float]) -> _Counts:
    return tuple(sorted(Counter(round(change * _UNIT) for change in changes).items()))


@lru_cache(maxsize=1 << 16)
def _better(counts: _Counts) -> float:
    unit = math.gcd(*(value for value, _ in counts))
    if not unit:
        return 1.0
    sizes = Counter[int]()
    for value, count in counts:
        sizes[abs(value) // unit] += count
    won = sum(value // unit * count for value, count in counts if value > 0)
    signed = sum(count for size, count in sizes.items() if size)
    cells = _circle(sum(size * count for size, count in sizes.items()))  # the sum of those that are wins: 0 to all
    law = np.ones(cells // 2 + 1, dtype=complex)
    for size, count in sizes.items():
        law *= ((1 + _turns(cells, size)) / 2) ** count
    return _tail(law, cells, won, least=0.5**signed)


@lru_cache(maxsize=1 << 16)
def _inferior(counts: _Counts, margin: float) -> float:
    seen = dict(counts)
    seen[-_UNIT] = seen.get(-_UNIT, 0) + 1
    unit = math.gcd(*seen)
    values = np.array(sorted(seen)) // unit
    weights = _tilted(values, np.array([seen[value] for value in sorted(seen)]), -margin * _UNIT / unit)
    if weights is None:
        return 1.0
    prompts = sum(count for _, count in counts)
    floor, steps = int(values[0]), values - values[0]
    cells = _circle(prompts * int(steps[-1]))
    one = np.zeros(cells)
    one[steps] = weights
    law = np.fft.rfft(one) ** prompts
    observed = sum(value // unit * count for value, count in counts) - prompts * floor
    return _tail(law, cells, observed)


@lru_cache(maxsize=1 << 16)
def _lower_bound(counts: _Counts, level: float) -> float:
    low, high = -1.0, sum(value * count for value, count in counts) / sum(count for _, count in counts) / _UNIT
    for _ in range(14):  # to a ten-thousandth
        middle = (low + high) / 2
        low, high = (middle, high) if _inferior(counts, -middle) <= level else (low, middle)
    return low


def _tilted(values: np.ndarray, counts: np.ndarray, mean: float) -> np.ndarray | None:
    """The law on these values, proportional to counts * exp(t * value), that has the mean; None where none has."""
    if not values[0] < mean < values[-1]:
        return None
    low, high = -100.0, 100.0
    span = values[-1] - values[0]
    for _ in range(60):
        middle = (low + high) / 2
        logs = np.log(counts) + middle * values / span
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        low, high = (low, middle) if weights @ values > mean else (middle, high)
    return weights


def _circle(most: int) -> int:
    """How many cells a sum of 0 to `most` needs, as a power of 2, which a Fourier transform is quick with."""
    return 1 << max(1, most.bit_length())


def _turns(cells: int, step: int) -> np.ndarray:
    """The discrete Fourier transform of a sure step, on a circle of so many cells."""
    return np.exp(-2j * np.pi * step / cells * np.arange(cells // 2 + 1))


def _tail(law: np.ndarray, cells: int, start: int, least: float = 0.0) -> float:
    """The chance of `start` or more under a law that is given by its transform."""
    return float(min(1.0, max(least, np.fft.irfft(law, cells)[start:].sum())))
