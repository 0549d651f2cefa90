"""What no step wants for an answer, whichever asked for it: each has its one reason, and refusals are the preset's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignery.config.methods import line_model
from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.heuristics import ECHO, EMPTY, REFUSAL, TRUNCATED
from tasks.methods.aligner import method as aligner
from tasks.methods.base import AnswerConfig
from tasks.methods.constitutional import method as constitutional
from tasks.methods.registry import built_in
from tasks.methods.respond import method as respond
from tasks.methods.self_align import method as self_align
from tasks.step import Row, Step

LIBRARY = Library()
ME = LIBRARY.identity()
CRITICISED = {"critique_id": "q1", "critique": "Too wet.", "critique_request": "?", "revision_request": "!"}
CRITICISED |= {"principle_id": "p", "principle_hash": "h", "round": 1}
REFUSES = "As an AI language model, I cannot say how to water a cactus."
# Each step that asks for an answer, and the form in which its prompt asks for it.
ANSWERS: dict[str, tuple[type[AnswerConfig], Callable[..., Step], str]] = {
    "respond": (respond.Config, lambda config: respond.respond(LIBRARY, config), "{}"),
    "self_align": (self_align.Config, lambda config: self_align.answer(LIBRARY, config), f"{ME} Rule 3.\nAnswer: {{}}"),
    "revise": (constitutional.Config, lambda config: constitutional.revise(LIBRARY, config, 1), "Revised answer: {}"),
    "revise_directly": (
        constitutional.Config,
        lambda config: constitutional.revise_directly(LIBRARY, config, 1),
        "Revision: {}",
    ),
    "aligner": (aligner.Config, lambda config: aligner.correct(LIBRARY, config), "Correction: {}"),
}


def heard(ask: Callable, row: Row, name: str, reply: str | Completion, **settings: bool) -> tuple[str, str | None]:
    """State and reason of the only attempt."""
    config, step, _ = ANSWERS[name]
    (attempt,) = ask(step(config(**settings)), [row | CRITICISED], ScriptedEngine([reply])).attempts
    return attempt["state"], attempt["reason"]


@pytest.mark.parametrize("name", ANSWERS)
def test_each_fault_of_an_answer_has_one_reason(name: str, ask: Callable, answered: Row) -> None:
    form = ANSWERS[name][2]
    found = [
        heard(ask, answered, name, Completion(form.format("Hardly at"), "length", 5, 2, 0.1)),
        heard(ask, answered, name, " \n"),
        heard(ask, answered, name, form.format("how do I water a cactus in winter")),
        heard(ask, answered, name, form.format(REFUSES), reject_refusals=True),
    ]
    assert found == [("rejected", reason) for reason in (TRUNCATED, EMPTY, ECHO, REFUSAL)]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_refusal_is_kept_unless_the_preset_says_otherwise(name: str, ask: Callable, answered: Row) -> None:
    assert heard(ask, answered, name, ANSWERS[name][2].format(REFUSES)) == ("accepted", None)


@pytest.mark.parametrize("name", ANSWERS)
def test_rejecting_refusals_is_other_work_and_keeping_them_is_the_work_that_was(name: str, answered: Row) -> None:
    config, step, _ = ANSWERS[name]
    engine, row = ScriptedEngine(["x"]), answered | CRITICISED
    kept, rejecting = (step(config(reject_refusals=on)) for on in (False, True))
    assert "reject_refusals" not in kept.config
    assert kept.work_key(row, engine) != rejecting.work_key(row, engine)


def test_a_preset_switches_each_step_by_itself() -> None:
    line = line_model(built_in()).model_validate({"self_instruct": {"accept": 1}, "aligner": {"reject_refusals": True}})
    assert line.aligner is not None
    assert (line.aligner.reject_refusals, line.respond.reject_refusals) == (True, False)
