"""Magpie, evolution and personas: what a round asks for, and what of a reply is a candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

import alignery
from prompts import Library
from prompts.templates import PromptError
from tasks.engines import ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.filters.heuristics import ECHO
from tasks.filters.targets import LEAK, LOOP
from tasks.methods.evolve import method as evolve
from tasks.methods.magpie import method as magpie
from tasks.methods.personas import method as personas
from tasks.step import Row

LIBRARY = Library()
CHATML = "<|im_start|>user\n"
BEFORE = "Explain how a lighthouse works."


def test_magpie_sends_the_bare_prefix_and_each_reply_has_a_seed_of_its_own(ask: Callable) -> None:
    config = magpie.Config(prefix=CHATML, requests_per_round=3)
    engine = ScriptedEngine(lambda prompt, sampling: f"What is the number {sampling.seed} good for?\n")
    step = magpie.write(LIBRARY, config).in_form("chat")
    records = ask(step, magpie.requests(LIBRARY, config, 0, []), engine).records
    assert [call.prompt for call in engine.calls] == [CHATML] * 3, "no words of ours, also for a model of chats"
    assert len({record["text"] for record in records}) == 3
    assert {record["origin"] for record in records} == {"magpie"}
    later = {row["request_id"] for row in magpie.requests(LIBRARY, config, 1, [])}
    assert not later & {row["request_id"] for row in magpie.requests(LIBRARY, config, 0, [])}


def test_magpie_is_refused_without_the_beginning_of_a_template() -> None:
    with pytest.raises(ValidationError, match="prefix"):
        magpie.Config()
    with pytest.raises(ValidationError, match="prefix"):
        magpie.Config(prefix="")


def test_another_prefix_is_other_work() -> None:
    """Of the whole source: its finished rounds are known by the step's fingerprint."""
    engine = ScriptedEngine(["x"])
    prints = {magpie.write(LIBRARY, magpie.Config(prefix=text)).fingerprint(engine) for text in (CHATML, "Human:")}
    assert len(prints) == 2


def test_a_loop_is_no_instruction(ask: Callable) -> None:
    step = magpie.write(LIBRARY, magpie.Config(prefix=CHATML))
    outcome = ask(step, [{"request_id": "r1"}], ScriptedEngine(["Tell me more about it. " * 9, "Why is tar black?"]))
    assert [one["reason"] for one in outcome.attempts] == [LOOP, None]


def test_evolution_draws_each_operation_and_takes_what_evolved_up_again() -> None:
    config = evolve.Config(requests_per_round=300)
    evolved = [{"id": f"e{n}", "topic": "tea", "text": f"Evolved task {n}."} for n in range(200)]
    rows = evolve.requests(LIBRARY, config, 0, evolved)
    counts = Counter(row["operation"]["name"] for row in rows)
    assert set(counts) == {"constraint", "deepen", "concrete", "reasoning", "input", "breadth"}
    assert min(counts.values()) > 25, "each as likely: 50 of 300"
    again = [row for row in rows if row["from_ids"]]
    share = len(evolved) / (len(evolved) + len(LIBRARY.seeds()))
    assert abs(len(again) / 300 - share) < 0.1
    assert all(row["instruction"].startswith("Evolved task") == bool(row["from_ids"]) for row in rows)
    assert rows == evolve.requests(LIBRARY, config, 0, evolved)
    assert all(not row["from_ids"] for row in evolve.requests(LIBRARY, config, 0, []))


@pytest.fixture
def evolving() -> Row:
    text = "Ask more deeply. Add a short text, table, list or piece of code that the answer has to work on."
    operation = {"name": "deepen", "text": text}
    return {"request_id": "r1", "instruction": BEFORE, "topic": "the sea", "operation": operation, "from_ids": ["e1"]}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (BEFORE, ECHO),
        ("Explain how the given task works in a lighthouse.", LEAK),
        ("How does water reach the top of a tall tree without a pump, and what sets the limit to it?", LEAK),
        ("Ask more deeply: why does a lighthouse flash?", LEAK),
        ("Write a short text, table, list or piece of code that shows how a lighthouse flashes.", LEAK),
        ("Understand a table, list, or piece of code.", LEAK),
        ("Why does it turn so slowly? " * 9, LOOP),
    ],
)
def test_an_evolution_that_failed_is_asked_for_again(ask: Callable, evolving: Row, reply: str, reason: str) -> None:
    better = "Why do lighthouses flash, and how does a ship tell two of them apart?"
    engine = ScriptedEngine([reply, f"Rewritten task: {better}"])
    outcome = ask(evolve.rewrite(LIBRARY, evolve.Config()), [evolving], engine)
    assert [(one["state"], one["reason"]) for one in outcome.attempts] == [("unparsed", reason), ("accepted", None)]
    (record,) = outcome.records
    assert (record["text"], record["origin"], record["topic"]) == (better, "evolve", "the sea")
    assert record["parents"] == ["r1", "e1"], "it is traced to what it evolved from"
    assert "Ask more deeply." in text_of(engine.calls[0].prompt)


