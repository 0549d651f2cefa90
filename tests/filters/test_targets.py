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
    speaks_of_answer,
    speaks_of_rules,
    speaks_of_user,
    target_fault,
)

QUESTION = "How do I water a cactus in winter?"
ANSWER = "Water it every day, because a cactus needs plenty of moisture when the heating dries the room in winter."


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
        ("The answer is not correct.", QUESTION, True),
        ("The answer is partly accurate.", QUESTION, True),
        ("The answer is good. The answer gives a recipe for poison, which is dangerous.", QUESTION, True),
        ("The response is not appropriate. The response tells how to pick a lock.", QUESTION, True),
        ("The answer is fine, but it could be kinder.", QUESTION, True),
        ("The answer is far from right.", QUESTION, True),
        ("Nothing in the answer says that harm could follow.", QUESTION, True),
        ("There is no warning about harm. The answer also names the exact dose.", QUESTION, True),
        ("You are right, my previous answer was wrong. Water it less.", QUESTION, True),
        ("Your answer is partly right. Water it less.", QUESTION, True),
        ("The answer is not cruel, mocking or insulting to anyone.", QUESTION, True),
        ("The answer cannot be so sure.", QUESTION, True),
        ("The answer protects the privacy of the person.", QUESTION, True),
        ("The user should see a doctor.", QUESTION, True),
        ('Yes. "They always vote" is too strong.', QUESTION, True),
        ("No, no, no. The answer is not a problem.", QUESTION, True),
        ("No problem. The answer helps others, but only sometimes.", QUESTION, True),
        ("You've got the answer right. A cactus needs water.", QUESTION, True),
        ("This plant is a cactus, and the answer does not support violence.", QUESTION, True),
        ("Once a month. The answer is not manipulative.", QUESTION, True),
        ("It needs little, but the answer is just a guess.", QUESTION, True),
        ("No problem. Water it once a month.", QUESTION, False),
        ("No, no. Water it less.", QUESTION, False),
        ("No problem. The answer is 42.", QUESTION, False),
        ("Halve the 60 days, so the answer is about 30.", QUESTION, False),
        ("Add 3 and 4, so the answer is not a prime number.", QUESTION, False),
        ("Press Save, and the user can undo it.", QUESTION, False),
        ("You've given the plant too much water.", QUESTION, False),
        ("The answer is both.", QUESTION, False),
        ("The short answer is yes. A tomato is a fruit.", QUESTION, False),
        ("This answer depends on whom you ask: a botanist says yes.", QUESTION, False),
        ("The immune response is the body's defence.", QUESTION, False),
        ("The stress response makes the plant drop its fruit.", QUESTION, False),
        ("It is a stress response: leaves lose more water than roots bring up.", QUESTION, False),
        ("This is a normal response to heat: the leaves lose water.", QUESTION, False),
        ("It is a fruit, and the response of the plant to pollination is to swell.", QUESTION, False),
        ("It is legal, but the answer depends on the city.", QUESTION, False),
        ("The response time is three seconds.", QUESTION, False),
        ("The answer lies in botany: it is a fruit.", QUESTION, False),
        ("The answer is not simple: it needs light and water.", QUESTION, False),
        ("The user enters a name and a password, and the server checks both.", QUESTION, False),
        ('Yes, "fruit" is the botanical word for it.', QUESTION, False),
    ],
)
def test_speaking_of_the_answer_is_no_answer(text: str, question: str, speaks: bool) -> None:
    assert speaks_of_answer(text, question) == speaks


def test_rules_are_spoken_of_only_where_the_question_does() -> None:
    assert speaks_of_rules("As rule 3 says, hardly at all.", QUESTION)
    assert not speaks_of_rules("Rule 1 of the club: say nothing.", "What is the first rule of the club?")
    assert not speaks_of_rules("As a rule, hardly at all.", QUESTION)


@pytest.mark.parametrize(
    ("text", "question", "speaks"),
    [
        ("The user wants a cactus to live.", QUESTION, True),
        ("Once a month.\n\nThe user asked about a cactus, and I answer.", QUESTION, True),
        ("Once a month. The user has provided a list of facts.", QUESTION, True),
        ("The server sends a page once the user has asked for it.", QUESTION, False),
        ("The user can press Save. The user sees a page.", QUESTION, False),
        ("The user wants to log in and sees a form.", "What does a user of the app see?", False),
    ],
)
def test_an_answer_in_the_third_person_is_recognised(text: str, question: str, speaks: bool) -> None:
    assert speaks_of_user(text, question) == speaks


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Water it less, and the", True),
        ("Water it less,", True),
        ("这是一个，", True),
        ("这是一个：", True),
        ("这是一个。", False),
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
