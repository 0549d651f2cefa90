"""Evaluation prompts are kept out: whole, however they are written, and in long runs of words."""

from __future__ import annotations

import pytest

from tasks.filters.contamination import REASON, Contamination

PROMPT = "How many legs do five spiders and three ants have when they all stand together?"


def test_the_same_words_are_found_however_written() -> None:
    assert Contamination(["What is 2 + 2?"]).reason("what is 2+2") == REASON
    assert Contamination(["What is 2 + 2?"]).reason("what is 2+3") is None


def test_a_run_of_thirteen_words_is_found_and_twelve_are_not() -> None:
    held_out = Contamination([PROMPT])
    words = PROMPT.split()
    assert held_out.reason("Tell me: " + " ".join(words[:13]) + ", if any?") == REASON
    assert held_out.reason("Tell me: " + " ".join(words[:12]) + " on one leg?") is None


def test_the_length_of_the_run_is_a_setting() -> None:
    assert Contamination([PROMPT], n=5).reason("Say how many legs do five dogs have") == REASON
    with pytest.raises(ValueError, match="got n = 0"):
        Contamination([PROMPT], n=0)


def test_no_prompts_contaminate_nothing() -> None:
    assert Contamination([]).reason(PROMPT) is None
    assert Contamination(["?!"]).reason("...") is None
