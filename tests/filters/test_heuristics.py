"""Each heuristic has its reason; answers that apologise or echo are distinguished from those that do not."""

from __future__ import annotations

import pytest

from tasks.filters.heuristics import echoes, instruction_fault, opens_with_apology, opens_with_refusal
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
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert not opens_with_refusal(text)
