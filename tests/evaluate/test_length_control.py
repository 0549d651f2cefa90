"""The length-controlled win rate: what a judge's liking for long answers adds is taken off, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluate.length_control import difficulties, fit, logistic, win_rate


def drawn(seed: int, quality: float, liking: float, prompts: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, lengths and the prompts' difficulty; `a` is longer by half a standard deviation."""
    rng = np.random.default_rng(seed)
    hard, longer = rng.normal(size=prompts), rng.normal(150, 300, size=prompts).round()
    chance = logistic(quality + liking * np.tanh(longer / longer.std()) + hard)
    return (rng.random(prompts) < chance).astype(float), longer, hard


def test_a_judge_that_likes_length_is_corrected_and_the_interval_holds_the_truth() -> None:
    raw, controlled, held = [], [], 0
    for seed in range(100):
        won, longer, hard = drawn(seed, 0.3, 1.5)
        truth = logistic(0.3 + hard).mean()
        rate, low, high = win_rate(won.tolist(), longer.tolist(), hard.tolist())
        raw.append(won.mean() - truth)
        controlled.append(rate - truth)
        held += low <= truth <= high
    assert np.mean(raw) > 0.07
    assert abs(np.mean(controlled)) < 0.015
    assert held >= 90


def test_a_judge_that_does_not_look_at_length_keeps_its_win_rate() -> None:
    differences = []
    for seed in range(30):
        won, longer, hard = drawn(seed, 0.5, 0.0)
        differences.append(win_rate(won.tolist(), longer.tolist(), hard.tolist())[0] - won.mean())
    assert abs(np.mean(differences)) < 0.01


def test_difficulty_takes_off_what_hard_prompts_with_longer_answers_add() -> None:
    """Where `a` is longer on prompts on which it wins anyway, length has no part in it."""
    with_it, without = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        hard = rng.normal(size=300)
        longer = 300 * hard + rng.normal(150, 150, size=300)
        won = (rng.random(300) < logistic(2 * hard)).astype(float)
        truth = logistic(2 * hard).mean()
        with_it.append(win_rate(won.tolist(), longer.tolist(), hard.tolist())[0] - truth)
        without.append(win_rate(won.tolist(), longer.tolist())[0] - truth)
    assert abs(np.mean(with_it)) < 0.03 < -np.mean(without)


@pytest.mark.parametrize("longer", [[0] * 40, list(range(-20, 20))])
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_all_won_all_lost_and_all_ties_have_a_figure_and_a_width(score: float, longer: list[int]) -> None:
    rate, low, high = win_rate([score] * 40, longer)
    assert 0 < low < rate < high < 1
    assert rate == pytest.approx(score, abs=0.05)
    assert high - low < 0.4


def test_equal_lengths_leave_the_win_rate() -> None:
    won = [1.0] * 30 + [0.5] * 10 + [0.0] * 20
    assert win_rate(won, [0] * 60)[0] == pytest.approx(35 / 60, abs=0.005)


def test_where_one_side_is_always_longer_nothing_is_known_of_equal_lengths() -> None:
    _, low, high = win_rate([1.0] * 30 + [0.0] * 10, [100] * 40)
    assert high - low > 0.7


def test_a_prompts_difficulty_is_how_other_models_did_on_it() -> None:
    assert difficulties([], ["p"]) is None
    found = difficulties([{"p": 1.0, "q": 0.0}, {"p": 1.0}], ["p", "q", "r"])
    assert found == pytest.approx([np.log((2.5 / 3) / (0.5 / 3)), np.log((0.5 / 2) / (1.5 / 2)), 0.0])


def test_the_fit_is_where_the_slope_of_the_likelihood_and_the_prior_is_nothing() -> None:
    rng = np.random.default_rng(0)
    design, scores = rng.normal(size=(50, 3)), rng.choice([0.0, 0.5, 1.0], size=50)
    precision = np.diag([0.1, 1.0, 3.0])
    found, covariance = fit(design, scores, precision)
    rates = logistic(design @ found)
    assert design.T @ (scores - rates) == pytest.approx(precision @ found, abs=1e-9)
    assert np.linalg.inv(covariance) == pytest.approx((design.T * (rates * (1 - rates))) @ design + precision, abs=1e-6)
