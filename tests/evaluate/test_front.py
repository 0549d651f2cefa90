"""Points on two axes: the front and the area below it, by hand."""

import random

import pytest

from tasks.evaluate.front import front, hypervolume


def test_a_point_is_on_the_front_unless_another_is_better_on_one_axis_and_worse_on_none():
    points = {"a": (0.1, 0.9), "b": (0.5, 0.5), "c": (0.4, 0.5), "d": (0.9, 0.1), "e": (0.5, 0.5)}
    assert front(points) == ["a", "b", "e", "d"]
    assert front({}) == []


def test_the_area_is_that_of_the_union_of_rectangles():
    assert hypervolume([]) == 0.0
    assert hypervolume([(1.0, 1.0)]) == 1.0
    assert hypervolume([(0.5, 1.0), (1.0, 0.5)]) == pytest.approx(0.75)
    assert hypervolume([(0.5, 1.0), (1.0, 0.5), (0.4, 0.4), (0.5, 1.0)]) == pytest.approx(0.75)
    assert hypervolume([(0.6, 0.6)], (0.5, 0.5)) == pytest.approx(0.01)
    assert hypervolume([(0.4, 0.9)], (0.5, 0.5)) == 0.0


def test_it_agrees_with_counting_cells():
    draws = random.Random(0)
    points = [(draws.randrange(11) / 10, draws.randrange(11) / 10) for _ in range(6)]
    cells = [(x + 0.5, y + 0.5) for x in range(10) for y in range(10)]
    below = sum(any(x / 10 < a and y / 10 < b for a, b in points) for x, y in cells)
    assert hypervolume(points) == pytest.approx(below / 100)
