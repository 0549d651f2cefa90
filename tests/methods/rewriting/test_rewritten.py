"""Rewritten prompts as models wrap them; a part of the prompt that only looks like a remark stays."""

from __future__ import annotations

import pytest

from tasks.methods.prompt_optimization.reading import parted, rewritten
from tasks.step import ParseError

PROMPT = "How do I water a cactus? Say how often."


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "{}\n\nExplanation: it says how often.",
        "{}\n\n**Explanation:** it says\n\n- how often\n\n- and how",
        '"{}"\n\nThis prompt is clearer.',
        "```{}```\n\nThis is better.",
        "```\n{}\n```\n\nThis version asks for more.",
        "{}\n\nI added to the prompt how often.",
        "{}\n\nKey changes:\n1. how often",
        "{}\n\nThe rewritten prompt is more specific.",
    ],
)
def test_a_remark_a_fence_and_quotes_are_taken_off(wrapped: str) -> None:
    assert rewritten(wrapped.format(PROMPT)) == PROMPT
    reply = f"Comparison: one is right.\n\nBetter prompt: {wrapped.format(PROMPT)}"
    assert parted(reply, begun=False) == ("one is right.", PROMPT)


@pytest.mark.parametrize(
    "text",
    [
        f"{PROMPT}\n\nThis is about a cactus in winter.",
        f"{PROMPT}\n\nNote: keep it under 100 words.",
        f"{PROMPT}\n\nI have a small flat.",
        f"{PROMPT}\n\nExplanation:",
        f"{PROMPT}\n\nExplanation: <why>\n\nAnswer: <how often>",
        "```python\nx = 1\n```\n\nExplain this code.",
        "```x = 1``` and ```y = 2```",
        f"{PROMPT}\n\nI added water yesterday.",
        f"{PROMPT}\n\nThe instruction is in German.",
        "The prompt is a shell's: which one?",
    ],
)
def test_what_is_part_of_the_prompt_stays(text: str) -> None:
    assert rewritten(text) == text


def test_a_label_in_bold_is_one() -> None:
    assert rewritten(f"**Better prompt:** {PROMPT}\n\nThis prompt is clearer.") == PROMPT


def test_a_remark_alone_is_no_prompt() -> None:
    with pytest.raises(ParseError):
        rewritten("Better prompt:\n\n")
