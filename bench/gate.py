"""How often the gate errs, and what it detects: `python bench/gate.py [--seasons 1000]`. No model is used.

A judge or an oracle gives each prompt a win, tie or loss. Two identical models still differ: on a share of the prompts
the candidate wins, and on as many it loses (the noise). A gain or a harm is added to that. "Before" is the previous
gate: no axis whose 95 % bootstrap interval of the mean is below zero, at least one above, tested again every night.

Shares are of simulated decisions, or of seasons where stated. One standard error is at most 1.6 points at 1,000.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from statistics import NormalDist

import numpy as np

from alignery.config.preset import SHIPPED
from nano.files import HELD_OUT
from nano.oracle import score
from tasks.evaluate import budget, exact
from tasks.evaluate.gate import Policy, judged, promotes
from tasks.evaluate.held_out import load

Law = tuple[float, float]  # the chance of a win and of a loss on one prompt
Axis = tuple[int, int, int]  # wins, losses, prompts
Prompts = int | tuple[int, ...]  # of all axes, or of each
Gate = Callable[[Sequence[Axis], int], bool]  # (axes, number of the decision) → promoted
POLICY = Policy()
NOISE = (0.02, 0.05, 0.1)
SIZES = (60, 100, 200, 300, 400)


def before(axes: Sequence[Axis], number: int) -> bool:
    """The rule of the previous gate, whatever the number of the decision."""
    ends = [_percentiles(axis) for axis in axes]
    return all(high >= 0 for _, high in ends) and any(low > 0 for low, _ in ends)


@cache
def _percentiles(axis: Axis) -> tuple[float, float]:
    won, lost, prompts = axis
    law = np.array([won, lost, prompts - won - lost]) / prompts
    resampled = np.random.default_rng(0).multinomial(prompts, law, size=2000)
    low, high = np.quantile((resampled[:, 0] - resampled[:, 1]) / prompts, [0.025, 0.975])
    return float(low), float(high)


def now(axes: Sequence[Axis], number: int, policy: Policy = POLICY) -> bool:
    """The rule of the gate: that of `decide`, without its sentences."""
    level = budget.level(policy.alpha, policy.season, number)
    if min(_p_better(axis) for axis in axes) > level:  # Holm refuses none then; this saves most of the time
        return False
    return promotes(judged(policy, level, {str(place): _changes(axis) for place, axis in enumerate(axes)}).values())


@cache
def _p_better(axis: Axis) -> float:
    return exact.better(_changes(axis))


def _changes(axis: Axis) -> list[float]:
    won, lost, prompts = axis
    return [1.0] * won + [-1.0] * lost + [0.0] * (prompts - won - lost)


def night(rng: np.random.Generator, laws: Sequence[Law], prompts: Prompts) -> list[Axis]:
    """What one candidate scores: each axis' law at its number of prompts."""
    sizes = [prompts] * len(laws) if isinstance(prompts, int) else prompts
    counts = [rng.multinomial(size, [won, lost, 1 - won - lost]) for (won, lost), size in zip(laws, sizes, strict=True)]
    return [(int(won), int(lost), size) for (won, lost, _), size in zip(counts, sizes, strict=True)]


def share(gate: Gate, laws: Sequence[Law], prompts: Prompts, number: int, times: int) -> float:
    """How often the decision of that number promotes."""
    rng = np.random.default_rng(sum_of(prompts) * 1000 + number)
    return sum(gate(night(rng, laws, prompts), number) for _ in range(times)) / times


def sum_of(prompts: Prompts) -> int:
    return prompts if isinstance(prompts, int) else sum(prompts)


