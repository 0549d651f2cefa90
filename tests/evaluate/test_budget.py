"""The budget of error: what all decisions may spend together is never more than there is."""

from __future__ import annotations

import pytest

from tasks.evaluate import budget


@pytest.mark.parametrize("season", [1, 5, 30])
def test_the_levels_sum_to_what_is_spent_and_never_to_more_than_alpha(season: int) -> None:
    levels = [budget.level(0.05, season, number) for number in range(1, 2001)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] > 0, "never used up"
    for number in (1, season, 2000):
        assert sum(levels[:number]) == pytest.approx(budget.spent(0.05, season, number))
    assert budget.spent(0.05, season, season) == pytest.approx(0.025)
    assert sum(levels) < 0.05


def test_a_season_of_one_is_the_classical_series() -> None:
    assert [budget.level(1.0, 1, k) for k in (1, 2, 3)] == pytest.approx([1 / 2, 1 / 6, 1 / 12])
