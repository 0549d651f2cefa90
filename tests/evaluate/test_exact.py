"""The gate's tests against what is known exactly: binomial tails and enumerations."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from tasks.evaluate import exact


def binomial_tail(wins: int, trials: int, chance: float) -> float:
    """The chance of so many wins or more."""
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(wins, trials + 1))


@pytest.mark.parametrize(("wins", "losses", "ties"), [(4, 0, 56), (20, 0, 80), (12, 5, 0), (5, 12, 3), (30, 20, 50)])
def test_wins_and_losses_are_the_exact_sign_test(wins: int, losses: int, ties: int) -> None:
    changes = [1.0] * wins + [-1.0] * losses + [0.0] * ties
    assert exact.better(changes) == pytest.approx(binomial_tail(wins, wins + losses, 0.5), rel=1e-6)


def test_graded_differences_are_enumerated() -> None:
    changes = [0.5, 1.0, -0.25, 0.75, 0.0, -0.5, 0.33]
    sums = [sum(a * b for a, b in zip(signs, changes, strict=True)) for signs in product((1, -1), repeat=len(changes))]
    assert exact.better(changes) == pytest.approx(np.mean([one >= sum(changes) - 1e-9 for one in sums]))
    assert exact.better([]) == exact.better([0.0] * 9) == 1.0


@pytest.mark.parametrize("losses", [0, 1, 3, 9])
def test_losses_alone_against_a_margin_are_the_exact_binomial(losses: int) -> None:
    """So many losses or fewer of a hundred, each with a chance of the margin."""
    expected = 1 - binomial_tail(losses + 1, 100, 0.1)
    assert exact.inferior([-1.0] * losses + [0.0] * (100 - losses), 0.1) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("level", [0.05, 0.0083])
@pytest.mark.parametrize("wins", [0.0, 0.01, 0.05, 0.2, 0.3])
def test_a_model_that_is_worse_by_the_margin_passes_at_most_at_the_level(wins: float, level: float) -> None:
    """Every outcome of sixty prompts with its chance, where the loss is exactly the margin."""
    prompts, margin, passed = 60, 0.1, 0.0
    for won in range(prompts + 1):
        for lost in range(prompts + 1 - won):
            tied = prompts - won - lost
            ways = math.comb(prompts, won) * math.comb(prompts - won, lost)
            chance = ways * wins**won * (wins + margin) ** lost * (1 - 2 * wins - margin) ** tied
            if chance > 1e-7 and won > lost - prompts * margin:  # no other can pass
                changes = [1.0] * won + [-1.0] * lost + [0.0] * tied
                passed += chance * (exact.inferior(changes, margin) <= level)
    assert level * (0.1 if wins == 0 else 0.2) < passed < level * 1.1, "neither too bold nor blunt"


def test_graded_differences_keep_the_level_too() -> None:
    """Half and whole losses and wins whose mean is the margin: the share that passes, of two thousand."""
    rng = np.random.default_rng(0)
    values, law = [-1.0, -0.5, 0.0, 0.5, 1.0], [0.05, 0.2, 0.65, 0.1, 0.0]
    assert np.dot(values, law) == pytest.approx(-0.1)
    drawn = rng.choice(values, p=law, size=(2000, 80))
    passed = np.mean([exact.inferior(list(changes), 0.1) <= 0.05 for changes in drawn])
    assert 0.025 < passed < 0.062


def test_the_interval_is_the_tests_own_and_never_of_no_width() -> None:
    low, high = exact.interval([0.0] * 60, 0.05)
    assert low == pytest.approx(-(1 - 0.05 ** (1 / 60)), abs=2e-4)  # 0 of 60, Clopper and Pearson
    assert high == pytest.approx(-low)
    low, high = exact.interval([1.0] * 5, 0.025)
    assert low < 0 < high == 1.0, "five of five are no proof"
    changes = [1.0] * 20 + [-1.0] * 8 + [0.0] * 72
    low, _ = exact.interval(changes, 0.01)
    assert exact.inferior(changes, -low + 0.001) <= 0.01 < exact.inferior(changes, -low - 0.001)


@pytest.mark.flow
def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(600, 60))
    ends = [exact.interval(sorted(changes), 0.05) for changes in drawn]
    held = np.mean([low <= 0.1 <= high for low, high in ends])
    assert 0.87 < held < 0.96


def test_holm_stops_at_the_first_that_is_not_refused() -> None:
    """By hand: the levels are .05 / 3, .05 / 2, .05."""
    assert exact.holm({"a": 0.01, "b": 0.02, "c": 0.04}, 0.05) == {"a", "b", "c"}
    assert exact.holm({"a": 0.02, "b": 0.06, "c": 0.001}, 0.05) == {"a", "c"}
    assert exact.holm({"a": 0.02, "b": 0.02, "c": 0.02}, 0.05) == set()


def test_the_gain_that_would_be_seen_is_seen_in_eight_of_ten() -> None:
    rng, level, seen = np.random.default_rng(0), 0.005, 0
    noise = [0.0] * 180 + [1.0] * 10 + [-1.0] * 10
    gain = exact.detectable(noise, level)
    assert 0.06 < gain < 0.09
    # The noise includes the gain: of the prompts that differ, so many more are won.
    law = [0.05 - gain / 2, 0.9, 0.05 + gain / 2]
    for changes in rng.choice([-1.0, 0.0, 1.0], p=law, size=(1000, 200)):
        seen += exact.better(sorted(changes)) <= level
    assert 0.7 < seen / 1000 < 0.9
    assert exact.detectable([0.0] * 3, level) == 1.0, "three prompts see nothing"


def test_so_many_prompts_as_are_needed_pass_in_eight_of_ten() -> None:
    rng, level, margin = np.random.default_rng(0), 0.0083, 0.1
    prompts = exact.needed([0.0] * 90 + [1.0] * 5 + [-1.0] * 5, level, margin)
    drawn = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=(600, prompts))
    passed = np.mean([exact.inferior(sorted(changes), margin) <= level for changes in drawn])
    assert 0.72 < passed < 0.92
    assert 0.9 ** exact.needed([0.0] * 1000, level, margin) <= level
