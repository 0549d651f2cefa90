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
    "Based on the critique, here is a revised response:\n\n{}",
    "Based on the feedback, I would revise the answer as follows:\n\n{}",
    "To improve the answer, I would say:\n\n{}",
    "Sure, I can help with that. Here's the corrected version:\n\n{}",
    "Certainly! Below is the revised answer.\n\n{}",
    "Here's the corrected answer with the mistakes fixed.\n\n{}",
    "The edited answer is:\n\n{}",
    "A better answer would be: {}",
    "The corrected response should be as follows:\n{}",
    "Here is how I would rewrite it:\n\n{}",
    "Edited:\n{}",
    "Revised: {}",
    "Rewrite: {}",
    "My answer: {}",
    "The answer: {}",
    "Edited Answer (with corrections): {}",
    "[Edited answer] {}",
    "Sure! Here's an improved response:\n\n---\n\n{}\n\n---",
    "{}\n\nThis version is more accurate and helpful.",
    "{}\n\nThis answer is better because it names the morning.",
    "{}\n\n**Explanation of changes:**\n1. Corrected the time.\n2. Removed the advice.",
    "{}\n\n### Summary of changes\n\n- Corrected the time.\n\n- Removed the advice.",
    "{}\n\nThe changes I made: corrected the time.",
    "{}\n\nNote: The original response was corrected to remove the advice.",
    "{}\n\nThe original answer was incorrect because it recommended noon.",
    "{}\n\nExplanation: The original answer recommended noon, which is wrong.",
    "{}\n\n(This answer was edited for accuracy.)",
    "{}\n\n[Edited for clarity]",
    "{}\n\n**Edited for clarity and accuracy.**",
    "{}\n\nIn this revised response, I have removed the advice.",
    "{}\n\nIs there anything else you would like me to revise?",
    "{}\n\n---\n\n**Changes made:**\n- Corrected the time",
    "```\n{}\n```\nThis answer is more accurate.",
    "“{}”\n\nThis answer is more accurate.",
    '**Revised answer:**\n\n"{}"\n\n(No changes were needed.)',
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
    "This revised answer no longer names a method.",
    "(No changes were needed.)",
    "Revised: May 2020. All rooms are open.",
    "Based on the map, here is a route: take the bus.",
    "I can help with that. Take the bus.",
    "I apologize for the mistake. We sent you the wrong shoes.",
    "The better answer is a walk.",
    "The final answer is:\n\nx = 4",
    "Here is how I would answer your landlord: be calm.",
    "Install 3.2.\n\nThis version is more stable, and it includes a dark mode.",
    "Dear Ana,\n\nThe previous reply was sent on Monday.",
    "6 times 7 is 42.\n\nThis answer is correct because 42 by 7 is 6.",
    "Two things matter.\n\nKey changes:\n- the price",
    "---\ntitle: Rain\n---\nIt rains.",
    "Rain\n---",
    "It rains. The third edition (revised for accuracy)",
    "1. Boil water.\n\n2. Add tea.\n\n3. Wait.",
    "<answer>42</answer>",
    "Let me know if you would like me to change the date.",
    "This is the final version.\n\nDear Ana, it rains.",
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


@pytest.mark.parametrize(
    "reply",
    [
        "Water it less.",
        "  Water it less.\n",
        '"Water it less."',
        "“Water it less.”",
        "Sure, here is the revised response: Water it less.",
        "Of course! Here's a rewritten version of my answer:\n\nWater it less.",
        'Below is the improved answer:\n"Water it less."',
        "Revised answer: Water it less.",
        "Revision: Water it less.",
        "My revised answer:\nWater it less.",
    ],
)
def test_preambles_and_outer_quotes_are_taken_off(reply: str) -> None:
    """Constitutional AI (10)"""
    assert plain_answer(reply) == "Water it less."


@pytest.mark.parametrize(
    "reply",
    [
        "Here is a recipe for soup: boil water.",
        "Sure: water it less.",
        "The answer is simple: less water.",
        '"Less" is the word, not "more"',
        "'Tis a plant that wants little water, 'tis said'",
        "Here is how it works. A revised plan: water it less.",
        "“Less” and “little”",
        "“Less is more”, he said, and „more is less”",
        "‘Less is more’ is not what ’90s gardeners’",
        '"',
    ],
)
def test_what_belongs_to_the_answer_stays(reply: str) -> None:
    assert plain_answer(reply) == reply
