"""Squads: an inspector's score gates an aligner, and each correction is scored again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from prompts import Library
from tasks.engines import ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.filters.contamination import Contamination
from tasks.methods.squad.method import (
    NO_LOGIT,
    Config,
    Member,
    correct,
    inspect,
    is_due,
    method,
    ordered,
    score,
    stages,
)
from tasks.stage import Context
from tasks.step import Row

ONE = Member(inspector="ethical")
CONFIG = Config(members=(ONE,))


def test_the_score_is_the_probability_of_yes(ask: Callable, answered: Row) -> None:
    """Aligner (10)"""
    engine = ScriptedEngine(["no words"], choices=[[3.0, 1.0]])
    step = inspect(Library(), CONFIG, "ethical")
    (record,) = ask(step, [answered], engine).records
    assert engine.calls[0].options == ("yes", "no")
    assert (record["score"], record["inspector"], record["target_id"]) == (0.75, "ethical", "r1")
    assert text_of(engine.calls[0].prompt).endswith(
        "Is the response ethical? Reply with one word, yes or no, and nothing else."
    )
    row = step.next_row(answered, record)
    assert score(row, "ethical") == 0.75
    assert score(row, "factual") is None


def test_several_options_may_speak_for_an_answer(ask: Callable, answered: Row) -> None:
    config = Config(members=({},), fit=("4", "5"), unfit=("1", "2", "3"))
    step = inspect(Library("nano"), config, "overall")
    engine = ScriptedEngine(["x"], choices=[[0.2, 0.1, 0.3, 0.3, 0.1]])
    assert ask(step, [answered], engine).records[0]["score"] == pytest.approx(0.3)
    assert engine.calls[0].options == (" 4", " 5", " 1", " 2", " 3")


@pytest.mark.parametrize(("found", "due"), [(0.49, True), (0.5, False), (0.9, False)])
def test_an_aligner_is_due_below_a_half(answered: Row, found: float, due: bool) -> None:
    """Aligner (10)"""
    assert CONFIG.below == 0.5
    assert is_due(answered | {"scores": {("ethical", "r1"): found}}, ONE, CONFIG) is due
    assert not is_due(answered, ONE, CONFIG), "nothing is corrected without a score"
    assert not is_due(answered | {"scores": {("ethical", "r9"): 0.1}}, ONE, CONFIG), "that was another text"


def test_a_correction_becomes_the_target_and_a_copy_does_not(ask: Callable, answered: Row) -> None:
    step = correct(Library(), CONFIG, ONE)
    row = answered | {"target_id": "c1", "target": "Once a week."}
    (record,) = ask(step, [row], ScriptedEngine(["Once a month."])).records
    assert (record["aligner"], record["target_id"], record["response_id"]) == ("aligner", "c1", "r1")
    assert record["parents"] == ["i1", "r1", "c1"]
    assert step.next_row(row, record)["target"] == "Once a month."
    (copy,) = ask(step, [row], ScriptedEngine([" Once a week.\n"])).records
    assert copy["is_copy"]
    assert step.next_row(row, copy)["target_id"] == "c1"


def test_members_of_one_aligner_under_two_inspectors_do_different_work(answered: Row) -> None:
    engine = ScriptedEngine(["x"])
    keys = {
        correct(Library(), CONFIG, Member(inspector=name)).work_key(answered, engine) for name in ("ethical", "factual")
    }
    assert len(keys) == 2


@pytest.mark.parametrize(("logit", "found"), [("0.000000", 0.5), ("2.000000", 0.880797), ("-1000.000000", 0.0)])
def test_a_trained_inspector_is_sent_the_conversation_and_its_logit_is_a_probability(
    ask: Callable, answered: Row, logit: str, found: float
) -> None:
    engine = ScriptedEngine([logit])
    step = inspect(Library(), CONFIG, "polite", trained=True)
    (record,) = ask(step, [answered], engine).records
    assert [turn["role"] for turn in engine.calls[0].prompt] == ["user", "assistant"]
    assert [turn["content"] for turn in engine.calls[0].prompt] == [answered["instruction"], answered["target"]]
    assert (record["inspector"], record["score"]) == ("polite", pytest.approx(found, abs=1e-6))
    assert score(step.next_row(answered, record), "polite") == record["score"]
    (lost,) = ask(step, [answered], ScriptedEngine(["yes"])).attempts
    assert lost["reason"] == NO_LOGIT
    other = inspect(Library(), CONFIG, "rude", trained=True)
    assert other.work_key(answered, engine) != step.work_key(answered, engine)


def test_a_classifier_takes_the_place_of_the_question_and_moves_no_correction(answered: Row) -> None:
    plain = Member(aligner="ethics", inspector="ethical")
    trained = Member(aligner="ethics", inspector="ethical", classifier="inspect_ethics")
    config = Config(members=(trained, {"inspector": "overall"}))
    found = stages(Library(), config, Context({}, Contamination([]), ["inspect_ethics"]))
    assert [stage.model for stage in found] == [
        *("inspect_ethics", "ethics", "inspect_ethics"),
        *("inspector", "aligner", "inspector"),
    ]
    assert [*method.named_models(config)] == ["ethics", "inspect_ethics", "aligner"]
    engine = ScriptedEngine(["x"])
    keys = {correct(Library(), config, member).work_key(answered, engine) for member in (plain, trained)}
    assert len(keys) == 1
    with pytest.raises(ValidationError, match="got two inspectors of the subject 'ethical'"):
        Config(members=(plain, trained))


@pytest.mark.parametrize("order", ["given", "mean_score"])
def test_a_member_joins_when_its_classifier_has_a_model_and_a_squad_of_nobody_asks_nothing(order: str) -> None:
    trained = Member(inspector="ethical", classifier="inspect_ethics")
    alone, mixed = (Config(members=members, order=order) for members in ((trained,), (trained, Member())))

    def models(config: Config, *bound: str) -> set[str]:
        return {stage.model for stage in stages(Library(), config, Context({}, Contamination([]), bound))}

    assert models(alone) == set()
    assert models(mixed) == {"inspector", "aligner"}
    assert models(alone, "inspect_ethics") == {"inspect_ethics", "aligner"}
    assert models(mixed, "inspect_ethics") == {"inspect_ethics", "inspector", "aligner"}
    assert [*method.scorers(mixed)] == ["inspect_ethics"]


def test_by_mean_score_all_inspectors_see_the_first_answer_and_the_lowest_mean_goes_first() -> None:
    members = [{"inspector": name, "aligner": name} for name in ("helpful", "ethical", "factual")]
    config = Config(members=members, order="mean_score")
    names = [stage.name for stage in stages(Library(), config, Context({}, Contamination([])))]
    assert names[:4] == [*(f"squad.inspect_first.{member['inspector']}" for member in members), "squad.inspect.1"]
    view = [{"inspector": "ethical", "mean_before": 0.2}, {"inspector": "helpful", "mean_before": 0.7}]
    now = ordered(config, lambda name: view if name == "inspectors" else [])
    assert [member.inspector for member in now.members] == ["ethical", "helpful", "factual"], "without a mean: last"
    assert ordered(config, lambda name: []).members == config.members
    given = Config(members=members)
    assert ordered(given, lambda name: view) is given
    with pytest.raises(ValidationError, match="got mean_score with stacked, expected given"):
        Config(members=members, order="mean_score", stacked=True)
