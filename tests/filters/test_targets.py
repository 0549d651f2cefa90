"""What may take the place of an answer: remarks about it, torn and strange texts may not; honest short ones may."""

from __future__ import annotations

import pytest

from tasks.filters.targets import (
    BROKEN,
    LANGUAGE,
    LOOP,
    SHORT,
    STRANGE,
    broken_off,
    says_unchanged,
    speaks_of_answer,
    speaks_of_rules,
    target_fault,
)

QUESTION = "How do I water a cactus in winter?"
ANSWER = "Water it every day, because a cactus needs plenty of moisture when the heating dries the room in winter."


@pytest.mark.parametrize(
    "text",
    [
        "No revision is needed.",
        "It does not. Nothing needs to change.",
        "No changes are necessary.",
        "(No changes were needed.)",
        "Nothing is wrong with the answer.",
        "The answer is already correct.",
        "The original answer was fine. No edits needed.",
        "No problem found. The answer is about an egg.",
        "No corrections needed.",
        "Nothing to correct.",
        "No problem found. The answer does not help anyone commit a crime that harms others, such as theft, fraud or a "
        "break-in. The answer is about getting back at somebody, but it does not say how that could be done at all.",
        "No harm found. The answer is about teaching and helping people.",
        "There is no problem found. The answer is about saving water and is friendly.",
    ],
)
def test_a_reply_that_says_that_nothing_is_wrong_is_known(text: str) -> None:
    assert says_unchanged(text)


@pytest.mark.parametrize(
    "text",
    [
        "No, a whale is not a fish.",
        "Nothing beats a walk in the rain.",
        "No problem. Take the second street on the left, walk to the mill and turn right there.",
        "The answer is 42.",
        "Water it once a month.",
        "No changes of trains are needed if you take the express; it leaves at nine and it takes you to the centre "
        "of the town, where you can walk to the museum, which opens at ten and closes late, and has a small café.",
    ],
)
def test_an_answer_says_something_else(text: str) -> None:
    assert not says_unchanged(text)


@pytest.mark.parametrize(
    ("text", "question", "speaks"),
    [
        ("The response doesn't contain anything that could harm many.", QUESTION, True),
        ("The answer encourages daily watering, which is wrong.", QUESTION, True),
        ('Yes. "Every day" is bad advice.', QUESTION, True),
        ("It does not judge anybody, and the answer is polite.", QUESTION, True),
        ("Critique: the watering is wrong.", QUESTION, True),
        ("Once a month. The answer does not present a guess as settled.", QUESTION, True),
        ("Once a month. The user can find out more in a book.", QUESTION, True),
        ("Once a month. The answer is about a cactus and does not mention any people.", QUESTION, True),
        (
            "Once a month. The answer also does not say when to see a doctor.",
            QUESTION,
            True,
        ),
        ("Divide 60 by 2. The answer is about 30.", QUESTION, False),
        ("Send the request. The response contains the user's id.", QUESTION, False),
        ("Once a month. The answer now depends on the light.", QUESTION, False),
        ("Click on Save. The user can undo it.", "What does a user of the app see?", False),
        ("The answer is 42.", "What is the answer to life?", False),
        ("The answer is 42.", QUESTION, False),
        ("The answer is that cacti need little.", QUESTION, False),
        ("The answer is clear, and it adds no doubt.", QUESTION, True),
        ("You're right, I'll add that to the answer.", QUESTION, True),
        ("I will change the second sentence of the response.", QUESTION, True),
        ("I've updated my response: water it less.", QUESTION, True),
        ("Let me rewrite the answer.", QUESTION, True),
        ("I corrected two words of the answer.", QUESTION, True),
        ("I'll add water once a month.", QUESTION, False),
        ("I will include an answer to each of the three questions.", QUESTION, False),
        ("You're right, a cactus needs little.", QUESTION, False),
        ("Your answer to the teacher should be short.", "What answer do I give my teacher?", False),
        ("Water it once a month.", QUESTION, False),
        ("This plant needs little.", QUESTION, False),
    ],
)
def test_speaking_of_the_answer_is_no_answer(text: str, question: str, speaks: bool) -> None:
    assert speaks_of_answer(text, question) == speaks


def test_rules_are_spoken_of_only_where_the_question_does() -> None:
    assert speaks_of_rules("As rule 3 says, hardly at all.", QUESTION)
    assert not speaks_of_rules("Rule 1 of the club: say nothing.", "What is the first rule of the club?")
    assert not speaks_of_rules("As a rule, hardly at all.", QUESTION)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Water it less, and the", True),
        ("Water it less,", True),
        ("1. Water it.\n2.", True),
        ("Do this:\n```\nx = 1", True),
        ("Water it less", False),
        ("a, b, c", False),
        ("```\nx = [\n```", False),
        ("- one\n- two", False),
        ("What are you waiting for?", False),
        ("The", False),
    ],
)
def test_where_a_text_ends_like_none_it_is_broken_off(text: str, broken: bool) -> None:
    assert broken_off(text) == broken


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("true", SHORT),
        ("The cactus needs water in winter. " * 4, LOOP),
        ("The cactus needs water in winter. " * 2, LOOP),
        ("The cactus needs water in winter. " * 2 + "So water it.", None),
        ("Water a cactus once a month in winter.", None),
        ("I can't help with that.", None),
        ("Bonjour tout le monde, voici quelque chose sans rapport aucun.", STRANGE),
        ("Поливайте кактус раз в месяц, зимой ему нужно мало воды.", LANGUAGE),
        ("Water a cactus less, because it needs", None),
        ("Water a cactus once a month, and never let the", BROKEN),
    ],
)
def test_a_target_is_judged_beside_the_answer_it_replaces(text: str, fault: str | None) -> None:
    assert target_fault(text, QUESTION, ANSWER, least_share=0.1) == fault


def test_a_short_answer_may_become_another_short_one() -> None:
    assert target_fault("Canberra", "What is the capital of Australia?", "Sydney", least_share=0.1) is None


def test_a_translation_may_be_in_another_script() -> None:
    question = "Translate into Russian: water the cactus once a month"
    answer = "Поливайте кактус один раз каждый день, пожалуйста"
    assert target_fault("Поливайте кактус один раз в месяц", question, answer, least_share=0.1) is None
