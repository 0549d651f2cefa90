"""What surrounds a replacement is removed; what may be content is kept, or the row is retried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.filters.heuristics import ECHO
from tasks.filters.replies import goes_on, new_text
from tasks.filters.targets import TURN
from tasks.methods.base import AnswerConfig, replacement
from tasks.step import ParseError

QUESTION = "How do I keep my tomato plants healthy during a hot summer?"
ANSWER = "Water tomatoes every day at noon and prune all leaves so that the sun can reach the fruit directly."
NEW = "Water your tomato plants in the morning, mulch the soil, and give them some shade on the hottest days."
AROUND = [
    "Question: {Q}\n\nCorrected answer: {}",
    "Question: {Q}\nAnswer: {}",
    "**Question:** {Q}\n\n**Edited answer:** {}",
    "### Question\n{Q}\n\n### Edited answer\n{}",
    "{Q}\n\n{}",
    "**{Q}**\n\n{}",
    "Original answer: {A}\n\nCorrected answer: {}",
    "{A}\n\nCorrected answer: {}",
    "Question: {Q}\n\nAnswer: {A}\n\nEdited answer: {}",
    "Critique: the answer is wrong.\n\nRevision: {}",
    "Assistant: {}",
    "<answer>{}</answer>",
    "<edited_answer>\n{}\n</edited_answer>",
    "I apologize for the mistake. {}",
    "I'm sorry for the confusion! {}",
    "{}\n\nKey changes:\n* morning watering\n* no pruning",
    "{}\n\nThe main changes are: the time and the shade.",
    "{}\n\n**Edits:**\n\n- the time\n\n- the shade",
    "```\n{}\n```\n\nI corrected the time.",
    "{}\n\nUser: What about roses?\nAssistant: Roses need the same.",
    "{}\n\n### Question\nWhat about roses?\n\n### Answer\nThe same.",
    "{}\n\nQuestion: What about roses?\nAnswer: The same.",
    'Sure! Here is the edited answer:\n\n---\n\n<answer>"{}"</answer>\n\n---\n\nThis version is more accurate.',
]
# The text, the question, and the answer that it replaces.
KEPT = [
    (f"{ANSWER}\n\nBetter still, water them in the morning.", QUESTION, ANSWER),
    ("Roses are red, my dear\n\nViolets are blue", "Roses are red, my dear", "Roses are red, my dear\n\nTulips too"),
    ("Roses are red\nViolets are blue", "Roses are red", "Violets are blue"),
    ("<answer>42</answer>", "Write an XML element that holds 42.", "42"),
    ("<answer>42</answer>", "Hold 42 as before.", "<answer>41</answer>"),
    ("I apologize for the mistake. We sent the wrong shoes.", "Write to a customer who got wrong shoes.", "Hello."),
    ("1. Dark mode\n\nChanges:\n- the menu", "What is new in version 3 of the app?", "Dark mode."),
    ("The law is old.\n\nKey changes:\n- the fine", "What did the law change?", "The fine."),
    ("```\nx = 1\n```\n\nI removed the semicolon.", "Fix this code: x = 1;", "x = 1"),
    ("Assistant: Hello.\nUser: Hi.", "Write a dialogue of a user and an assistant.", "Hi."),
    ("Hello!\n\nUser: Hi.\nAssistant: Hello.", "Write a dialogue of a user and an assistant.", "Hi."),
    ("Rivers\n\nQuestion: Which is longest?\nAnswer: The Nile.", "Make a quiz about rivers.", "No."),
    ("Rivers\n\nQuestion: Which is longest?\nAnswer: It.", "Make something for my class.", "Question: Who?"),
    ("Name: bob\nUser: bob\nHome: /home/bob", "Show an entry of the list.", "bob"),
]


@pytest.mark.parametrize("form", AROUND)
def test_what_is_around_the_text_goes(form: str) -> None:
    reply = form.replace("{Q}", QUESTION).replace("{A}", ANSWER).replace("{}", NEW)
    assert replacement(reply, QUESTION, ANSWER, AnswerConfig()) == NEW


@pytest.mark.parametrize(("text", "question", "answer"), KEPT)
def test_what_may_be_content_stays(text: str, question: str, answer: str) -> None:
    assert new_text(text, question, answer) == text
    assert not goes_on(text, question, answer)


@pytest.mark.parametrize("turn", ["Question: What about roses?", "Human: thanks", "**User:** And roses?"])
def test_a_turn_that_nobody_answers_is_asked_for_again(turn: str) -> None:
    with pytest.raises(ParseError, match=TURN):
        replacement(f"{NEW}\n\n{turn}", QUESTION, ANSWER, AnswerConfig())


def test_a_request_said_again_before_the_text_is_asked_for_again() -> None:
    request = "Name three ways of watering tomatoes."
    with pytest.raises(ParseError, match=ECHO):
        replacement(f"{request}\n\n{NEW}", request, ANSWER, AnswerConfig())
    assert replacement(f"{request}\n\n{NEW}", request, f"{request}\n\n{ANSWER}", AnswerConfig()).startswith(request)


@given(st.text(max_size=200), st.text(max_size=40), st.text(max_size=40))
def test_a_text_is_never_added_to(reply: str, question: str, answer: str) -> None:
    assert new_text(reply, question, answer) in reply.replace("\r\n", "\n")
