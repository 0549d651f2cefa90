"""Translates the micro-world's sentences into Spanish and back: every sentence of its grammar has one translation.

A text is translated sentence by sentence, a sentence by the first pair of `phrases.SENTENCES` that it matches, and what
stands in its slots in the same way. Nothing is generated from meanings, so both directions read the same tables, and
a Spanish answer can be scored by what it says in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from nano.extended import phrases
from nano.grammar import any_of
from nano.world import ATTRIBUTES, CRIMES, MOODS, NAMES, NOUNS, PEOPLE, PHRASE, PROBLEMS, STEPS

UNKNOWN = "[?]"  # before a sentence that is none of the world's
_SENTENCE_END = re.compile(r"(?<=[.?])\s+")
_SLOT = re.compile(r"\{(\w+)\}")
_MOD = "{mod}"


def spanish(text: str) -> str:
    """The text in Spanish. Raises ValueError if a sentence is none of the micro-world's."""
    found = [_sentence(sentence, False) for sentence in _SENTENCE_END.split(text)]
    if None in found:
        raise ValueError(f"got {text!r}, expected sentences of nano's grammar (nano/grammar.py)")
    return " ".join(sentence for sentence in found if sentence)


def english(text: str) -> str:
    """A Spanish text in English; a sentence that is none of the micro-world's stays as it is, after `UNKNOWN`."""
    sentences = _SENTENCE_END.split(text)
    return " ".join(_sentence(sentence, True) or f"{UNKNOWN} {sentence}" for sentence in sentences)


@cache
def _sentence(text: str, to_english: bool) -> str | None:
    plain = _expanded(text) if to_english else text
    for source, target in _pairs(phrases.SENTENCES, to_english):
        # A sentence's first word has a capital letter, and what stands in a slot has none.
        given = plain[:1].lower() + plain[1:] if source.startswith("{") else plain
        if (found := _filled(source, target, given, to_english)) is not None:
            found = _capitalised(found)
            return found if to_english else _contracted(found)
    return None


def _filled(source: str, target: str, text: str, to_english: bool) -> str | None:
    """The target with the slots that the text has in the source, translated; None if the text is not of its form."""
    if not (found := _compiled(source, to_english).fullmatch(text)):
        return None
    values: dict[str, list[str]] = {}
    for slot, value in zip(_SLOT.findall(source), found.groups(), strict=True):
        if (translated := _phrase(slot, value, to_english)) is None:
            return None
        values.setdefault(slot, []).append(translated)
    return _SLOT.sub(lambda slot: values[slot[1]].pop(0), target)


@cache
def _phrase(slot: str, text: str | None, to_english: bool) -> str | None:
    if slot == "mod" and not text:
        return ""
    for source, target in _pairs(_slots()[slot], to_english):
        if (found := _filled(source, target, text or "", to_english)) is not None:
            return found
    return None


def _pairs(table: Mapping[str, str], to_english: bool) -> Iterable[tuple[str, str]]:
    return ((es, en) for en, es in table.items()) if to_english else table.items()


@cache
def _compiled(source: str, to_english: bool) -> re.Pattern[str]:
    """A pattern of the source: a slot of fixed texts is any of them, one of phrases is anything."""
    parts: list[str] = []
    for place, part in enumerate(_SLOT.split(source)):
        parts.append(_group(part, to_english) if place % 2 else re.escape(part))
    return re.compile("".join(parts))


def _group(slot: str, to_english: bool) -> str:
    table = _slots()[slot]
    if any("{" in text for text in table):
        return "(.+?)"
    group = f"({any_of(table.values() if to_english else table)})"
    return f"{group}?" if slot == "mod" else group


