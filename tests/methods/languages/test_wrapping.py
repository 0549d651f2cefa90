"""Translations as models wrap them: labels, tags and quotes are taken off, and a remark is none of the text."""

from __future__ import annotations

import pytest

from prompts import Library
from tasks.filters.languages import LANGUAGES
from tasks.methods.translate.reading import REMARK, translation
from tasks.methods.translate.wrapping import _OWN, unwrapped
from tasks.step import ParseError, Rejected

SOURCE = "How do I water a cactus in winter?"
GERMAN = "Wie gieße ich einen Kaktus im Winter?"


def read(reply: str, source: str = SOURCE) -> str:
    return translation(reply, source, "german", "Übersetzung", quotes=False)


@pytest.mark.parametrize(
    "wrapped",
    [
        "German: {}",
        "**German:**\n{}",
        "Deutsch: {}",
        "Auf Deutsch: {}",
        "German translation: {}",
        "In German: {}",
        "In German, this is: {}",
        "In German, that would be:\n\n{}",
        "Die Übersetzung lautet: {}",
        "Hier ist die Übersetzung:\n\n{}",
        "Übersetzung ins Deutsche: {}",
        "Übersetzung (Deutsch): {}",
        "Translation (German): {}",
        "Translation to German:\n{}",
        "<translation>{}</translation>",
        "<german>\n{}\n</german>",
        "<text>German: {}</text>",
        "„{}“",
        "German: „{}”",
        '"{}"',
    ],
)
def test_labels_tags_and_quotes_are_taken_off(wrapped: str) -> None:
    assert read(wrapped.format(GERMAN)) == GERMAN


@pytest.mark.parametrize(
    "after",
    [
        "\n\nNote: I used the informal form.",
        "\n\n**Anmerkung:** Das ist die Du-Form.",
        "\n\nHinweis: Das ist die Du-Form.",
        "\n\nAntwort: Gieße ihn nur selten.",
        "\n\nAnswer: Rarely.\n\nAnd with little water.",
        "\n(Note: this is the informal form.)",
        "\n\n[Explanation: it is informal.]",
        "\n\nTranslator's note: it is informal.",
    ],
)
def test_a_note_or_an_answer_after_it_is_a_remark(after: str) -> None:
    with pytest.raises(ParseError, match=REMARK):
        read(f"{GERMAN}{after}")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("German: what is it?", "Deutsch: Was ist das?"),
        ("Translation work: how do I begin with it?", "Übersetzung als Beruf: Wie fange ich damit an?"),
        ("What is it?\n\nNote: be brief.", "Was ist das?\n\nHinweis: Sei kurz."),
        ("What is it?\nAnswer: it is a cat", "Was ist das?\nAntwort: Es ist eine Katze"),
        ("Write a note: what is it?", "Schreibe eine Notiz: Was ist das?"),
        ("What is it, in <b>bold</b>?", "Was ist das, in <b>fett</b>?"),
        ("<text>What is it?</text>", "<text>Was ist das?</text>"),
        ("“What is it?”", "„Was ist das?“"),
        ("This is it. It is the answer to all.", "Das ist es. Es ist die Antwort: auf alles."),
    ],
)
def test_what_the_source_has_too_is_part_of_the_text(source: str, text: str) -> None:
    assert read(text, source) == text


def test_every_language_has_a_name_and_a_label_of_its_own() -> None:
    assert set(_OWN) == set(LANGUAGES)
    from tasks.filters.languages import CODES

    for code, words in Library().languages().items():
        question, language = words.examples[0].question, CODES[code]
        for label in (language.title(), *_OWN[language].split("|"), words.label, f"In {language.title()}"):
            assert unwrapped(f"**{label}:** {question}", SOURCE, language, words.label) == question


def test_another_language_under_its_name_is_rejected() -> None:
    with pytest.raises(Rejected):
        read("English: How do I water the cactus in the winter?")
