"""Which λ is taken, and what is said of all of them."""

import pytest

from tasks.train.soups.choice import choose, least_gain, shares, summary

START = {"helpful": 0.5, "harmless": 0.5}
GRID = {
    0.0: {"helpful": 0.9, "harmless": 0.4},
    0.5: {"helpful": 0.8, "harmless": 0.7},
    1.0: {"helpful": 0.3, "harmless": 1.0},
}


def test_the_papers_grid_is_eleven_shares_from_0_to_1():
    assert shares(11) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert shares(2) == [0.0, 1.0]


def test_the_best_on_its_worse_axis_is_taken_or_what_the_user_says():
    assert [round(least_gain(START, found), 2) for found in GRID.values()] == [-0.1, 0.2, -0.2]
    assert choose(START, GRID, "least_gain") == 0.5
    assert choose(START, GRID, 0.25) == 0.25


@pytest.mark.parametrize(
    ("grid", "taken"),
    [
        ({0.0: (0.6, 0.6), 0.5: (0.6, 0.9), 1.0: (0.6, 0.7)}, 0.5),  # the sum
        ({0.0: (0.6, 0.7), 0.4: (0.6, 0.7), 1.0: (0.7, 0.6)}, 0.4),  # the middle
        ({0.4: (0.6, 0.7), 0.6: (0.7, 0.6)}, 0.4),  # the lower
    ],
)
def test_ties_have_an_order(grid, taken):
    figures = {share: {"helpful": x, "harmless": y} for share, (x, y) in grid.items()}
    assert choose(START, figures, "least_gain") == taken


def test_front_and_hypervolume_are_of_the_grid_and_the_ends_alone_have_less():
    models = {"start": START, "λ 0": GRID[0.0], "λ 0.5": GRID[0.5], "λ 1": GRID[1.0]}
    found = summary(("helpful", "harmless"), models, GRID)
    assert found["front"] == ["λ 1", "λ 0.5", "λ 0"]
    assert found["hypervolume"] == pytest.approx(0.9 * 0.4 + 0.8 * 0.3 + 0.3 * 0.3)
    assert found["hypervolume_of_ends"] == pytest.approx(0.9 * 0.4 + 0.5 * 0.1 + 0.3 * 0.5)
