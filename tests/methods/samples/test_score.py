"""Scores: marks by aspect, written or read off probabilities, and a reward model's. Items are the page's checklist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzz import outcomes, replies
from pydantic import ValidationError

from alignery.config.preset import build
from alignery.config.schema import PresetError
from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.methods.rate.score import NO_SCORE
from tasks.methods.score.method import NO_REWARD, Config, counted, mark, parse, stages
from tasks.stage import Context
from tasks.step import ParseError, Row

FOUR = ("helpfulness", "honesty", "instruction_following", "truthfulness")
MODELS = {"generator": {"engine": "scripted", "replies": ["x"]}}


@pytest.fixture
def sampled(instruction: Row) -> Row:
    return instruction | {"sample_id": "s1", "sample": "Once a month."}


@pytest.mark.parametrize("aspect", FOUR)
def test_each_of_the_four_aspects_has_a_meaning_for_every_mark(ask: Callable, sampled: Row, aspect: str) -> None:
    """UltraFeedback (2)"""
    assert Config().aspects == FOUR
    step = mark(Library(), Config(), aspect)
    engine = ScriptedEngine(["4\nIt says how often."])
    (record,) = ask(step, [sampled], engine).records
    sent = engine.calls[0].prompt[0]["content"]
    assert all(f"\n{number}: " in sent for number in range(1, 6))
    assert "Response:\nOnce a month.\n" in sent
    expected = {"sample_id": "s1", "scorer": "rating", "aspect": aspect, "value": 4.0, "scale": "1 to 5"}
    assert {name: record[name] for name in expected} == expected
    assert (record["reason"], record["parents"]) == ("It says how often.", ["i1", "s1"])
    raw = step.in_form("text").prompt
    assert raw.is_text
    assert raw.turns[0][1].count("\n### Assistant:\n") == 4, "three examples, and the one that is asked for"
    assert mark(Library(), Config(marks="expected"), aspect).in_form("text").options == tuple("12345")


def test_an_expected_mark_is_the_mean_of_those_the_judge_may_give(ask: Callable, sampled: Row) -> None:
    step = mark(Library("nano"), Config(marks="expected"), "overall")
    engine = ScriptedEngine(["never asked for words"], choices=[[0.0, 0.1, 0.2, 0.3, 0.4]])
    (record,) = ask(step, [sampled], engine).records
    assert engine.calls[0].options == (" 1", " 2", " 3", " 4", " 5")
    assert record["value"] == pytest.approx(0.2 + 0.6 + 1.2 + 2.0)
    assert step.min_mass == 0.1


@pytest.mark.parametrize("reply", ["0", "0.5", "6", "good", "4 or 5", "[4]", "1: bad\n2: poor"])
def test_nothing_is_made_up_from_another_first_line(ask: Callable, sampled: Row, reply: str) -> None:
    outcome = ask(mark(Library(), Config(), "honesty"), [sampled], ScriptedEngine([reply]))
    assert outcome.records == []
    assert outcome.attempts[0]["reason"] == NO_SCORE


def test_a_mark_may_stand_under_the_name_of_its_aspect() -> None:
    assert parse("**Instruction following:** 4/5\nAll but one.", "instruction_following") == (4.0, "All but one.")


def test_the_parser_never_raises_another_fault_and_never_leaves_the_scale() -> None:
    pieces = ["0", "1", "4.5", "5", "\n", "Honesty: ", "/5", "9", ".", "**", "It is right."]
    read = outcomes(lambda reply: parse(reply, "honesty"), replies(pieces, 2000), ParseError)
    assert len(read) > 30
    assert all(1 <= value <= 5 for value, _ in read.values())  # type: ignore[misc]


def test_a_cut_reason_costs_no_mark_and_a_cut_first_line_does(ask: Callable, sampled: Row) -> None:
    completions = [Completion("4\nIt is", "length", 9, 256, 0.1), Completion("4", "length", 9, 1, 0.1)]
    rows = [sampled | {"sample_id": f"s{n}"} for n in range(2)]
    outcome = ask(mark(Library(), Config(), "honesty"), rows, ScriptedEngine(completions))
    assert [record["value"] for record in outcome.records] == [4.0]


def test_a_reward_model_is_sent_the_conversation_and_replies_with_a_number(ask: Callable, sampled: Row) -> None:
    """RAFT (1)"""
    engine = ScriptedEngine(["-1.250000"])
    (record,) = ask(counted(Library(), "reward"), [sampled], engine).records
    assert engine.calls[0].prompt == [
        {"role": "user", "content": sampled["instruction"]},
        {"role": "assistant", "content": "Once a month."},
    ]
    assert (record["scorer"], record["aspect"], record["value"]) == ("reward", "reward", -1.25)


@pytest.mark.parametrize("reply", ["Once a month is right.", "1", "nan", "1e5", "1.0 or 2.0", ""])
def test_a_language_model_in_a_reward_models_place_scores_nothing(ask: Callable, sampled: Row, reply: str) -> None:
    outcome = ask(counted(Library(), "reward"), [sampled], ScriptedEngine([reply]))
    assert outcome.records == []
    assert outcome.attempts[-1]["reason"] in (NO_REWARD, "empty reply")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"score": {}}, "score: got no samples to score"),
        ({"samples": {}, "score": {"aspects": []}}, "got neither aspects nor reward"),
        ({"samples": {}, "score": {"principles": ["privacy"]}}, "score.principles: got them without a reward model"),
        ({"samples": {}, "score": {"reward": True}}, "models: got no 'reward'"),
        ({"samples": {"models": ["other"]}}, "models: got no 'other'"),
    ],
)
def test_a_line_that_can_score_nothing_is_refused(line: dict[str, object], complaint: str) -> None:
    with pytest.raises(PresetError, match=complaint):
        build({"name": "t", "about": "t", "models": MODELS, "line": {"self_instruct": {}} | line})


def test_an_aspect_names_its_prompt() -> None:
    with pytest.raises(ValidationError, match="expected a name such as"):
        Config(aspects=("../secrets",))


def test_answers_of_other_methods_are_scored_as_samples_are(ask: Callable, answered: Row) -> None:
    """RRHF (1): answers of many sources."""
    config, line = Config(answers=True, aspects=("honesty",)), {"samples": {}, "self_align": {}}
    made = {one.name: one for one in stages(Library(), config, Context(line, Contamination([])))}
    assert [(name, one.after) for name, one in made.items()] == [
        ("score.honesty", "sample"),
        ("score.honesty.first", "answer"),
        ("score.honesty.last", "answer"),
        ("score.honesty.principled", "principled"),
    ]
    revised = answered | {"target_id": "v1", "target": "Once a month."}
    first, last = made["score.honesty.first"], made["score.honesty.last"]
    assert first.when(first.take(revised))
    assert last.when(last.take(revised))
    assert not last.when(last.take(answered)), "nothing revised it: it is scored once"
    records = [ask(one.step, [one.take(revised)], ScriptedEngine(["4"])).records[0] for one in (first, last)]
    assert [record["sample_id"] for record in records] == ["r1", "v1"]
    assert not [one for one in stages(Library(), config, Context({}, Contamination([]))) if one.after == "sample"]
