"""Whatever an engine hands over, the attempt that is made of it fits its table, and only its own row fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from steps import answering, run
from test_step import ROWS, choice

from tasks.answer import LONGEST, countable, fields_of
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Completion, RequestRefused, ScriptedEngine
from tasks.step import Outcome, Step
from warehouse.schema.arrow import check_row, check_texts, to_arrow
from warehouse.schema.lake_schema import default

WORDS = answering(lambda reply, row: [{"text": reply, "kind": "base"}])
FINE = {"text": "fine", "finish_reason": "stop", "tokens_in": 1, "tokens_out": 1, "latency_s": 0.1}
POISON = [
    *[(name, value) for name in ("tokens_in", "tokens_out", "tokens_cached") for value in (2**31, -1, 1.5, True, "7")],
    ("tokens_in", None),
    ("tokens_in", float("nan")),
    ("tokens_in", 10**5000),
    ("text", "half \ud83d"),
    ("text", None),
    ("text", b"bytes"),
    ("text", "x" * (LONGEST + 1)),
    ("finish_reason", "x" * 5_000_000),
    ("finish_reason", "\udc00"),
    ("finish_reason", None),
    ("finish_reason", ["stop"]),
    ("latency_s", float("inf")),
    ("latency_s", float("nan")),
    ("latency_s", "slow"),
]


def asked(*replies: Any, step: Step = WORDS, budget: Budget | None = None) -> Outcome:
    engine = ScriptedEngine(replies, identity="poisoned")
    return asyncio.run(run(step, ROWS[: len(replies)], MeteredEngine(engine, budget, 1) if budget else engine))


@pytest.mark.parametrize(("field", "value"), POISON, ids=[str(n) for n in range(len(POISON))])
def test_a_reply_that_does_not_fit_fails_its_row_and_fits_the_table(field: str, value: object) -> None:
    outcome = asked(Completion(**(FINE | {field: value})), "good", budget=Budget(max_tokens=10**9))  # type: ignore[arg-type]
    bad, good = outcome.attempts
    assert (good["state"], [record["text"] for record in outcome.records]) == ("accepted", ["good"])
    assert (bad["state"], bad["final"], bad["finish_reason"]) == ("failed", True, None)
    named = "raw_text" if field == "text" else field
    assert bad["reason"].startswith(f"the reply cannot be kept: {named}: got ")
    assert len(bad["reason"]) < 300
    assert bad[named] is None if field != "text" else len(bad["raw_text"] or "") <= 1000
    for row in outcome.attempts:
        check_row(default(), "attempts", row)
        check_texts(default(), "attempts", row)
    to_arrow(default(), "attempts", outcome.attempts, run_id="r")


@pytest.mark.parametrize("reason", ["stop", "length", "eos", "end_turn"])
def test_a_reply_that_fits_is_kept_as_it_came(reason: str) -> None:
    completion = Completion("a\x00 \N{GRINNING FACE}", reason, 2**31 - 1, 0, 0.0)  # type: ignore[arg-type]
    fields, why = fields_of(completion)
    assert why is None
    assert fields["raw_text"] == completion.text
    assert fields["tokens_in"] == 2**31 - 1


def test_an_engine_that_gives_no_completion_fails_the_row_by_a_sentence() -> None:
    class Odd(ScriptedEngine):
        async def generate(self, prompt, sampling):  # type: ignore[no-untyped-def]
            return {"text": "x"}

    (attempt,) = asyncio.run(run(WORDS, ROWS[:1], Odd(["x"]))).attempts
    assert attempt["reason"] == "the engine gave dict, expected a Completion; fix the engine"
    check_row(default(), "attempts", attempt)


def test_an_engines_words_are_bounded_and_printable() -> None:
    (attempt,) = asked(RequestRefused("HTTP 400: \x1b]0;title\x07 \ud83d " + "x" * 5_000_000)).attempts
    assert len(attempt["reason"]) <= 1000
    assert attempt["reason"].isprintable()
    assert attempt["reason"].startswith("HTTP 400: ")


@pytest.mark.parametrize("found", [[float("nan"), 1.0], [0.5], [2.0, -1.0]])
def test_probabilities_that_are_none_fail_their_row(found: list[float]) -> None:
    class Odd(ScriptedEngine):
        async def choose(self, prompt, options):  # type: ignore[no-untyped-def]
            return found

    (attempt,) = asyncio.run(run(choice("A", "B"), ROWS[:1], Odd(["x"]))).attempts
    assert (attempt["state"], attempt["final"]) == ("failed", True)
    assert "expected a probability for each option" in attempt["reason"]


def test_a_budget_counts_what_is_a_count() -> None:
    assert [countable(value) for value in (3, 0, -1, 1.5, True, None, 2**31, "7")] == [3, 0, 0, 0, 0, 0, 0, 0]
