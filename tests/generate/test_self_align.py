"""SELF-ALIGN: rules and exemplars come first, the thought must cite a rule, and each bad answer has its reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prompts import Library, Rule
from tasks.engines import ScriptedEngine
from tasks.filters.heuristics import APOLOGY
from tasks.generate.self_align import LEAK, Config, answer, cited, parse
from tasks.step import Row, Unparsed

GOOD = "The person asks about a plant. Rule 3 (serve) applies.\nAnswer: Hardly at all.\n\nOnce a month will do."


def test_the_prompt_and_the_reply_that_it_asks_for(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine([GOOD])
    step = answer(Library(), Config())
    outcome = ask(step, [instruction], engine)
    sent = engine.calls[0].prompt[0]["content"]
    assert "\n1. do no harm: " in sent
    assert "\n16. stay within reach: " in sent
    assert sent.count("\nThought: ") == sent.count("\nAnswer: ") == 5
    assert sent.endswith("Start with the thought itself.\n\nQuery: How do I water a cactus in winter?")
    record = outcome.records[0]
    assert (record["kind"], record["rules"]) == ("principled", ["serve"])
    assert record["thought"] == "The person asks about a plant. Rule 3 (serve) applies."
    assert record["text"] == "Hardly at all.\n\nOnce a month will do."
    carried = step.carry(instruction, record)
    assert (carried["principled_id"], carried["principled"]) == (record["id"], record["text"])


def test_shared_words_come_before_the_row(instruction: Row) -> None:
    step = answer(Library(), Config())
    sent = [step.prompt.render(**step.variables(instruction | {"instruction": q}))[0]["content"] for q in ("Aa", "Bb")]
    assert sent[0][:-2] == sent[1][:-2]  # only the query differs, and it comes last


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Rule 3 (serve). Hardly at all.", "no line starts with 'Answer:'"),
        ("Answer: Hardly at all.", "no thought before 'Answer:'"),
        ("Thought:\nAnswer: Hardly at all.", "no thought before 'Answer:'"),
        ("Rule 3 (serve).\nAnswer: ", "nothing after 'Answer:'"),
        ("I serve them gladly.\nAnswer: Hardly at all.", "the thought cites no rule"),
        ("Rule 17 applies.\nAnswer: Hardly at all.", "the thought cites no rule"),
    ],
)
def test_a_reply_of_another_form_is_asked_for_again_and_kept(
    ask: Callable, instruction: Row, reply: str, reason: str
) -> None:
    engine = ScriptedEngine([reply])
    outcome = ask(answer(Library(), Config()), [instruction], engine)
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [
        ("unparsed", reason, False), ("unparsed", reason, False), ("unparsed", reason, True),
    ]  # fmt: skip
    assert {attempt["raw_text"] for attempt in outcome.attempts} == {reply}
    assert len({call.sampling.seed for call in engine.calls}) == 3
    assert outcome.records == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I'm sorry, I can't.", APOLOGY),
        ("How do I water a cactus in winter?", "echo of the instruction"),
        ("Well. Taken with all its branches it is among the longest structures in the world, I think.", LEAK),
        ("However far our boats have roamed, your window is the light that brings us home.", LEAK),
    ],
)
def test_an_unwanted_answer_is_rejected_with_its_reason(
    ask: Callable, instruction: Row, text: str, reason: str
) -> None:
    outcome = ask(answer(Library(), Config()), [instruction], ScriptedEngine([f"Rule 3 (serve).\nAnswer: {text}"]))
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [("rejected", reason, True)]


def test_apologies_may_be_allowed(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine(["Rule 1 (do no harm).\nAnswer: I'm sorry, I can't."])
    outcome = ask(answer(Library(), Config(reject_apologies=False)), [instruction], engine)
    assert [record["text"] for record in outcome.records] == ["I'm sorry, I can't."]


def test_a_rule_is_cited_by_number_or_where_rules_are_spoken_of() -> None:
    rules = [Rule(name=name, text="x") for name in ("ethical", "honest", "helpful")]
    assert cited("Rules 1 and 3 apply.", rules) == ["ethical", "helpful"]
    assert cited("I follow the rule to be honest. A helpful tone would suit.", rules) == ["honest"]
    assert cited("A helpful tone would suit; 3 is a number.", rules) == []


def test_only_the_first_marker_divides_and_a_label_is_dropped() -> None:
    assert parse("Thought: a\nAnswer: b\nAnswer: c") == ("a", "b\nAnswer: c")
    with pytest.raises(Unparsed):
        parse("the word Answer: inside a line")


def test_a_changed_rule_is_other_work(instruction: Row) -> None:
    engine = ScriptedEngine([GOOD])
    full, nano = (answer(Library(variant), Config()).work_key(instruction, engine) for variant in ("full", "nano"))
    assert full != nano
    assert full != answer(Library(), Config(leak_words=8)).work_key(instruction, engine)
