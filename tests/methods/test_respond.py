"""The base answer: the instruction alone goes out, and the answer becomes the first target."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.targets import TURN
from tasks.methods.respond.method import Config, respond
from tasks.step import Row


def test_the_instruction_goes_out_alone_and_the_answer_is_carried(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine([" Hardly at all.\n"])
    step = respond(Library(), Config())
    record = ask(step, [instruction], engine).records[0]
    assert engine.calls[0].prompt == [{"role": "user", "content": "How do I water a cactus in winter?"}]
    assert {name: record[name] for name in ("kind", "text", "thought", "rules", "instruction_id", "parents")} == {
        "kind": "base", "text": "Hardly at all.", "thought": None, "rules": [],
        "instruction_id": "i1", "parents": ["i1"],
    }  # fmt: skip
    row = step.next_row(instruction, record)
    assert (row["response_id"], row["response"]) == (record["id"], "Hardly at all.")
    assert (row["target_id"], row["target"]) == (record["id"], "Hardly at all.")


def test_what_is_no_answer_is_rejected_with_its_reason(ask: Callable, instruction: Row) -> None:
    reasons = []
    for reply in ("how do I water a cactus in winter", "  \n", Completion("Hardly at", "length", 5, 2, 0.1)):
        outcome = ask(respond(Library(), Config()), [instruction], ScriptedEngine([reply]))
        assert outcome.records == []
        reasons += [attempt["reason"] for attempt in outcome.attempts]
    assert reasons == ["echo of the instruction", "empty reply", "truncated: the reply reached max_tokens"]


GOOD = "Hardly at all: once a month."


@pytest.mark.parametrize(
    "turn",
    [
        "\n\nUser: thanks\nAssistant: welcome",
        "\nUser: thanks\nAssistant: welcome",
        "\n\nHuman: And in summer?\n\nAssistant: Weekly.",
        "\n\n### Instruction:\nName a bird.\n\n### Response:\nA robin.",
    ],
)
def test_an_answer_that_goes_on_with_a_persons_turn_is_asked_for_again(
    ask: Callable, instruction: Row, turn: str
) -> None:
    outcome = ask(respond(Library(), Config()), [instruction], ScriptedEngine([GOOD + turn, GOOD]))
    assert [(one["state"], one["reason"]) for one in outcome.attempts] == [("unparsed", TURN), ("accepted", None)]
    assert [record["text"] for record in outcome.records] == [GOOD]


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        ("Write a short dialogue.", "User: Is it wet?\n\nUser: Hello?\nAssistant: It is."),
        ("Show me a config file.", "Host: example\nUser: admin\nPort: 22"),
        ("What should I ask first?", "Ask this:\n\n**What** do you need?"),
    ],
)
def test_turns_that_were_asked_for_and_what_only_looks_like_one_stay(
    ask: Callable, instruction: Row, asked: str, reply: str
) -> None:
    outcome = ask(respond(Library(), Config()), [instruction | {"instruction": asked}], ScriptedEngine([reply]))
    assert [record["text"] for record in outcome.records] == [reply]
