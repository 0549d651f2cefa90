"""The loss curve is a drawing of the numbers that it was given."""

import xml.etree.ElementTree as ET

import pytest

from tasks.train.plot import BOTTOM, HEIGHT, LEFT, POINTS, RIGHT, TOP, WIDTH, loss_curve, ticks

SVG = "{http://www.w3.org/2000/svg}"


def drawn(losses, title="sft"):
    root = ET.fromstring(loss_curve(title, losses))
    (line,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    return points, [text.text for text in root.iter(f"{SVG}text")]


def test_each_loss_has_its_place():
    points, texts = drawn([4.0, 2.0, 1.0, 0.0])
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    spots = [(1, 4), (2, 2), (3, 1), (4, 0)]
    places = [(LEFT + width * step / 4, HEIGHT - BOTTOM - height * loss / 4) for step, loss in spots]
    assert points == [pytest.approx(place, abs=0.06) for place in places]
    assert texts[0] == "sft: loss"
    assert texts[-1] == "step"
    assert {"0", "1", "2", "3", "4"} <= set(texts)


@pytest.mark.parametrize("losses", [[0.7], [0.5, 0.5], [0.0, 0.0], [-1.5, 2.5], [1e-9, 3e-9], [1e6, 5.0]])
def test_every_point_stays_within_the_axes(losses):
    points, _ = drawn(losses)
    assert len(points) == len(losses)
    assert all(LEFT <= x <= WIDTH - RIGHT + 0.1 and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in points)


def test_a_long_history_is_drawn_as_means():
    points, _ = drawn([1.0, 3.0] * 5 * POINTS)
    assert len(points) == POINTS
    assert len({y for _, y in points}) == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 4, [0, 1, 2, 3, 4]),
        (0, 3.36, [0, 1, 2, 3, 4]),
        (0, 0.09, [0, 0.02, 0.04, 0.06, 0.08, 0.1]),
        (0, 0, [0, 0.2]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, expected):
    found = ticks(low, high)
    assert found == pytest.approx(expected) if high else found[0] == 0 < found[-1]


def test_a_title_is_no_markup():
    assert drawn([1.0], "<b>&")[1][0] == "<b>&: loss"


def test_a_title_has_no_commands_of_a_terminal():
    drawn = loss_curve("a\x1b]0;x\x07\u202e<b>", [1.0, 0.5])
    assert "a\\x1b]0;x\\x07\\u202e&lt;b&gt;" in drawn
    ET.fromstring(drawn)
