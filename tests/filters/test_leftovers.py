"""What no reply may be, whichever step asked for it, and replies that only look like it."""

from __future__ import annotations

import pytest

from tasks.filters.leftovers import PLACEHOLDER, TEMPLATE, is_invisible, leftover, without_end

GOOD = "Boil it for six minutes."


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}<|im_end|>\n<|im_start|>user\nThanks!",
        f"{GOOD}<|endoftext|>Human: What is the capital of France?",
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{GOOD}",
        f"{GOOD}<end_of_turn>\n<start_of_turn>user\nThanks!",
        f"[INST] How long? [/INST] {GOOD}",
        f"<<SYS>>\nBe brief.\n<</SYS>>\n{GOOD}",
        "<｜User｜>How long?<｜Assistant｜>Six minutes.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Six.",
    ],
)
def test_a_token_of_a_chat_template_is_a_turn_that_nobody_asked_for(text):
    assert leftover(text) == TEMPLATE


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", "<|eot_id|>\n", " <end_of_turn> \n", "<|end|></s>", "<eos>", ""])
def test_tokens_that_end_a_reply_are_taken_off(end):
    assert without_end(GOOD + end) == GOOD
    assert leftover(without_end(GOOD + end)) is None


@pytest.mark.parametrize("text", ["[Your answer here]", "**[Insert edited answer]**", "[Write the critique here].\n"])
def test_what_was_to_be_replaced_is_no_reply(text):
    assert leftover(text) == PLACEHOLDER


@pytest.mark.parametrize(
    "text",
    [
        "[[A]]", "[4]", "[1, 2, 3]", "Dear [your name], thank you.", "<s>old</s> new", "a <| b |> c", "x[INSTALL]",
        "[Your move]: e4, then wait.", "|> pipes and <| are operators of F#",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_a_reply(text):
    assert leftover(text) is None
    assert without_end(text) == text


def test_what_cannot_be_seen_is_nothing():
    assert is_invisible("\u200b\ufeff \n\u2060")
    assert not is_invisible("\u200b.")
