"""A step that is a choice: what is asked, what is kept, and what is read from it, now and again later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from steps import answering, run

from prompts import Library
from tasks.engines import Sampling, ScriptedEngine
from tasks.filters.heuristics import EMPTY
from tasks.filters.leftovers import PLACEHOLDER, TEMPLATE
from tasks.step import Replies, Row, Step, probabilities

ROWS = [{"instruction_id": f"i{n}", "instruction": f"thing {n}"} for n in range(2)]


def choice(*options: str) -> Step:
    def read(reply: str, row: Row) -> list[Row]:
        return [{"p": probabilities(reply)[0]}]

    return answering(read, name="test.choose", table="ratings", options=options)


def test_a_choice_is_read_from_the_probabilities_of_its_options() -> None:
    engine = ScriptedEngine(["never asked for words"], choices=[[3.0, 1.0], [1.0, 1.0]])
    outcome = asyncio.run(run(choice("A", "B"), ROWS, engine))
    assert [call.options for call in engine.calls] == [("A", "B")] * 2
    assert [record["p"] for record in outcome.records] == [0.75, 0.5]
    assert [probabilities(attempt["raw_text"]) for attempt in outcome.attempts] == [[0.75, 0.25], [0.5, 0.5]]
    assert {(a["state"], a["final"], a["finish_reason"]) for a in outcome.attempts} == {("accepted", True, "stop")}


def test_another_option_is_other_work_and_another_request() -> None:
    engine = ScriptedEngine(["x"])
    ours, theirs = (asyncio.run(run(choice(*options), ROWS[:1], engine)).attempts[0] for options in ("AB", "AC"))
    assert ours["work_key"] != theirs["work_key"]
    assert ours["request_key"] != theirs["request_key"]


def test_whatever_changes_the_outcome_is_other_work() -> None:
    engine, step = ScriptedEngine(["x"]), choice()
    others = [
        replace(step, retries=3),
        replace(step, name="test.other"),
        replace(step, config={"strict": True}),
        replace(step, sampling=Sampling(temperature=0.5)),
        replace(step, prompt=Library("nano").prompt("respond/answer")),
        choice("A", "B"),
    ]
    prints = [one.fingerprint(engine) for one in (step, *others)]
    assert len({*prints, step.fingerprint(ScriptedEngine(["x"], identity="another model"))}) == len(others) + 2
    assert choice().fingerprint(engine) == prints[0]


def test_a_choice_that_was_made_is_read_again_and_not_asked() -> None:
    engine = ScriptedEngine(["x"], choices=[[3.0, 1.0]])
    first = asyncio.run(run(choice("A", "B"), ROWS[:1], engine))
    before = first.attempts[0]

    async def recall(keys: Sequence[str]) -> Replies:
        return {(before["request_key"], 0): before}

    again = asyncio.run(run(choice("A", "B"), ROWS[:1], engine, recall=recall))
    assert len(engine.calls) == 1
    assert again.records[0]["p"] == first.records[0]["p"]
    assert again.attempts[0]["replayed_from"] == before["id"]


def whole(reply: str, row: Row) -> list[Row]:
    return [{"text": reply, "kind": "base", "complete": True}]


def test_what_no_reply_may_be_is_asked_for_again_and_tokens_that_end_one_are_taken_off() -> None:
    replies = ["<|channel|>analysis<|message|>Hm<|end|>Six.", "[Your answer here]", "Six minutes.<|im_end|>\n</s>"]
    outcome = asyncio.run(run(answering(whole, name="test.answer"), ROWS[:1], ScriptedEngine(replies)))
    assert [one["reason"] for one in outcome.attempts] == [TEMPLATE, PLACEHOLDER, None]
    assert [record["text"] for record in outcome.records] == ["Six minutes."]
    outcome = asyncio.run(run(answering(whole, name="test.answer"), ROWS[:1], ScriptedEngine(["\u200b\ufeff \u2060"])))
    assert [one["reason"] for one in outcome.attempts] == [EMPTY]


def test_a_reply_with_broken_characters_is_asked_for_again_and_one_that_shows_the_sign_is_read() -> None:
    step = answering(whole, name="test.answer")
    outcome = asyncio.run(run(step, ROWS[:1], ScriptedEngine(["��aimaría ser", "caf\ufffd", "It is drawn as “�”."])))
    assert [one["reason"] for one in outcome.attempts] == ["broken characters", "broken characters", None]
    assert [record["text"] for record in outcome.records] == ["It is drawn as “�”."]
