"""Verbose cloning: long answers under the verbose words, and what is dropped of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzz import outcomes, replies

from prompts import Library
from tasks.engines import Completion, Sampling, ScriptedEngine
from tasks.filters.targets import LEAK, LOOP
from tasks.methods.verbose.method import BOILERPLATE, STUB, Config, answer, read
from tasks.step import ParseError, Rejected, Row

LONG = "Water a cactus rarely in winter, for it rests then and its roots rot in wet soil. " + " ".join(
    f"In week {n} look at the soil and touch it." for n in range(9)
)


def test_the_answer_is_asked_for_under_verbose_words_with_the_papers_sampling(ask: Callable, instruction: Row) -> None:
    """SELF-ALIGN (9): the verbose prompt; that the base model is retrained is a recipe's."""
    assert Config().sampling == Sampling(temperature=0.3, top_p=0.7, max_tokens=512)
    engine = ScriptedEngine([LONG])
    step = answer(Library(), Config())
    (record,) = ask(step, [instruction], engine).records
    system, turn = engine.calls[0].prompt
    assert system["content"].startswith("Answer in detail.")
    assert turn == {"role": "user", "content": "How do I water a cactus in winter?"}
    assert (record["kind"], record["text"], record["complete"], record["thought"]) == ("verbose", LONG, True, None)
    assert step.next_row(instruction, record)["verbose"] == LONG


def test_a_list_is_cut_before_its_thirteenth_item_and_has_no_end_then(ask: Callable, instruction: Row) -> None:
    listed = "\n".join(f"{n}. Consider the pot of size {n}." for n in range(1, 20))
    (record,) = ask(answer(Library(), Config()), [instruction], ScriptedEngine([listed])).records
    assert record["text"].endswith("\n12. Consider the pot of size 12.")
    assert record["complete"] is False


@pytest.mark.parametrize(
    ("reply", "finish", "reason"),
    [
        ("Water it " + "rarely " * 5, "length", STUB),
        ("1. One\n13. Thirteen", "stop", STUB),
        (f"{LONG}\n\nSee also\nCacti", "stop", BOILERPLATE),
        (f"{LONG}\n## External links:\n- a page", "stop", BOILERPLATE),
    ],
)
def test_what_is_dropped_has_its_reason(ask: Callable, instruction: Row, reply: str, finish: str, reason: str) -> None:
    outcome = ask(answer(Library(), Config()), [instruction], ScriptedEngine([Completion(reply, finish, 9, 9, 0.1)]))
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [("rejected", reason, True)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("Do not water it now. " * 4, LOOP), ("How do I water a cactus in winter?", "echo of the instruction")],
)
def test_a_loop_or_an_echo_is_asked_for_again(ask: Callable, instruction: Row, reply: str, reason: str) -> None:
    outcome = ask(answer(Library(), Config()), [instruction], ScriptedEngine([reply, LONG]))
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [("unparsed", reason), ("accepted", None)]


def test_a_short_answer_with_an_end_and_a_long_one_without_are_kept(ask: Callable, instruction: Row) -> None:
    completions = [Completion("Rarely.", "stop", 9, 9, 0.1), Completion(f"{LONG} And th", "length", 9, 9, 0.1)]
    rows = [instruction, instruction | {"instruction_id": "i2", "instruction": "And a fern?"}]
    short, long = ask(answer(Library(), Config()), rows, ScriptedEngine(completions)).records
    assert (short["text"], short["complete"]) == ("Rarely.", True)
    assert (long["text"], long["complete"]) == (f"{LONG} And", False)


def test_words_of_the_boilerplate_inside_a_sentence_stay() -> None:
    assert read("See also the notes that I gave you on references.", {"instruction": "x"})


def test_no_reply_breaks_the_reading_and_none_is_invented() -> None:
    row = {"instruction": "How do I water a cactus in winter?"}
    pieces = (LONG, "\n13. ", "\n12. b", "See also\n", "How do I water a cactus in winter?", ". ", "word ")
    found = outcomes(lambda reply: read(reply, row), replies(pieces, 2400), (ParseError, Rejected))
    assert len(found) > 1000
    assert all(records[0]["text"] in reply for reply, records in found.items())  # type: ignore[index]


@pytest.mark.parametrize("words", ["Bread goes stale", "Answer in detail"])
def test_an_answer_in_the_prompts_own_words_is_asked_for_again(ask: Callable, instruction: Row, words: str) -> None:
    step = answer(Library(), Config())
    own = "\n".join(step.prompt.own_words)
    shown = next(line.strip() for line in own.splitlines() if line.strip().startswith(words))
    outcome = ask(step, [instruction], ScriptedEngine([f"Well: {shown}", LONG]))
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [("unparsed", LEAK), ("accepted", None)]
    asked = instruction | {"instruction": f"Is this right? {shown}"}
    assert ask(step, [asked], ScriptedEngine([f"Yes. {shown}"])).records