@cache
def _slots() -> dict[str, dict[str, str]]:
    """slot -> what may stand in it, English -> Spanish; these texts may have slots."""
    return _things() | _tasks_and_steps() | {
        "topic": {topic: es for topic, (es, _) in phrases.TOPICS.items()},
        "mod": {f" {en}": f" {es}" for en, es in phrases.MODS.items()},
        "attribute": phrases.ATTRIBUTES,
        "value": dict(_values()),
        "mood": {mood: es for mood, (es, _) in phrases.MOODS.items()},
        "advice": {_uncapitalised(MOODS[mood]): _uncapitalised(es) for mood, (_, es) in phrases.MOODS.items()},
        "problem": {problem: es for problem, (es, _) in phrases.PROBLEMS.items()},
        "request": {request: es for request, (es, _) in phrases.REQUESTS.items()},
        "asking": {request: es for request, (_, es) in phrases.REQUESTS.items()},
        "p": {en: es for en, (es, _, _, _) in phrases.PEOPLE.items()}
        | {PEOPLE[en][0]: es for en, (_, es, _, _) in phrases.PEOPLE.items()},
        "name": {PEOPLE[en][1]: _uncapitalised(es) for en, (_, _, es, _) in phrases.PEOPLE.items()},
        "closing": {_uncapitalised(PEOPLE[en][2]): _uncapitalised(es) for en, (_, _, _, es) in phrases.PEOPLE.items()},
    }  # fmt: skip


def _things() -> dict[str, dict[str, str]]:
    named: dict[str, str] = {}
    for topic, (_, things) in phrases.TOPICS.items():
        named |= dict(zip(NOUNS[topic], things.split(", "), strict=True))
    definite = {"un": "el", "una": "la"}
    split = {noun: thing.split(" ", 1) for noun, thing in named.items()}
    return {
        "n": {noun: word for noun, (_, word) in split.items()},
        "np": {PHRASE[noun]: thing for noun, thing in named.items()},
        "the": {f"the {noun}": f"{definite[article]} {word}" for noun, (article, word) in split.items()}
        | {f"the {name}": f"el {name}" for name in NAMES},
        "fake": {f"a fake {noun}": f"{thing} de imitación" for noun, thing in named.items()},
    }


def _tasks_and_steps() -> dict[str, dict[str, str]]:
    tasks = {f"{verb} {{np}}{_MOD}": f"{es} {{np}}{_MOD}" for verb, (es, _) in phrases.VERBS.items()}
    steps: dict[str, str] = {}
    for verb, (_, some) in phrases.VERBS.items():
        steps |= dict(zip(map(_definite, STEPS[verb]), some.split("; "), strict=True))
    reasons = {}
    for crime, (deed, reason, *two) in phrases.CRIMES.items():
        english_deed, english_reason, english_two = CRIMES[crime]
        tasks[_definite(english_deed).replace("a fake {n}", "{fake}")] = deed.replace("{np} de imitación", "{fake}")
        reasons[english_reason] = reason
        steps |= dict(zip(map(_definite, english_two), two, strict=True))
    fixes = {_definite(PROBLEMS[problem]): es for problem, (_, es) in phrases.PROBLEMS.items()}
    return {"task": tasks, "step": steps, "reason": reasons, "fix": fixes}


def _values() -> Iterator[tuple[str, str]]:
    for value in (*ATTRIBUTES["price"], *ATTRIBUTES["origin"]):
        number, _, unit = value.partition(" ")
        yield value, f"{number} dólares" if unit else phrases.COUNTRIES[value]


def _definite(text: str) -> str:
    return text.replace("the {n}", "{the}")


def _contracted(text: str) -> str:
    return re.sub(r"\b([Dd]e|[Aa]) el\b", lambda found: f"{found[1]}l", text)


def _expanded(text: str) -> str:
    return re.sub(r"\b(de|a)l\b", r"\1 el", text)


def _capitalised(text: str) -> str:
    """The first letter, which may follow a sign, as a capital one."""
    return re.sub(r"[^\W\d_]", lambda letter: letter[0].upper(), text, count=1)


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
