"""Aligner: question and answer go out, the correction comes back, and a copy is known as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from prompts import Library
from tasks.engines import Sampling, ScriptedEngine
from tasks.methods.aligner.method import Config, correct, upstream
from tasks.methods.respond import method as respond
from tasks.step import Row


def test_the_prompt_and_the_correction(ask: Callable, answered: Row) -> None:
    engine = ScriptedEngine(["Corrected answer: Once a month."])
    step = correct(Library(), Config())
    record = ask(step, [answered], engine).records[0]
    system, *_, last = engine.calls[0].prompt
    assert system["role"] == "system"
    assert last["content"] == "Question:\nHow do I water a cactus in winter?\n\nAnswer:\nEvery day."
    assert (record["text"], record["is_copy"]) == ("Once a month.", False)
    assert record["template_id"] == step.prompt.hash
    assert record["parents"] == ["i1", "r1"]
    assert step.next_row(answered, record)["correction"] == "Once a month."


def test_the_first_answer_is_corrected_even_after_revisions(ask: Callable, answered: Row) -> None:
    engine = ScriptedEngine([" Every day.\n"])
    revised = answered | {"target_id": "v1", "target": "Once a month."}
    record = ask(correct(Library(), Config()), [revised], engine).records[0]
    assert engine.calls[0].prompt[-1]["content"].endswith("Answer:\nEvery day.")
    assert (record["is_copy"], record["response_id"]) == (True, "r1")


@pytest.mark.parametrize("upstreams", [("generator",), ("small", "small")])
def test_no_model_is_asked_twice(upstreams: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="name each further model once"):
        Config(upstreams=upstreams)


def test_an_empty_correction_is_asked_for_again(ask: Callable, answered: Row) -> None:
    outcome = ask(correct(Library(), Config()), [answered], ScriptedEngine(["Correction:", "Once a month."]))
    assert [attempt["state"] for attempt in outcome.attempts] == ["unparsed", "accepted"]


def test_the_sampling_is_the_papers() -> None:
    """Aligner (8)"""
    paper = Sampling(temperature=0.3, top_p=0.95, top_k=10, frequency_penalty=1.2, max_tokens=2048)
    assert Config().sampling == replace(paper, frequency_penalty=0.0), "which would forbid a copy"


def test_the_record_names_its_template(ask: Callable, answered: Row) -> None:
    """Aligner (2)"""
    for variant in ("full", "nano"):
        step = correct(Library(variant), Config())
        (record,) = ask(step, [answered], ScriptedEngine(["Once a month."])).records
        assert record["template_id"] == Library(variant).prompt("aligner/correct").hash


def test_an_answer_that_is_right_stays_as_a_copy(ask: Callable, answered: Row) -> None:
    """Aligner (5)"""
    (record,) = ask(correct(Library(), Config()), [answered], ScriptedEngine(["Every day."])).records
    assert (record["text"], record["is_copy"]) == ("Every day.", True)


def test_a_further_model_answers_and_its_alias_is_on_the_record(ask: Callable, instruction: Row) -> None:
    """Aligner (6)"""
    library = Library()
    records = []
    for alias in ("small", "large"):
        step = upstream(library, respond.Config(), alias)
        engine = ScriptedEngine([f"{alias} says so"], identity="the same model")
        (record,) = ask(step, [instruction], engine).records
        records.append(record)
        row = step.next_row(instruction, record)
        (mended,) = ask(correct(library, Config()), [row], ScriptedEngine(["Better."])).records
        assert mended["response_id"] == record["id"]
    assert [(r["kind"], r["upstream"], r["text"]) for r in records] == [
        ("upstream", "small", "small says so"),
        ("upstream", "large", "large says so"),
    ]
    assert records[0]["id"] != records[1]["id"], "two aliases of one model are two answers"


@pytest.mark.parametrize(("reject", "state"), [(False, "accepted"), (True, "rejected")])
def test_a_correction_that_declines_is_rejected_where_the_preset_says_so(ask: Callable, answered: Row, reject: bool,
                                                                         state: str) -> None:  # fmt: skip
    step = correct(Library(), Config(reject_refusals=reject))
    assert [a["state"] for a in ask(step, [answered], ScriptedEngine(["I can't help with that."])).attempts] == [state]


def test_a_correction_that_is_read_otherwise_is_other_work() -> None:
    engine = ScriptedEngine(["x"])
    plain, strict = (correct(Library(), Config(reject_refusals=reject)) for reject in (False, True))
    assert plain.fingerprint(engine) != strict.fingerprint(engine)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("**Corrected answer:** Once a month.", ("accepted", "Once a month.", False)),
        ("No changes are needed.", ("accepted", "Every day.", True)),
        ("The answer is already correct.", ("accepted", "Every day.", True)),
        ("The response should say how often to water it.", ("unparsed", None, None)),
        ("Once a month, or when the soil is dry, or if the", ("rejected", None, None)),
    ],
)
def test_a_remark_is_no_correction(ask: Callable, answered: Row, reply: str, expected: tuple[str, str, bool]) -> None:
    outcome = ask(correct(Library(), Config()), [answered], ScriptedEngine([reply]))
    (record,) = outcome.records or [{"text": None, "is_copy": None}]
    assert (outcome.attempts[-1]["state"], record["text"], record["is_copy"]) == expected
