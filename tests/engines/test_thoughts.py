"""A reasoning model's thought is no part of its answer; an answer that speaks of thoughts is left alone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines import Sampling, ScriptedEngine
from tasks.engines.openai.chat import reply
from tasks.engines.thoughts import split_thought

TAGS = ("<think>", "<thinking>", "<reasoning>", "<thought>", "<seed:think>", "[THINK]", "<THINK>")
words = st.text(st.characters(exclude_characters="<>[]`'\"“”‘’", exclude_categories=["Cs"]), max_size=60)
visible = words.map(str.strip).filter(bool)


def closing(tag: str) -> str:
    return f"{tag[0]}/{tag[1:]}"


@given(st.sampled_from(TAGS), words, visible, st.sampled_from(["", "\n", "\n\n", " "]))
def test_a_thought_is_cut_off_whole_or_where_only_its_end_is_there(tag, thought, answer, gap):
    whole = f"{gap}{tag}{thought}{closing(tag)}{gap}{answer}"
    only_its_end = f"{thought}{closing(tag)}{gap}{answer}"
    twice = f"{tag}{thought}{closing(tag)}{gap}{whole}"
    assert {split_thought(text)[1] for text in (whole, only_its_end, twice)} == {answer}


@given(st.sampled_from(TAGS), words)
def test_a_reply_that_ends_within_its_thought_has_no_answer(tag, thought):
    assert split_thought(f"{tag}{thought}")[1] == ""


@given(words)
def test_what_holds_no_tag_is_left_as_it_is(text):
    assert split_thought(text)[1] == text


@given(st.sampled_from(TAGS), visible, words)
def test_an_answer_that_speaks_of_a_tag_is_left_as_it_is(tag, before, after):
    for text in (f"{before} {tag}{after}", f"{before} {tag}{after}{closing(tag)}", f"{before} `{closing(tag)}`{after}"):
        assert split_thought(text)[1] == text


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<think>\nHm, `</think>` ends it.\n</think>\n\nYes.", "Yes."),
        ('<think>They want "yes"</think>Yes.', "Yes."),
        ("<think></think>", ""),
        ("<think>A <thinking> or a </reasoning>?</think>Yes.", "Yes."),
        ("Hm.</think></think>Yes.", "</think>Yes."),
        ("Answer: 1 < 2 </thinker>", "Answer: 1 < 2 </thinker>"),
        ("<think>a</think>Use <think> and </think>.", "Use <think> and </think>."),
        ("<|begin_of_thought|>\n\nHm.\n\n<|end_of_thought|>\n\nYes.", "Yes."),
        ("<|begin_of_thought|>Hm.<|end_of_thought|>\n<|begin_of_solution|>\nYes.\n<|end_of_solution|>", "Yes."),
        ("<|begin_of_solution|>Yes.<|end_of_solution|>", "Yes."),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes."),
        ("<think>Hm.</think>\n<|begin_of_box|>Yes.<|end_of_box|>", "Yes."),
        ("Hm.<|end_of_thought|>Yes.", "Yes."),
        ("<|begin_of_thought|>Hm.", ""),
        ("◁think▷Hm.◁/think▷Yes.", "Yes."),
        ("Hm.◁/think▷Yes.", "Yes."),
        ("<think >Hm.</think >Yes.", "Yes."),
        ("< think>Hm.</ think>\nYes.", "Yes."),
        ("<think>Hm.</thinking>Yes.", "Yes."),
        ("<thought>Hm.</think>\n<think>More</reasoning>Yes.", "Yes."),
        ("<analysis>Hm.</analysis>\n\nYes.", "Yes."),
        ("<scratchpad>Hm.</scratchpad><reflection>So.</reflection>\nYes.", "Yes."),
        ("<thinking>Hm. <reflection>So.</reflection></thinking>Yes.", "Yes."),
        # An answer that was asked for in such tags, or speaks of them:
        *((text, text) for text in (
            "<analysis>It is dry.</analysis>",
            "<analysis>It is dry.</analysis>\n<result>Water it.</result>",
            "<analysis>It is dry, and",
            "It is dry.</analysis> Water it.",
            "Write <analysis>x</analysis> first.",
            "Send <|begin_of_solution|> first.",
            "a < think and b > think",
            "The token <|end_of_text|> ends it.",
        )),
    ],
)  # fmt: skip
def test_samples(reply, answer):
    assert split_thought(reply)[1] == answer


def test_the_scripted_engine_cuts_as_the_others_do():
    engine = ScriptedEngine(["<think>a b c</think>\n\nYes."])
    reply = asyncio.run(engine.generate("x", Sampling()))
    assert (reply.text, reply.tokens_out) == ("Yes.", 1)


def test_a_thought_is_kept_apart_and_an_answer_without_one_has_none() -> None:
    assert split_thought("<think>hm\n</think>\n\nYes.") == ("<think>hm\n</think>", "Yes.")
    assert split_thought("hm</think>Yes.") == ("hm</think>", "Yes.")
    assert split_thought("<think>endless") == ("<think>endless", "")
    assert split_thought("Yes.") == (None, "Yes.")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_server_that_takes_the_thought_out_has_it_in_a_field_of_its_own(field: str) -> None:
    message = {"content": "Yes.", field: "hm"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert (reply(answer).text, reply(answer).thought) == ("Yes.", "hm")
    message[field] = None  # type: ignore[assignment]
    assert reply(answer).thought is None
