"""Replies of many forms as instances: whatever is said above an example, and what only looks like one."""

from __future__ import annotations

import pytest

from tasks.methods.instances.reading import input_first, output_first, verdict
from tasks.step import ParseError

TWO = [("rain", "wet"), ("dust", "dry")]


@pytest.mark.parametrize(
    "heading",
    [
        "Example 2",
        "Example 2: Sea",
        "### Example 2: Sea",
        "**Example 2: Sea**",
        "Example #2",
        "Example 2)",
        "Example 2 -",
        "Example 2 – Sea",
        "Example two",
        "Instance 2",
        "Instance 2 (sea)",
        "_Example 2_",
        "* Example 2",
        "(Example 2)",
        "[Example 2]",
        "> Example 2:",
        "2.",
        "**2.**",
        "2)",
        "---\n\nExample 2\n",
        "---",
        "",
    ],
)
def test_a_heading_of_any_form_begins_the_next_example(heading: str) -> None:
    first = "Input: rain\nOutput: wet"
    assert input_first(f"{first}\n\n{heading}\nInput: dust\nOutput: dry") == TWO
    assert input_first(f"{heading.replace('2', '1')}\n{first}\n{heading}\n\nInput: dust\nOutput: dry\n---\n") == TWO
    assert output_first(f"Label: wet\nInput: rain\n\n{heading}\nLabel: dry\nInput: dust") == TWO
    assert output_first(f"Input: rain\nLabel: wet\n\n{heading}\nInput: dust\nLabel: dry") == TWO


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        ("1. Input: rain\n   Output: wet\n2. **Input:** dust\n   **Output:** dry", TWO),
        ("**Input: rain**\n**Output: wet**\n\nInput: dust\nOutput: dry", TWO),
        ("```\nExample 1\nInput: rain\nOutput: wet\n\nExample 2\nInput: dust\nOutput: dry\n```", TWO),
        ("Output: wet\nOutput: dry", [("", "wet"), ("", "dry")]),
        ("Input: a\nInput: b\nOutput: c", [("a\nInput: b", "c")]),
        # What only looks like a heading or a label:
        (
            "Output: Example 1 shows rain.\nExample 2 shows dust.",
            [("", "Example 1 shows rain.\nExample 2 shows dust.")],
        ),
        ("Output: Rain\nExample 2: it is wet.\nAnd dry.", [("", "Rain\nExample 2: it is wet.\nAnd dry.")]),
        ("Output: first\n2.\nsecond", [("", "first\n2.\nsecond")]),
        ("Output: a\n---\nb", [("", "a\n---\nb")]),
        ("Output: 2**3 and x**", [("", "2**3 and x**")]),
        ("Output: a **bold** word and **another**", [("", "a **bold** word and **another**")]),
        ("Output: one\n\nExamples 2 and 3: none", [("", "one\n\nExamples 2 and 3: none")]),
        (
            "Input: x\nOutput: ```\nInput: 3\nOutput: 6\n```\n\nInput: y\nOutput: z",
            [("x", "```\nInput: 3\nOutput: 6\n```"), ("y", "z")],
        ),
        (
            "Input: ```python\nInput: 1\n```\nOutput: ```\nExample 2\n```",
            [("```python\nInput: 1\n```", "```\nExample 2\n```")],
        ),
    ],
)
def test_inputs_first(reply: str, pairs: list[tuple[str, str]]) -> None:
    assert input_first(reply) == pairs


def test_two_outputs_of_one_input_are_no_pair() -> None:
    with pytest.raises(ParseError, match="two outputs of one input"):
        input_first("Example 1\nInput: rain\nOutput: wet\nOutput: cold")


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        (
            "Input: I love it\nClass label: positive\n\nInput: I hate it\nClass label: negative\n\n"
            "Input: meh\nClass label: neutral",
            [("I love it", "positive"), ("I hate it", "negative"), ("meh", "neutral")],
        ),
        ("Input: I love it\nLabel: positive\nInput: cut sho", [("I love it", "positive"), ("cut sho", "")]),
        ("Class label: yes\nText: a b", [("a b", "yes")]),
        ("**Label:** yes\n**Sentence:** a b\n**Label:** no\n**Sentence:** c", [("a b", "yes"), ("c", "no")]),
        ("**Label: positive**\n**Input: fine**", [("fine", "positive")]),
        ("Label:\npositive\nInput:\nfine\nText: it is", [("fine\nText: it is", "positive")]),
        ("Label: a\n---\nLabel: b\n---", [("", "a"), ("", "b")]),
        ("Label: a\nInput: b\n\nclosed\nLabel: c\nInput: none", [("b\n\nclosed", "a"), ("", "c")]),
    ],
)
def test_labels_and_inputs_in_either_order(reply: str, pairs: list[tuple[str, str]]) -> None:
    assert output_first(reply) == pairs


@pytest.mark.parametrize(
    "reply",
    [
        "Input: x\nLabel: a\nLabel: b",
        "Input: x\nInput: y\nLabel: a\nLabel: b\nInput: z\nInput: w",
        "Label: a\nI love it",
        "Label: a\nReason: it is so\nInput: x",
    ],
)
def test_what_cannot_be_paired_is_unparsed(reply: str) -> None:
    with pytest.raises(ParseError):
        output_first(reply)


@pytest.mark.parametrize("reply", ["Yes, nothing else fits", "No, not one", "Yes. No label is missing"])
def test_a_verdict_with_its_reason_is_one(reply: str) -> None:
    assert verdict(reply) is reply.startswith("Yes")
