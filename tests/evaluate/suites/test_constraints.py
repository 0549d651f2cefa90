"""Each constraint holds and fails where it should, strictly and loosely."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tasks.evaluate.suites.config import SHIPPED, Config
from tasks.evaluate.suites.constraints import Constraint, figures, loose, strict
from tasks.evaluate.suites.rows import rows
from tasks.filters.languages import language_of

ADAPTER = TypeAdapter(Constraint)
WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
TEXT = st.text(max_size=200)


def of(check: str, **settings: object):
    return ADAPTER.validate_python({"check": check, **settings})


def counted(check: str, count: int, text: str) -> None:
    """Exactly so many and no other number."""
    assert strict(of(check, least=count, most=count), text)
    assert not strict(of(check, least=count + 1), text)
    if count:
        assert not strict(of(check, most=count - 1), text)


@given(st.lists(WORD, min_size=1, max_size=30))
def test_what_is_counted_is_counted_exactly(words: list[str]) -> None:
    count = len(words)
    counted("words", count, "  ".join(words))
    counted("characters", len("".join(words)), f" {''.join(words)}\n")
    counted("sentences", count, " ".join(f"{word}." for word in words))
    counted("paragraphs", count, "\n \n".join(words))
    counted("items", count, "\n".join(f"- {word}" for word in words))
    counted("items", count, "\n".join(f"{n}. {word}" for n, word in enumerate(words, 1)))
    counted("headings", count, "\n\n".join(f"## {word}\ntext" for word in words))


@given(WORD, st.lists(WORD, max_size=8))
def test_words_are_found_as_words(word: str, others: list[str]) -> None:
    text = " ".join([*others, word.upper() + ","])
    assert strict(of("include", words=[word]), text)
    assert not strict(of("exclude", words=[word]), text)
    assert not strict(of("include", words=[word + "x"]), " ".join(others) + f" {word}")
    assert strict(of("exclude", words=["zz" + word]), f"{word} yzz{word}z")
    assert strict(of("include", words=[word], times=2), f"{word} {word}!")
    assert not strict(of("include", words=[word], times=3), f"{word} {word}!")


@given(TEXT)
def test_no_answer_breaks_a_check_and_strict_is_never_kinder_than_loose(text: str) -> None:
    every = [of("words", most=5), of("characters", most=9), of("sentences", least=1), of("paragraphs", most=1)]
    every += [
        of("items", least=1),
        of("headings", most=1),
        of("case", case="upper"),
        of("case", case="lower"),
        of("json"),
    ]
    every += [of("language", language="english"), of("include", words=["a"]), of("exclude", words=["a"])]
    every += [of("without", characters=","), of("start", text="a"), of("end", text="a"), of("quoted"), of("json")]
    for one in every:
        assert not strict(one, text) or loose(one, text)


@given(st.dictionaries(WORD, st.integers() | TEXT, min_size=1, max_size=5))
def test_json_is_read_whole_with_its_keys(value: dict[str, object]) -> None:
    text = json.dumps(value)
    assert strict(of("json", keys=list(value)), text)
    assert strict(of("json"), f"```json\n{text}\n```")
    assert not strict(of("json", keys=[*value, "missing key"]), text)
    assert not strict(of("json"), f"{text} Done.")
    assert loose(of("json"), f"Here it is:\n{text}")


@pytest.mark.parametrize(
    ("check", "kept", "broken"),
    [
        ({"check": "case", "case": "upper"}, "MIND THE GAP!", "Mind the gap"),
        ({"check": "case", "case": "lower"}, "mind the gap", "123"),
        ({"check": "without", "characters": ",;"}, "one and two", "one, two"),
        ({"check": "start", "text": "Did you know"}, " did you know that?", "So, did you know"),
        ({"check": "end", "text": "Cheers!"}, "All the best. cheers!\n", "Cheers! Bye"),
        ({"check": "quoted"}, '"Run."', '"Run" is my motto'),
        ({"check": "json"}, "[1, 2]", "3"),
        ({"check": "json", "keys": ["a"]}, '{"a": 1}', '["a"]'),
        ({"check": "items", "most": 0}, "no list - none", "* one"),
        ({"check": "language", "language": "german"}, "Das ist nicht der Hund von nebenan.", "This is not the dog."),
    ],
)
def test_each_check_tells_both_ways(check: dict[str, object], kept: str, broken: str) -> None:
    constraint = ADAPTER.validate_python(check)
    assert strict(constraint, kept)
    assert not strict(constraint, broken)
    assert not strict(constraint, " \n")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "The sky is blue because the air scatters the light of the sun."),
        ("german", "Der Himmel ist blau, weil die Luft das Licht streut."),
        ("french", "Le ciel est bleu parce que les molécules de l'air diffusent la lumière."),
        ("spanish", "El cielo es azul porque las moléculas del aire dispersan la luz."),
        ("italian", "Il cielo è azzurro perché le molecole dell'aria diffondono la luce."),
        ("portuguese", "O céu é azul porque as moléculas do ar espalham a luz do sol em uma direção."),
        ("dutch", "De lucht is blauw, omdat het licht van de zon wordt verstrooid."),
        ("japanese", "空は青いです。"),
        ("chinese", "天空是蓝色的。"),
        ("korean", "하늘은 파랗다."),
        ("russian", "Небо голубое."),
        ("greek", "Ο ουρανός είναι γαλάζιος."),
        (None, "1 + 1 = 2"),
    ],
)
def test_languages_are_identified(language: str | None, text: str) -> None:
    assert language_of(text) == language


def test_loosely_a_preamble_a_farewell_and_asterisks_cost_nothing() -> None:
    short, start = of("words", most=3), of("start", text="Imagine")
    answer = "Sure, here is a slogan that you may like:\nRide it home\nI hope that this helps you a lot!"
    assert not strict(short, answer)
    assert loose(short, answer)
    assert not strict(start, "**Imagine** a tree")
    assert loose(start, "**Imagine** a tree")


def test_a_prompts_figures_are_all_or_nothing_and_the_share() -> None:
    both = [{"check": "words", "most": 3}, {"check": "without", "characters": ","}]
    assert figures(both, "one, two") == {
        "prompt_strict": 0.0,
        "prompt_loose": 0.0,
        "constraint_strict": 0.5,
        "constraint_loose": 0.5,
    }
    assert set(figures(both, "one two").values()) == {1.0}
    assert set(figures(both, "").values()) == {0.0}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"check": "words"}, "got neither least nor most"),
        ({"check": "words", "least": 5, "most": 3}, "expected at least 5"),
        ({"check": "language", "language": "klingon"}, "expected one of"),
        ({"check": "rhymes"}, "rhymes"),
        ({"check": "include", "words": []}, "at least 1"),
        ({"check": "quoted", "most": 3}, "Extra inputs"),
    ],
)
def test_a_constraint_that_says_nothing_is_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ADAPTER.validate_python(settings)


def test_there_are_at_least_sixty_prompts_and_a_dozen_checks_and_none_holds_of_its_own_prompt_by_chance() -> None:
    found = rows(Config(name="constraints"))
    assert SHIPPED["constraints"][1].is_file()
    assert len(found) >= 60
    assert len({one["check"] for row in found for one in row["constraints"]}) >= 12
    assert len({row["prompt"] for row in found}) == len(found)
