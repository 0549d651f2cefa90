"""The person's message in replies of many forms, and messages that only look like one of them."""

from __future__ import annotations

import pytest

from tasks.methods.dialogue.reading import message
from tasks.step import ParseError

SAID = "How about roses?"


@pytest.mark.parametrize(
    "before",
    [
        "",
        "User: ",
        "**User:** ",
        "**User**: ",
        "User：",
        "[User]: ",
        "### Human:\n",
        "The person: ",
        "Next message: ",
        "Here is the person's next message: ",
        "Here's the next message:\n\n",
        "Sure! Here is the user’s follow-up question: ",
        "Follow-up question: ",
        "Follow-up: ",
        "Next message: Person: ",
    ],
)
@pytest.mark.parametrize(
    "after",
    [
        "",
        "\n\n**Assistant:** Roses, too.",
        "\nBot: Roses, too.",
        "\nAI assistant: Roses, too.\nUser: Fine.",
        "\n\n[Assistant]: Roses, too.",
        "\nUser: And tulips?\nAssistant: Yes",
        "\n**ChatGPT**：Roses, too.",
    ],
)
def test_labels_quotes_and_other_turns_are_no_part_of_it(before: str, after: str) -> None:
    assert message(f"{before}{SAID}{after}") == SAID
    assert message(f"{before}“{SAID}”{after}") == SAID
    assert message(f'{before}"{SAID}"{after}') == SAID


@pytest.mark.parametrize(
    "text",
    [
        "My file says:\nUser: admin\nShell: bash",
        "I like the next message: it is short.",
        "User interfaces: which is best?",
        "A new question: why do roses fade?",
        "It prints this:\n```\nAssistant: hello\n```\nWhy?",
        '"Yes" or "no"?',
        "The robot: is it mine?",
        "Human rights: which are there?",
        "What does the tag [END] mean in assembler?",
        "Does it close with [END]?",
        "How does (end of June) read?",
        "Is that the end?",
        "It stops at the end. I want it to go on to the end",
        "What is the band? The End.?",
        "Who wrote Endgame?",
        "And what about the weekend",
    ],
)
def test_what_only_looks_like_a_label_or_an_end_is_left_alone(text: str) -> None:
    assert message(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "[END]",
        "**[END]**",
        '"[END]"',
        "Person: [END]",
        "[END] Thank you!",
        "Thanks! [END].",
        "Thanks!\n[END]\nAssistant: Bye.",
        "End of conversation.",
        "Thanks. End of the conversation.",
        "Thank you!\n\nEND OF CHAT",
        "THE END",
        "Thank you. THE END",
        "Thank you! (END)",
        "Thank you!\n(end of conversation)",
        "The end.",
    ],
)
def test_an_end_in_other_words_is_one(text: str) -> None:
    assert message(text) is None


@pytest.mark.parametrize("reply", ["", "User:", "**Assistant:** Roses.", "Person: \nAI: Roses."])
def test_a_label_alone_is_no_message(reply: str) -> None:
    with pytest.raises(ParseError, match="no message"):
        message(reply)
