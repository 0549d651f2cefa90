"""Numbered lists of many forms: where an item begins, and what of the text below it is its own."""

from __future__ import annotations

import pytest

from tasks.methods.self_instruct.reading import numbered, numbered_items
from tasks.step import ParseError

LAST = "Name three rivers."
CODE = "```python\nx = 1\n\ny = 2\n```"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (f"Fix the bug in this code.\n\n{CODE}", f"Fix the bug in this code.\n{CODE}"),
        (f"Fix the bug in this code.\n{CODE}", f"Fix the bug in this code.\n{CODE}"),
        ("Summarize this.\n\n> The cat …\n> and the dog", "Summarize this.\n> The cat …\n> and the dog"),
        ('Use the passive voice.\n\n"The cat ate the fish."', 'Use the passive voice.\n"The cat ate the fish."'),
        ("Add them.\n\n   Input: 1, 2, 3", "Add them.\nInput: 1, 2, 3"),
        ("Add them.\n\n**Input:** 1, 2, 3\n\nText: all of it", "Add them.\n**Input:** 1, 2, 3\n\nText: all of it"),
        ("Order these steps:\n   1. boil water\n   2. add tea", "Order these steps: 1. boil water 2. add tea"),
        ("Order these steps:\n\n   1. boil\n   2. pour", "Order these steps:\n1. boil\n2. pour"),
        ("Order these steps:\n  3. boil\n  4. pour\n  5. drink", "Order these steps: 3. boil 4. pour 5. drink"),
        ("What does it print?\n```sh\n1. echo\n2. cat\n```", "What does it print?\n```sh\n1. echo\n2. cat\n```"),
        ("Explain tides.\nI hope these help!", "Explain tides."),
        ("Sort these words:\n\nowl, ant\n\nLet me know if you need more!", "Sort these words:\nowl, ant"),
        ("Explain tides.\n\nThese tasks cover physics.", "Explain tides."),
        ("Explain tides.\n\n**Note**: they are tasks.", "Explain tides."),
        ("**Poem**\n   Write a poem", "Poem: Write a poem"),
        ("**Write a poem.**\n   Make it short.", "**Write a poem.** Make it short.".replace("**", "")),
        ("What is 2 + 2?\nAnswer: 4", "What is 2 + 2?"),
        ("What is 2 + 2? Answer: 4", "What is 2 + 2?"),
        ("What is 2 + 2?\n\n   **Answer:** 4", "What is 2 + 2?"),
        ('The task: "Translate this text into Italian."', "Translate this text into Italian."),
        ("**Task:** Name a bird.", "Name a bird."),
        ("Instruction: Name a bird.", "Name a bird."),
        ("Question: Which bird is it?", "Which bird is it?"),
        ("The prompt is: Name a bird.", "Name a bird."),
        # Content that only looks like one of these:
        *(
            (text, text)
            for text in (
                "Write a quiz with lines of the form Question: x. Answer: y. Make ten.",
                "Write a letter that ends in: I hope these help!",
                "Explain the note: what does it say?",
                "Which is right? Output: a number. Then say why.",
                "What happened in 1999. Was it 2. or 3. of May?",
                "Task lists: what makes a good one?",
                "Explain the task: what is missing?",
            )
        ),
        ("Write what ends with\nLet me know if you can come.", "Write what ends with Let me know if you can come."),
    ],
)  # fmt: skip
def test_an_item_keeps_its_material_and_nothing_else(item: str, text: str) -> None:
    assert numbered_items(f"1. {item}\n2. {LAST}", continues=False) == [text, LAST]
    assert numbered_items(f"7. {LAST}\n\n8. {item}", continues=False) == [LAST, text]
    assert numbered_items(f"{item}\n2. {LAST}", continues=True) == [text, LAST]


@pytest.mark.parametrize(
    "form",
    [
        "{}\\. ",
        "Task {}: ",
        "**Task {}:** ",
        "### Task {}\n",
        "{}: ",
        "[{}] ",
        "{}.",
        "Question {}. ",
        " {}. ",
        "({}) ",
    ],
)
def test_numbers_of_any_form_are_read(form: str) -> None:
    reply = "\n\n".join(f"{form.format(number)}{text}" for number, text in ((3, "Write a poem."), (4, LAST)))
    assert numbered(reply, None) == [(3, "Write a poem."), (4, LAST)]
    assert numbered(f"```\n{reply}\n```", None) == [(3, "Write a poem."), (4, LAST)]


def test_circled_numbers_are_read() -> None:
    assert numbered("① 写一首诗。\n②解释潮汐。\n⑳ x", None) == [(1, "写一首诗。"), (2, "解释潮汐。"), (20, "x")]


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        (" 8. a\n 9. b\n10. c", ["a", "b", "c"]),
        ("8. a\n   9. b\n   10. c", ["a", "b", "c"]),  # of a list whose first line has lost its blanks
        ("1. Mix them 2: 1 by weight.\n2: 1 is best.\n2. b", ["Mix them 2: 1 by weight. 2: 1 is best.", "b"]),
        ("1. Explain\n3.js and\n[2] of them\n2. b", ["Explain 3.js and [2] of them", "b"]),
    ],
)
def test_what_is_no_number_of_the_list(reply: str, items: list[str]) -> None:
    assert numbered_items(reply, continues=False) == items


@pytest.mark.parametrize("reply", ["It is 10:30 now.", "Tasks 1 and 2", "3.5 million", "1.\n2.", "[a] x", "10:30"])
def test_no_list_is_made_up(reply: str) -> None:
    with pytest.raises(ParseError, match="no numbered list"):
        numbered_items(reply, continues=False)


def test_numbers_that_each_item_has_twice_are_numbers_once() -> None:
    assert numbered("1. 1. Why is the sky blue?\n2. 2. Where do fish eat?\n3. 3) Name a bird.", None) == [
        (1, "Why is the sky blue?"), (2, "Where do fish eat?"), (3, "Name a bird."),
    ]  # fmt: skip
    reply = " Why is the sky blue?\n2. 2. Where do fish eat?\n3. 3. Name a bird."
    for lead in ("", " 1."):
        assert numbered_items(lead + reply, continues=True) == [
            "Why is the sky blue?", "Where do fish eat?", "Name a bird.",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "texts",
    [
        ("1. Mai: was geschah an dem Tag?", "Name a bird."),
        ("2. Korinther 3 zusammenfassen", "1. Mose 1 zusammenfassen"),
        ("5. Sinfonie: who wrote it?", "6. Sinfonie: who wrote it?"),
    ],
)
def test_a_number_that_belongs_to_a_text_stays(texts: tuple[str, ...]) -> None:
    reply = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    assert numbered_items(reply, continues=False) == list(texts)