def test_personas_take_turns_and_stand_in_the_request(ask: Callable) -> None:
    people = LIBRARY.wordings(personas.PERSONAS)
    assert len(people) >= 60
    config = personas.Config(requests_per_round=len(people))
    first, second = (personas.requests(LIBRARY, config, round, []) for round in (0, 1))
    names = [row["persona"]["name"] for row in first]
    assert sorted(names) == sorted(one.name for one in people)
    assert names != [row["persona"]["name"] for row in second]
    assert len({row["topic"] for row in first}) > 10
    engine = ScriptedEngine(["1. Why do bees swarm?\n2. What is royal jelly?\n3. Is wax food?\n4. One too many?"])
    outcome = ask(personas.write(LIBRARY, config), first[:1], engine)
    assert [record["text"] for record in outcome.records] == [
        *("Why do bees swarm?", "What is royal jelly?", "Is wax food?")
    ]
    sent = text_of(engine.calls[0].prompt)
    assert first[0]["persona"]["text"] in sent
    assert first[0]["topic"] in sent
    assert first[0]["persona"]["name"] in outcome.attempts[0]["inputs"]


@pytest.mark.parametrize(
    ("step", "row"),
    [
        (evolve.rewrite(LIBRARY, evolve.Config()), {"instruction": "Ask.", "operation": {"text": "Do it so."}}),
        (
            personas.write(LIBRARY, personas.Config()),
            {"persona": {"text": "Do it so"}, "topic": "tea", "count": 3},
        ),
    ],
)
def test_a_base_model_is_shown_worked_examples(step: object, row: Row) -> None:
    base = step.in_form("text")  # type: ignore[attr-defined]
    sent = base.prompt.render(**base.variables(row))
    assert isinstance(sent, str)
    assert "Do it so" in sent
    assert sent.endswith((":", "Result:"))


def test_your_own_words_stand_in_their_place_and_a_name_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "personas" / "personas.yaml"
    file.parent.mkdir()
    file.write_text("entries: [{name: diver, text: a diver}]\n")
    own = Library(overlay=tmp_path)
    own.check()
    (row,) = personas.requests(own, personas.Config(requests_per_round=1), 0, [])
    assert row["persona"] == {"name": "diver", "text": "a diver"}
    file.write_text("entries: [{name: diver, text: a diver}, {name: diver, text: another}]\n")
    with pytest.raises(PromptError, match=r"diver.* occurs twice"):
        own.check()


def test_what_they_write_passes_the_gate_and_is_answered(tmp_path: Path) -> None:
    texts = ["Why is tar black and sticky?", "Go.", "Why is tar black and sticky?", "How do eels find the sea?"]
    preset = {
        "models": {"generator": {"engine": "scripted", "replies": [*texts, "Well.", "So it is."]}},
        "line": {"magpie": {"prefix": CHATML, "accept": 2, "max_candidates": 4, "requests_per_round": 4}},
    }
    alignery.refresh(preset, tmp_path / "lake")
    with alignery.open_lake(tmp_path / "lake") as lake:
        rows = lake.sql("SELECT text, state, origin FROM instructions ORDER BY created_at").to_pylist()
        assert {row["text"] for row in rows if row["state"] == "accepted"} == {texts[0], texts[3]}
        assert {row["origin"] for row in rows} == {"magpie"}
        assert len(lake.sql("FROM responses")) == 2


CONSTRAINT = (
    "Add one requirement that a good answer must meet, such as a limit, a reader, a form or something to avoid."
)
INPUT = "Add a short text, table, list or piece of code that the answer has to work on, written out in full."


@pytest.mark.parametrize(
    ("operation", "text", "is_it"),
    [
        (CONSTRAINT, "Add one requirement: at most fifty words.", True),
        (CONSTRAINT, "- Add one requirement that it must rhyme.", True),
        (CONSTRAINT, "My task: Add one requirement: it must rhyme.", True),
        (CONSTRAINT, "Add a requirement: it must rhyme.", True),
        (CONSTRAINT, "Why do lighthouses flash? Answer in one sentence.", False),
        (INPUT, "Add a short dedication to this poem about the sea.", False),
        (INPUT, "Add a short text: the sea is blue.", True),
        (INPUT, "Sum up this text in a short line: the sea is blue.", False),
    ],
)
def test_an_operation_that_is_said_again_is_no_task(operation: str, text: str, is_it: bool) -> None:
    assert evolve._is_operation(text, operation) is is_it
