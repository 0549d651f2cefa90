"""The normaliser takes away form alone: what dresses an answer goes, what is content stays to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.normalise import half_width, plain_answer, plain_item, structured, unquoted

ANNOUNCED = [
    "**Revised answer:** {}",
    "Direct answer: {}",
    "Here's a revised version that avoids any encouragement of violence:\n\n{}",
    "Here is the corrected answer: {}",
    "I apologize for my earlier answer. Here is the revised response:\n\n{}",
    "Sure! Here is the edited answer:\n\n{}",
    "### Corrected Answer\n{}",
    "Answer：{}",
    "Correction: {}",
    "{}\n\n(No changes were needed.)",
    "{}\n(No corrections are necessary.)",
    "{}\n\nNote: I removed the dangerous part.",
    "{}\n\nThis revised answer no longer names a method.",
    "{}\n\nI have removed the harmful advice from the answer.",
    "{}\n\n**Note:** This revised response avoids the slur.",
    "{}\n\nThe edited version no longer names a method.",
    '"{}"',
    "**{}**",
    "```\n{}\n```",
]
KEPT = [
    "My revised plan: wake up at six.",
    "Critique: pros and cons of the film.",
    "Here is a recipe for soup: boil water.",
    "Response times: fast.",
    "Answer\nwell.",
    "I ate it.\n\nI removed my hat.",
    "```python\nprint(1)\n```",
    '"Yes" and "no"',
    "Take the bus.\n\nNote: bring an umbrella.",
    "40 is 80 %.\n\nThe final answer is 50.",
    "Dear Ana,\n\nThe final version of the contract is attached.",
    "It is late.\n\nI have added the text to the file.",
    "2 and 2 are 4.\n\nExplanation: two pairs.",
    "The updated version of the app is out.\n\nThe updated version of the app costs more.",
    "**Bold** and **bold**",
    "The new version of the app is out.\n\nThe new owner likes it.",
]
# Words of which no label, announcement or remark is made.
plain = st.lists(
    st.sampled_from(
        ["rain", "tea", "owl", "seven", "walks", "home", "slowly", "because", "nobody", "asked", "12", "kg"]
    ),
    min_size=3,
).map(" ".join)


@pytest.mark.parametrize("form", ANNOUNCED)
@given(text=plain)
def test_what_announces_an_answer_or_follows_it_goes(form: str, text: str) -> None:
    assert plain_answer(form.format(f"{text}.")) == f"{text}."


@pytest.mark.parametrize("text", KEPT)
def test_content_stays(text: str) -> None:
    assert plain_answer(text) == text


@given(st.text(max_size=200))
def test_an_answer_is_never_added_to_and_never_emptied(text: str) -> None:
    answer = plain_answer(text)
    assert answer in text.replace("\r\n", "\n")
    assert plain_answer(answer) == answer or len(plain_answer(answer)) < len(answer)


@given(plain)
def test_plain_words_are_not_touched(text: str) -> None:
    assert plain_answer(text) == structured(text, ("Answer", "Thought")) == unquoted(text) == half_width(text) == text


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("**Answer:** x", "Answer: x"),
        ("### Answer\nx", "Answer: x"),
        ("Answer：x", "Answer: x"),
        ("**Answer**\nx", "Answer: x"),
        ("Final answer: x", "Answer: x"),
        ("- **Answer:** x", "Answer: x"),
        ("Answer x", "Answer x"),
        ("The Answer: x", "The Answer: x"),
        ("Answers: x", "Answers: x"),
        ("**9.** x", "9. x"),
        ("9、x", "9. x"),
        ("９．x", "9. x"),
        ("(9) x", "9. x"),
        ("### 9. x", "9. x"),
        ("3.14 is pi", "3.14 is pi"),
        ("10.5 km", "10.5 km"),
        ("2024 was", "2024 was"),
    ],
)
def test_labels_and_numbers_are_plain_at_the_beginning_of_a_line(reply: str, read: str) -> None:
    assert structured(f"First.\n{reply}", ("Answer",)) == f"First.\n{read}"


@pytest.mark.parametrize(
    "text",
    [
        "Explain why Python has __init__ and __new__ methods.",
        "Explain what `__name__ == '__main__'` does in Python.",
        "`__name__ == '__main__'`",
        "What do `**kwargs` and `a**b**c` mean?",
        "What is __init__?",
        "__init__",
    ],
)
def test_names_and_code_in_an_item_stay(text: str) -> None:
    assert plain_item(text) == text == plain_answer(text)


@pytest.mark.parametrize(
    ("item", "plain"),
    [
        ("**Poem**: write `**x**`", "Poem: write `**x**`"),
        ("__Write a poem__", "Write a poem"),
        ("__Write a poem__ about __init__", "Write a poem about __init__"),
        ("Write a **short** poem", "Write a short poem"),
    ],
)
def test_bold_letters_in_an_item_go(item: str, plain: str) -> None:
    assert plain_item(item) == plain