def ever(gate: Gate, laws: Sequence[Law], prompts: Prompts, nights: int, seasons: int) -> float:
    """In how many seasons at least one of the nights' candidates is promoted."""
    rng = np.random.default_rng(sum_of(prompts) * 1000 + nights)
    found = 0
    for _ in range(seasons):
        found += any(gate(night(rng, laws, prompts), number) for number in range(1, nights + 1))
    return found / seasons


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def no_difference(seasons: int) -> None:
    print("Seasons in which a candidate is promoted, none being any better: before → now\n")
    rows = []
    for axes in (1, 3, 6):
        for noise in (0.02, 0.1):
            laws, cells = [(noise, noise)] * axes, list[str]()
            for prompts, nights in ((60, 1), (60, 30), (300, 30), (300, 365)):
                times = seasons if nights < 100 else max(100, seasons // 5)
                cells.append(" → ".join(percent(ever(gate, laws, prompts, nights, times)) for gate in (before, now)))
            rows.append([str(axes), f"{noise:g}", *cells])
    table(("axes", "noise", "60 prompts, 1 night", "60, 30 nights", "300, 30 nights", "300, 365 nights"), rows)


def harmful(times: int) -> None:
    print("Kept back: a candidate that gains .20 on two axes and is harmful on a share of the prompts: before → now\n")
    rows = []
    for harm in (0.05, 0.1, 0.2):
        for noise in (0.0, 0.05):
            laws = [(0.25, 0.05), (0.25, 0.05), (noise, noise + harm)]
            shares = [[1 - share(gate, laws, prompts, 1, times) for gate in (before, now)] for prompts in SIZES]
            rows.append([f"{harm:g}", f"{noise:g}", *(" → ".join(map(percent, pair)) for pair in shares)])
    table(("harmful on", "noise", *(f"{prompts} prompts" for prompts in SIZES)), rows)


def gain(times: int) -> None:
    print(
        "Promoted: a candidate whose true gain on one of three axes is .10, the others being the same: before → now\n"
    )
    rows = []
    for number in (1, 5, 20):
        for noise in NOISE:
            laws = [(0.1 + noise, noise), (noise, noise), (noise, noise)]
            shares = [[share(gate, laws, prompts, number, times) for gate in (before, now)] for prompts in SIZES]
            rows.append([str(number), f"{noise:g}", *(" → ".join(map(percent, pair)) for pair in shares)])
    table(("decision", "noise", *(f"{prompts} prompts" for prompts in SIZES)), rows)


def margins(times: int) -> None:
    print("Promoted and kept back by the margin, at 300 prompts, noise .05, first decision\n")
    rows = []
    for margin in (0.05, 0.075, 0.1, 0.15):
        gate = partial(now, policy=POLICY.model_copy(update={"margin": margin}))
        gains = share(gate, [(0.15, 0.05), (0.05, 0.05), (0.05, 0.05)], 300, 1, times)
        harms = [
            1 - share(gate, [(0.25, 0.05)] * 2 + [(0.05, 0.05 + harm)], 300, 1, times) for harm in (0.03, 0.05, 0.1)
        ]
        rows.append([f"{margin:g}", percent(gains), *map(percent, harms)])
    table(("margin", "gain of .10 promoted", "harm .03 kept back", "harm .05", "harm .10"), rows)


def harmless(times: int) -> None:
    print(
        "Harm on 5 % of the prompts kept back, with a gain of .20 on both other axes → a gain of .10 without harm "
        "promoted,\nby the margin of harmless alone (the others have .10). First decision; in brackets the prompts of "
        "harmless. Best:\nhow many that are the same any test that keeps 95 % of that harm back can let pass\n"
    )
    rows = []
    for noise in (0.01, 0.02, 0.05):
        for prompts, of_harm in ((200, 200), (300, 300), (363, 363), (400, 400), (300, 600)):
            cells, sizes = [], (prompts, prompts, of_harm)
            for margin in (0.1, 0.07, 0.06, 0.05):
                gate = partial(now, policy=POLICY.model_copy(update={"margins": {"2": margin}}))
                kept_back = 1 - share(gate, [(0.25, 0.05)] * 2 + [(noise, noise + 0.05)], sizes, 1, times)
                gains = share(gate, [(0.1 + noise, noise), *[(noise, noise)] * 2], sizes, 1, times)
                cells.append(f"{percent(kept_back)} → {percent(gains)}")
            rows.append([f"{noise:g}", f"{prompts} ({of_harm})", *cells, percent(best(noise, 0.05, of_harm))])
    table(("noise", "prompts", "margin .10", ".07", ".06", ".05", "best"), rows)


def best(noise: float, harm: float, prompts: int) -> float:
    """The share of models that are the same which pass the best test that keeps 95 % of that harm back (normal law)."""
    spread = [math.sqrt((2 * noise + worse - worse**2) / prompts) for worse in (harm, 0.0)]
    return NormalDist().cdf((harm - NormalDist().inv_cdf(0.95) * spread[0]) / spread[1])


def shipped(times: int) -> None:
    print("The shipped prompts: seasons that promote one no better; harmful ones kept back; better ones promoted\n")
    nano = [score(row["prompt"], "") for row in load(HELD_OUT)]
    axes = POLICY.axes.values()
    sizes = tuple(sum(any(metric in row for metric in metrics) for row in nano) for metrics in axes)
    by_judge = (len(load(SHIPPED / "held_out.jsonl")),) * 3
    rows = []
    for name, prompts in (("nano/held_out.jsonl", sizes), ("presets/held_out.jsonl", by_judge)):
        for noise in NOISE:
            laws = [(noise, noise)] * 3
            better = [(noise, noise)] * 2
            harm = [(0.2 + noise, noise), (noise, noise + 0.1), (0.2 + noise, noise)]
            gains = [share(now, [(0.1 + noise, noise), *better], prompts, number, times) for number in (1, 5, 20)]
            kept_back = 1 - share(now, harm, prompts, 1, times)
            cells = [percent(ever(now, laws, prompts, 30, times)), percent(kept_back), *map(percent, gains)]
            rows.append([name, ", ".join(map(str, prompts)), f"{noise:g}", *cells])
    heads = ("prompts", "an axis", "noise", "no better, 30 nights", "harmful on .10, kept back")
    table((*heads, *(f"gain .10, decision {number}" for number in (1, 5, 20))), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shipped", action="store_true", help="the shipped prompts alone")
    parser.add_argument("--seasons", type=int, default=1000)
    given = parser.parse_args()
    for part in [shipped] if given.shipped else [no_difference, harmful, gain, margins, harmless, shipped]:
        part(given.seasons)


if __name__ == "__main__":
    main()
