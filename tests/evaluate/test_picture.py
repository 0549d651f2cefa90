"""The picture of an evaluation is a drawing of the figures that it was given."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tasks.evaluate.gate import Policy, decide
from tasks.evaluate.plot import LABELS, LETTER, LONGEST, PANEL, ROW, SQUARE, TOP, dots, forest, pareto

SVG = "{http://www.w3.org/2000/svg}"


def test_each_figure_has_its_dot_and_its_interval() -> None:
    root = ET.fromstring(dots("Held out", {"base": {"helpful": (0.5, 0.4, 0.6)}, "dpo": {"helpful": (1.0, 0.9, 1.0)}}))
    dotted = [(float(dot.get("cx", "")) - LABELS) / PANEL for dot in root.iter(f"{SVG}circle")]
    assert dotted == pytest.approx([0.5, 1.0], abs=0.001)
    spans = [line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "2"]
    ends = [[(float(line.get(end, "")) - LABELS) / PANEL for end in ("x1", "x2")] for line in spans]
    assert ends == [pytest.approx([0.4, 0.6], abs=0.001), pytest.approx([0.9, 1.0], abs=0.001)]
    (dashed,) = (line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray"))
    assert (float(dashed.get("x1", "")) - LABELS) / PANEL == pytest.approx(0.5, abs=0.001)


def test_an_axis_that_a_model_lacks_has_no_dot() -> None:
    root = ET.fromstring(dots("w", {"a": {"helpful": (0.0, -0.2, 0.2)}, "b": {"honest": (0.5, 0.1, 0.9)}}, (-1.0, 1.0)))
    assert len(list(root.iter(f"{SVG}circle"))) == 2
    assert {"helpful", "honest", "-1", "0", "1"} <= {text.text for text in root.iter(f"{SVG}text")}


def test_what_is_compared_with_is_the_first_model_or_a_value_that_is_given() -> None:
    found = {"a": {"helpful": (0.5, 0.2, 0.8)}}
    for mark, place in ((None, 0.75), (0.0, 0.5)):
        root = ET.fromstring(dots("w", found, (-1.0, 1.0), mark))
        (dashed,) = (line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray"))
        assert (float(dashed.get("x1", "")) - LABELS) / PANEL == pytest.approx(place, abs=0.001)


def test_labels_are_no_markup_and_bounded() -> None:
    root = ET.fromstring(dots("<b>", {"<i>" + "x" * 99: {"<u>": (0.1, 0.0, 0.2)}}))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert {"<b>", "<u>"} <= set(texts)
    assert max(map(len, texts)) == LONGEST


def test_a_forest_plot_shows_the_decision_and_its_margins() -> None:
    same = {f"p{n}": 1.0 for n in range(100)}
    before, after = {"helpful": dict.fromkeys(same, 0.0), "<safe>": same}, {"helpful": same, "<safe>": same}
    after["<safe>"] = same | dict.fromkeys(list(same)[:5], 0.0)
    decision = decide(Policy(axes={"helpful": (), "<safe>": ()}), before, after)
    root = ET.fromstring(forest("<sft>", decision.reasons[0], decision.axes))
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "<sft> not promoted: <safe> may be worse by 0.13, and 0.1 is allowed" in texts
    assert {"better +1.000", "unsure -0.050"} <= {text.text for text in root.iter(f"{SVG}text")}
    dots_at = [float(dot.get("cx", "")) for dot in root.iter(f"{SVG}circle")]
    lines = list(root.iter(f"{SVG}line"))
    whiskers = [
        tuple(float(line.get(end, "")) for end in ("x1", "x2")) for line in lines if line.get("stroke-width") == "2"
    ]
    margins = [float(line.get("x1", "")) for line in lines if line.get("stroke-width") == "3"]
    assert whiskers[0][0] > margins[0], "helpful clears its margin"
    assert whiskers[1][0] < margins[1] < dots_at[1] < whiskers[1][1], "the other does not"
    (zero,) = (float(line.get("x1", "")) for line in lines if line.get("stroke-dasharray"))
    assert dots_at[1] < zero < dots_at[0]


def test_labels_of_points_on_two_axes_stay_in_the_square_and_apart() -> None:
    """Most models between two others are as good as the best on one axis: at the top, close together."""
    values = {"start": (0.48, 0.0), "λ 0": (0.85, 0.14), "both": (0.76, 1.0)} | {
        f"λ 0.{n}": (0.8 - 0.02 * n, 1.0 - 0.001 * n) for n in range(1, 9)
    }
    models = {label: {"x": (x, x, x), "y": (y, y, y)} for label, (x, y) in values.items()}
    root = ET.fromstring(pareto("w", models, "x", "y"))
    texts = [text for text in root.iter(f"{SVG}text") if text.text in values]
    boxes = [(float(text.get("x", "")), float(text.get("y", "")), LETTER * len(text.text or "")) for text in texts]
    assert len(boxes) == len(values)
    assert all(TOP + 12 <= y < TOP + SQUARE for _, y, _ in boxes), "none is on the title, the ticks or outside"
    apart = [
        abs(y - other_y) >= ROW or x + width <= other or other + other_width <= x
        for place, (x, y, width) in enumerate(boxes)
        for other, other_y, other_width in boxes[:place]
    ]
    assert all(apart)
