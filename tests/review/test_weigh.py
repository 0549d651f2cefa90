"""People in the gate: what their verdicts weigh, and what a judge must be shown to have."""

from __future__ import annotations

import pytest

from alignery.config.schema import PresetError
from alignery.lake_reader import load_preset
from alignery.pipeline.marks.agreement import compared, of_pairs, on_pair
from nano.files import HELD_OUT
from tasks.evaluate.gate import Policy, by_judge, decide
from tasks.review.weigh import distrust, mean_worth, weighed


def test_on_a_marked_prompt_people_count_by_their_weight_and_elsewhere_nothing_changes():
    before, after = {"helpful": {"p1": 1.0, "p2": 0.5}}, {"helpful": {"p1": 0.0, "p2": 0.5}}
    worth = {"helpful": {"p1": 1.0, "elsewhere": 1.0}, "other": {"p1": 0.0}}
    assert weighed(before, after, worth, 0.25) == (
        {"helpful": {"p1": 0.75, "p2": 0.5}},
        {"helpful": {"p1": 0.25, "p2": 0.5}},
    )
    assert weighed(before, after, worth, 0.0) == (before, after)
    assert weighed(before, after, worth, 1.0)[1] == {"helpful": {"p1": 1.0, "p2": 0.5}}
    assert mean_worth(["first", "first", "tie", "second"]) == 0.625


def test_marks_change_a_decision_and_a_tie_of_judge_and_people_does_not():
    """Sixty prompts that the judge calls ties, forty of which people give to the candidate."""
    ties = {"helpful": {f"p{n:02}": "tie" for n in range(60)}}
    judged = by_judge(ties)
    assert not decide(Policy(), *judged).promoted
    worth = {"helpful": {f"p{n:02}": float(n < 40) if n < 50 else 0.5 for n in range(60)}}
    decision = decide(Policy(), *weighed(*judged, worth, 0.5))
    assert decision.promoted, decision.reasons
    (axis,) = decision.axes
    assert axis.after - axis.before == pytest.approx(0.5 * (40 - 10) / 60)


def test_a_verdict_without_a_dimension_holds_for_each_and_in_the_pairs_order():
    marks = [
        {"target_id": "a", "other_id": "b", "dimension": None, "verdict": "first", "marked_by": "ada"},
        {"target_id": "a", "other_id": "b", "dimension": "helpful", "verdict": "tie", "marked_by": "bo"},
        {"target_id": "a", "other_id": "b", "dimension": "helpful", "verdict": "flag", "marked_by": "cy"},
    ]
    people = of_pairs(marks)
    assert sorted(on_pair(people, "a", "b", "helpful")) == ["first", "tie"]
    both = of_pairs([*marks, marks[1] | {"marked_by": "ada", "verdict": "second"}])
    assert sorted(on_pair(both, "a", "b", "helpful")) == ["second", "tie"], "of one person a verdict, the dimension's"
    assert on_pair(people, "b", "a", "harmless") == ["second"]
    assert on_pair(people, "a", "c", "helpful") == []


def test_a_judge_must_be_shown_to_agree():
    alike, unlike = ("first", "first"), ("first", "second")
    assert distrust("helpful", 0.8, compared([alike] * 60)) is None
    # Nine in ten of 60 pairs: Wilson's 95 % interval is 0.80 to 0.95.
    assert distrust("helpful", 0.79, compared([alike] * 54 + [unlike] * 6)) is None
    assert distrust("helpful", 0.85, compared([alike] * 54 + [unlike] * 6)) == (
        "the judge agrees with people on helpful in 0.90 (0.80 to 0.95, 60 pairs), and gate.marks.floor is 0.85"
    )
    assert "people marked no pair that the judge compared on helpful" in str(distrust("helpful", 0.5, None))


def test_without_people_a_policy_is_recorded_as_before():
    assert "marks" not in Policy().model_dump(mode="json")
    assert Policy.model_validate({"marks": {"weight": 1}}).model_dump()["marks"] == {"weight": 1.0, "floor": None}


def test_a_floor_needs_a_judge():
    made = {
        "models": {"generator": {"engine": "scripted", "replies": ["x"]}},
        "line": {"self_instruct": {"accept": 1}},
        "gate": {"marks": {"floor": 0.6}},
    }
    prompts = {"prompts": str(HELD_OUT)}
    with pytest.raises(PresetError, match=r"gate\.marks\.floor: got one, but no judge decides"):
        load_preset(made | {"evaluate": prompts | {"oracle": "nano"}})
    load_preset(made | {"evaluate": prompts | {"judge": {}}})
