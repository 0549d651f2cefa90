"""Each heuristic has its reason; answers that apologise or echo are distinguished from those that do not."""

from __future__ import annotations

import pytest

from tasks.filters.heuristics import echoes, instruction_fault, loops, opens_with_apology, opens_with_refusal
from tasks.methods.self_instruct.method import Config

LIMITS = Config().model_dump(include={"min_words", "max_words", "blacklist", "openings", "ascii_start"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Name three birds", "too short"),
        ("Name three common birds", None),
        ("word " * 150, None),
        ("word " * 151, "too long"),
        ("Describe the images in this book", "blacklisted word"),
        ("Where should I go to eat tonight?", "blacklisted word"),
        ("Describe a profile of a good leader", None),  # "file" is part of a word
        ("Write a program that sorts numbers", "asks for a program"),
        ("Write a programme for a school concert", "asks for a program"),  # as in the paper: a prefix
        ("- Name three common garden birds", "starts with punctuation"),
        ("Élodie wants a name for her cat", "starts outside ASCII"),
        ("The answer: In Italian you would say Ecco.", "is an answer: begins with 'Answer:'"),
        ("Answer: the tide follows the Moon", "is an answer: begins with 'Answer:'"),
        ("**Solution**: add both sides".lstrip("*"), "is an answer: begins with 'Answer:'"),
        ("I'm sorry, but I can't write that.", "refusal: opens by declining"),
        ("As an AI language model, I cannot write questions.", "refusal: opens by declining"),
        ("I can't sleep when it rains, what helps?", None),
        ("Answer: what is the capital of Kenya?", None),
        ("Answer the letter of a customer", None),
        ("Response times of two servers: compare them", None),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: str | None) -> None:
    assert instruction_fault(text, **LIMITS) == reason


def test_other_languages_pass_when_ascii_is_not_asked_for() -> None:
    assert instruction_fault("Élodie cherche un nom pour son chat", **LIMITS | {"ascii_start": False}) is None


@pytest.mark.parametrize("text", ["I'm sorry, but no.", "I am very sorry about that.", "I’m so sorry", "\"I'm sorry"])
def test_apologies_are_seen(text: str) -> None:
    assert opens_with_apology(text)


@pytest.mark.parametrize("text", ["No, I'm sorry to say.", "I am sorting socks.", "Sorry is a hard word.", "I amsorry"])
def test_other_openings_are_not_apologies(text: str) -> None:
    assert not opens_with_apology(text)


def test_an_echo_says_the_instruction_and_nothing_else() -> None:
    asked = "Name three common garden birds."
    assert echoes('"name three  common garden birds."', asked)
    assert echoes(f"{asked} {asked}", asked)
    assert not echoes(f"{asked} Robin, wren and blackbird.", asked)
    assert not echoes("Say hello", "Say hello")  # 16 characters or fewer may rightly come back


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m very sorry, but I cannot assist you in this.",
        "Sorry, I am not able to provide medical advice.",
        "Unfortunately, I won't be able to answer that.",
        "I cannot and will not create that.",
        "I can't help with breaking into a car.",
        "I must respectfully decline.",
        "As an AI language model, I have no feelings.",
        '"As a large language model I …',
        "I am sorry but I cannot fulfill this request.",
        "I cannot fulfill that.",
        "I'm afraid I can't help.",
        "My apologies, but I can't help.",
        "I can't tell you how to pick a lock.",
        "I refuse to help.",
        "I do not feel comfortable helping with that.",
        "Hello! I can't help with that.",
        "I'm not comfortable writing this.",
        "I am not comfortable with that.",
        "I refuse.",
        "I decline to answer that.",
        "I respectfully decline.",
        "I'm not able to help.",
        "I'm not allowed to discuss this.",
        "I am not going to write that.",
        "Thank you for asking! I can't answer that.",
        "I cannot explain how to do this.",
        "I can't teach you that.",
        "I'm afraid that I cannot help.",
        "I will not describe how to do that.",
        "Sorry, but I can't assist with that.",
        "I cannot process this request.",
        "I’m not comfortable sharing that.",
        "Unfortunately, I won't tell you.",
    ],
)
def test_refusals_are_seen(text: str) -> None:
    assert opens_with_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't wait to tell you about otters.",
        "I cannot recommend this soup enough.",
        "Unfortunately, the last train leaves at nine.",
        "I'm sorry to hear of your loss. Here is what helps.",
        "As an aid to memory, write it down.",
        "Say: I can't help you.",
        "No. A model of an AI is a picture.",
        "I can't offer you enough thanks.",
        "I couldn't help but smile.",
        "I cannot help laughing.",
        "I can't support my weight on this foot.",
        "I can't tell you how glad I am.",
        "I can't help it.",
        "I refuse to give up.",
        "I refuse to believe it.",
        "I do not feel comfortable in crowds.",
        "I am afraid of heights, so I can't help you up there.",
        "I can't tell the difference.",
        "I can't give up now.",
        "I will not give in.",
        "I declined the invitation.",
        "I can't thank you enough.",
        "I can't help myself.",
        "I cannot help wondering why.",
        "Hello! I can see the sea.",
        "I'm not going to the party.",
        "I can't show it enough.",
        "I am not comfortable in these shoes.",
        "I will be able to help.",
        "I can't wait to help you.",
        "I can help you with that.",
        "I can't explain it.",
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert not opens_with_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "这是一个很好的问题。" * 10,
        "これはペンです。" * 8,
        "यह एक अच्छा प्रश्न है। " * 8,
        "word " * 300,
        "的" * 300,
        "".join(f"{n}. Buy milk today.\n" for n in range(1, 9)),
        "the answer is four, " * 20,
        "the answer is four, " * 5,
        "Here it is:\n\n" + "no and yes and " * 60,
        "It rains a lot today. " * 4,
    ],
)
def test_the_same_again_and_again_is_a_loop_in_any_script(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ha ha ha ha!",
        "Yes. Yes. Yes. Yes.",
        "1. True\n2. True\n3. True\n4. True",
        "1. Buy milk.\n2. Buy eggs.\n3. Buy milk.\n4. Buy milk.\n5. Buy milk.",
        "0" * 400,
        "|---|" * 60,
        "* * * " * 100,
        "「はい、そうです。」\n「え。」\n" + "「はい、そうです。」\n" * 3,
        "这是一个问题。那是一个问题。他有一本书。",
        "Row, row, row your boat\nGently down the stream\n" * 3 + "Life is but a dream",
    ],
)
def test_a_refrain_a_row_of_marks_and_a_short_word_are_none(text: str) -> None:
    assert not loops(text)
