"""The base answer: the instruction alone goes out, and the answer becomes the first target."""

from __future__ import annotations

from collections.abc import Callable

from prompts import Library
from tasks.engines import Completion, ScriptedEngine
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
