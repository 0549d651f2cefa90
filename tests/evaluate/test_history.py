"""The picture of the promoted model over time: each decision where it belongs, and the line of the model in place."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from tasks.evaluate.history import HIGH, LEFT, MOST, STATES, TOP, WIDE, history
from tasks.step import Row

SVG = "{http://www.w3.org/2000/svg}"
AXES = {"helpful": (0.4, 0.6)}


def decision(
    number: int,
    state: str,
    model: str | None,
    against: str | None,
    axes: dict[str, tuple[float, float]] | None = None,
    by: str = "oracle",
) -> Row:
    figures = [{"axis": axis, "prompts": 100, "before": old, "after": new} for axis, (old, new) in (axes or {}).items()]
    return {
        "state": state,
        "model": model,
        "model_path": model and f"/models/{model}",
        "against": against,
        "figures": json.dumps(figures) if axes else None,
        "policy": json.dumps({"by": by}) if axes else None,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
    }


SEASON = [
    decision(0, "kept", "m1", "own", {"helpful": (0.4, 0.3)}),
    decision(1, "promoted", "m2", "own", {"helpful": (0.4, 0.6)}),
    decision(2, "promoted", "m3", "m2", {"helpful": (0.6, 0.8)}),
    decision(3, "rolled back", "m2", "m3"),
    decision(4, "rolled back", None, "m2"),
    decision(5, "kept", "m4", "own", {"helpful": (0.4, 0.5)}),
]


def values(drawn: str, low: float, high: float) -> list[float]:
    """The heights of the line, left to right, as figures of an axis that reaches from low to high."""
    (path,) = ET.fromstring(drawn).iter(f"{SVG}path")
    points = path.get("d", "").replace("M", "").replace("L", "").split()
    return [round(high - (float(y) - TOP) / HIGH * (high - low), 2) for y in points[1::2]][::2]


def test_each_decision_has_its_dot_its_whisker_and_its_colour() -> None:
    root = ET.fromstring(history(SEASON))
    dots = [(dot.get("fill"), float(dot.get("cx", ""))) for dot in root.iter(f"{SVG}circle")]
    step = WIDE / 6
    assert dots == [(STATES[SEASON[n]["state"]], pytest.approx(LEFT + step * (n + 0.5), abs=0.1)) for n in (0, 1, 2, 5)]
    whiskers = [line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "2"]
    for dot, whisker in zip(root.iter(f"{SVG}circle"), whiskers, strict=True):
        assert float(whisker.get("y2", "")) < float(dot.get("cy", "")) < float(whisker.get("y1", ""))
    marks = [line.get("stroke") for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray")]
    assert marks == [STATES[row["state"]] for row in SEASON[1:5]]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "3: promoted, 2026-01-03: m3" in texts
    assert "5: rolled back, 2026-01-05: the preset's own model" in texts
    assert not [text for text in texts if text and "m4" in text], "what was kept back is not named"


def test_the_line_is_what_stood_there_after_each_decision() -> None:
    assert values(history(SEASON), 0.2, 0.9) == [0.4, 0.6, 0.8, 0.6, 0.4, 0.4]


def test_a_judges_win_rates_have_no_line_for_each_has_another_opponent() -> None:
    rows = [decision(n, "promoted", f"m{n}", "own", {"helpful": (0.4, 0.6)}, by="judge") for n in range(3)]
    root = ET.fromstring(history(rows))
    assert not list(root.iter(f"{SVG}path"))
    assert "helpful: win rate against the incumbent" in {text.text for text in root.iter(f"{SVG}text")}


def test_what_a_person_put_there_without_figures_breaks_the_line_and_is_marked() -> None:
    rows = [*SEASON[:2], decision(2, "promoted", "mine", None), decision(3, "rolled back", "m2", "mine")]
    drawn = history(rows)
    (path,) = ET.fromstring(drawn).iter(f"{SVG}path")
    assert path.get("d", "").count("M") == 2
    assert values(drawn, 0.2, 0.7) == [0.4, 0.6, 0.6]


def test_only_hand_made_decisions_and_none_are_drawn_too() -> None:
    for rows in ([], [decision(0, "promoted", "m", None)]):
        root = ET.fromstring(history(rows))
        assert not list(root.iter(f"{SVG}circle"))


def test_the_newest_are_shown_of_many_with_their_own_numbers() -> None:
    rows = [decision(n, "kept", f"m{n}", "own", AXES) for n in range(MOST + 30)]
    root = ET.fromstring(history(rows))
    assert len(list(root.iter(f"{SVG}circle"))) == MOST
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert f"The promoted model: the last {MOST} of {MOST + 30} decisions" in texts
    assert "31" in texts
    assert "1" not in texts


def test_names_are_no_markup() -> None:
    row = decision(0, "promoted", "<b>", "own", {"<i>": (0.1, 0.2)})
    assert {"<i>", "1: promoted, 2026-01-01: <b>"} <= {
        text.text for text in ET.fromstring(history([row])).iter(f"{SVG}text")
    }
