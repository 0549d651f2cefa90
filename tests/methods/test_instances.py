"""Instances: which task is a classification task, how a reply is parsed, and which instances are kept, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import outcomes, replies

from prompts import Library, PromptError
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.contamination import REASON, Contamination
from tasks.methods.base import CUT
from tasks.methods.instances.method import (
    COLON,
    CONFLICT,
    COPY,
    NO_OUTPUT,
    SURPLUS,
    TWICE,
    Config,
    classify,
    instances,
    judged,
    stages,
    stands_alone,
)
from tasks.methods.instances.reading import input_first, output_first, verdict
from tasks.normalise import structured
from tasks.stage import Context
from tasks.step import ParseError, Row

FREE = Contamination([])
NOTHING = Context({}, FREE)
PIECES = ("Example 1\n", "Example 2:\n", "Input: a\n", "Output: b\n", "Label: c\n", "Input: none\n", "Class label: d\n")


def test_the_verdict_is_asked_after_twelve_and_nineteen_demonstrations(ask: Callable, instruction: Row) -> None:
    """Self-Instruct (6): 12 and 19 examples, T 0, three tokens, up to the end of the line."""
    engine = ScriptedEngine(["Yes"])
    outcome = ask(classify(Library(), Config()), [instruction], engine)
    call = engine.calls[0]
    shown = [turn["content"] for turn in call.prompt if turn["role"] == "assistant"]
    assert (shown.count("Yes"), shown.count("No")) == (12, 19)
    assert call.prompt[-1] == {"role": "user", "content": "Task: How do I water a cactus in winter?"}
    assert (call.sampling.temperature, call.sampling.max_tokens) == (0, 3)
    assert call.sampling.stop == ("\n",)
    assert [record["classification"] for record in outcome.records] == [True]


@pytest.mark.parametrize("reply", ["Yes", "yes", "YES", " Yes.", "**Yes**", "Yes, because"])
def test_yes_is_yes_however_it_is_written(reply: str) -> None:
    """Self-Instruct (6)."""
    assert verdict(reply)
    assert not verdict(reply.lower().replace("yes", "no"))


@pytest.mark.parametrize(
    "reply", ["Maybe", "Yesterday", "", "1", "It is yes", "Notes", "Yes or no", "yes/no", "**Yes** / No", "No or yes"]
)
def test_what_is_neither_yes_nor_no_is_unparsed(reply: str) -> None:
    """Self-Instruct (6): departure 1."""
    with pytest.raises(ParseError, match="neither yes nor no"):
        verdict(reply)


def test_a_verdict_cut_at_its_third_token_counts_and_a_bad_one_is_not_asked_again(
    ask: Callable, instruction: Row
) -> None:
    cut = ScriptedEngine([Completion("No, it", "length", 1, 3, 0.0)])
    assert [row["classification"] for row in ask(classify(Library(), Config()), [instruction], cut).records] == [False]
    engine = ScriptedEngine(["Hmm"])
    outcome = ask(classify(Library(), Config()), [instruction], engine)
    assert [(row["state"], row["final"]) for row in outcome.attempts] == [("unparsed", True)]


def test_a_classification_task_is_given_labels_first_and_another_inputs_first(ask: Callable, instruction: Row) -> None:
    """Self-Instruct (7): output first for classification, 300 tokens against 350; greedy, presence penalty 1.5."""
    engine = ScriptedEngine(["Label: wet\nInput: rain\n\nLabel: dry\nInput: dust"])
    outcome = ask(instances(Library(), Config(), "output_first", FREE), [instruction], engine)
    assert [(r["input"], r["output"], r["form"]) for r in outcome.records] == [
        ("rain", "wet", "output_first"), ("dust", "dry", "output_first")]  # fmt: skip
    first = engine.calls[0]
    shown = [turn["content"] for turn in first.prompt if turn["role"] == "assistant"]
    assert [text.startswith("Label: ") for text in shown] == [True] * Config().demos
    engine = ScriptedEngine(["Example 1\nInput: rain\nOutput: It is wet."])
    outcome = ask(instances(Library(), Config(), "input_first", FREE), [instruction], engine)
    assert [(r["input"], r["output"], r["place"]) for r in outcome.records] == [("rain", "It is wet.", 1)]
    second = engine.calls[0]
    assert (first.sampling.max_tokens, second.sampling.max_tokens) == (300, 350)
    assert [(s.temperature, s.presence_penalty) for s in (first.sampling, second.sampling)] == [(0, 1.5)] * 2
    assert second.sampling.stop == ("\nExample 6",)
    assert "Label:" not in second.prompt[0]["content"]


def test_replies_are_read_in_both_forms() -> None:
    assert input_first("Sure!\n\nExample 1\nInput: two\nlines\nOutput: a\n\nb\n\n**Example 2:**\nOutput: c") == [
        ("two\nlines", "a\n\nb"), ("", "c")]  # fmt: skip
    assert input_first("Output: only this") == [("", "only this")]
    assert input_first("Input: x\nOutput: y\nExample 2\nInput: (none)\nOutput: z") == [("x", "y"), ("", "z")]
    assert input_first("Example 1\nInput: left alone\nExample 2\nOutput: y") == [("left alone", ""), ("", "y")]
    assert output_first("Class label: spam\nInput: Buy now!\nlabel: ham\nInput: N/A") == [
        ("Buy now!", "spam"), ("", "ham")]  # fmt: skip
    assert output_first("Here:\nExample 1\nLabel: a\nInput: b\n\nExample 2\nLabel: c") == [("b", "a"), ("", "c")]
    with pytest.raises(ParseError, match="'Output:'"):
        input_first("Example 1\nInput: no more")
    with pytest.raises(ParseError, match="'Label:'"):
        output_first("Input: x\nOutput: y")


@pytest.mark.parametrize("parse", [input_first, output_first])
def test_no_reply_makes_a_parser_fall_or_invent(parse: Callable[[str], list[tuple[str, str]]]) -> None:
    read = outcomes(parse, replies(PIECES, 3000), ParseError)
    assert len(read) > 300
    for reply, pairs in read.items():
        plain = structured(reply, ("Input", "Output", "Label"))
        assert all(text in reply or text in plain for pair in pairs for text in pair)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "reply",
    [
        "**Example 1**\n**Input:** rain\n**Output:** wet\n\n### Example 2\nInput：dust\n**Output**: dry",
        "### Example 1\n- **Input:** rain\n- **Output:** wet\n### Example 2\n- Input: dust\n- Output: dry",
    ],
)
def test_markdown_around_labels_is_no_matter(reply: str) -> None:
    assert input_first(reply) == [("rain", "wet"), ("dust", "dry")]
    assert output_first("**Label:** yes\n**Input:** rain") == [("rain", "yes")]


def test_no_reply_makes_the_verdict_fall_or_invent() -> None:
    read = outcomes(verdict, replies(("Yes", "no", "NO", " ", "Yes.", "Nope"), 2000), ParseError)
    assert len(read) > 100
    assert all(("yes" if found else "no") in reply.casefold() for reply, found in read.items())


def test_one_input_with_two_outputs_discards_all_instances_of_the_task() -> None:
    """Self-Instruct (8)."""
    pairs = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "")]
    assert judged(pairs, 5, cut=False) == [CONFLICT, CONFLICT, CONFLICT, NO_OUTPUT]
    assert judged([("", "1"), ("", "3")], 5, cut=False) == [None, None]  # of empty inputs it is no conflict
    assert judged([("a", "1"), ("a", "3")], 5, cut=True) == [None, CUT]  # what was cut conflicts with nothing


def test_every_filter_has_its_own_reason() -> None:
    """Self-Instruct (9): what is dropped is counted by reason."""
    pairs = [("a", "a"), ("a", ""), ("a:", "x"), ("a", "x:"), ("b", "1"), ("b", "1"), ("c", "2"), ("d", "3")]
    assert judged(pairs, 2, cut=False) == [COPY, NO_OUTPUT, COLON, COLON, None, TWICE, None, SURPLUS]
    six = [(str(number), "same") for number in range(6)]
    assert judged(six, Config().instances, cut=False) == [None] * 5 + [SURPLUS]


def test_a_reply_cut_short_loses_its_last_instance_and_no_other(ask: Callable, instruction: Row) -> None:
    """Self-Instruct (5), of instances: the last one is dropped."""
    text = "Example 1\nInput: x\nOutput: y\n\nExample 2\nInput: z\nOutput: half of"
    outcome = ask(
        instances(Library(), Config(), "input_first", FREE),
        [instruction],
        ScriptedEngine([Completion(text, "length", 1, 350, 0.0)]),
    )
    assert [(record["output"], record["state"], record["reason"]) for record in outcome.records] == [
        ("y", "accepted", None), ("half of", "rejected", CUT)]  # fmt: skip


def test_an_instance_that_makes_an_evaluation_prompt_is_rejected(ask: Callable, instruction: Row) -> None:
    """Self-Instruct (10), of instances."""
    held_out = Contamination([f"{instruction['instruction']} It lives in a cold room."])
    reply = "Example 1\nInput: It lives in a cold room.\nOutput: Hardly.\n\nExample 2\nInput: It blooms.\nOutput: More."
    outcome = ask(instances(Library(), Config(), "input_first", held_out), [instruction], ScriptedEngine([reply]))
    assert [record["reason"] for record in outcome.records] == [REASON, None]


def test_a_task_stands_alone_if_none_of_its_instances_has_an_input() -> None:
    def row(given: str, state: str = "accepted") -> Row:
        return {"input": given, "instance_state": state}

    assert stands_alone([row(""), row("x", "rejected")])
    assert not stands_alone([row(""), row("x")])
    assert not stands_alone([row("", "rejected")])
    assert not stands_alone([])


def test_demonstrations_are_part_of_the_work(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    step = classify(Library(), Config())
    assert step.fingerprint(engine) != classify(Library(), Config(other_demos=18)).fingerprint(engine)
    assert step.fingerprint(engine) == classify(Library(), Config(instances=3)).fingerprint(engine)


def test_seeds_without_outputs_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(PromptError, match=r"seeds\.nano\.jsonl: got 0 classification tasks .* line\.instances"):
        stages(Library("nano"), Config(), NOTHING)
    assert len(stages(Library(), Config(), NOTHING)) == 3
