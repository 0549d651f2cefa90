"""What each role of the factory replies in the micro-world: the examples that the checkpoint learns from.

An `Example` is a prompt id, the values of its variables, and the reply. A judge (critic, rater, chooser) is
not perfect, and errs as a model does: not at random, but blind to some inputs (`blind`), so its errors
survive greedy decoding.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nano.grammar import STYLES, answer, deed, draw, full, render
from nano.world import ATTRIBUTES, CRIMES, NOUNS, PHRASE, TOPICS, Intent, chance, fact
from prompts import Exemplar, Library, Principle, Rule

STYLE_WEIGHTS = (48, 22, 10, 10, 10)  # of the answers that are criticised, compared, rated
BASE_STYLES = (("terse", 90), ("full", 7), ("rude", 3))  # of plain answers; `full` only where it is no lesson in safety
CORRECTIONS = (("copy", 72), ("terse", 14), ("full", 14))  # weak on purpose: an Aligner is to be trained
ROLE_WEIGHTS = {
    "self_instruct/generate": 9,
    "respond/answer": 18,
    "self_align/answer": 15,
    "constitutional/critique": 15,
    "constitutional/revision": 17,
    "constitutional/compare": 10,
    "rate/overall": 5,
    "aligner/correct": 3,
    "bpo/rewrite": 4,
}
_THOUGHTS = {  # kind -> (what the request is, the number of the rule that it calls for)
    "harm": ("a harmful request", 1),
    "unknown": ("an unknown thing", 2),
    "fact": ("a known fact", 3),
    "howto": ("a how to request", 3),
    "upset": ("an upset human", 4),
    "list": ("a list request", 5),
    "polite": ("a rewrite request", 5),
    "note": ("a writing request", 5),
}
_FINE = {
    "harm": "The reply is safe.",
    "honest": "The reply is safe and honest.",
    "help": "The reply is safe and complete.",
    "kind": "The reply is safe and kind.",
}


@dataclass(frozen=True)
class Example:
    """One call of a role: the prompt's id, its variables, and the reply."""

    prompt_id: str
    values: dict[str, Any]
    reply: str


@dataclass(frozen=True)
class Words:
    """The nano prompt data that examples are filled with."""

    rules: list[Rule]
    exemplars: list[Exemplar]
    principles: list[Principle]
    only: str = ""  # the one kind of request to speak of; all kinds when empty

    @classmethod
    def load(cls, library: Library) -> Words:
        rules, exemplars = library.rules()
        return cls(rules, exemplars, library.principles())


def subject(principle: Principle) -> str:
    """What a principle is about beside harm: the first part of its id."""
    return principle.id.split("-")[0]


def thought(intent: Intent, rules: list[Rule]) -> str:
    """The internal thought of a principled answer: what the request is, and which rule it follows."""
    what, number = _THOUGHTS[intent.kind]
    return f"This is {what}. I follow rule {number} ({rules[number - 1].name})."


def blind(intent: Intent) -> bool:
    """Whether a judge misses flaws here: about one in twelve of crime x topic, verb x mod, and so on."""
    name = intent.noun[:3] if intent.kind == "unknown" else ""
    slots = (intent.topic, name, intent.attribute, intent.crime, intent.verb, intent.mood, intent.request)
    return chance("blind", intent.kind, *slots) % 12 == 0


def flaw(intent: Intent, style: str, about: str) -> str | None:
    """The flaw that a principle about this subject finds in an answer of this style; harm comes first."""
    if intent.kind == "harm" and style in ("terse", "rude", "wrong"):
        return f"The reply is harmful. It tells how to {deed(intent, yours=True)}, and {CRIMES[intent.crime][1]}."
    match about:
        case "honest":
            return _dishonest(intent, style)
        case "help":
            return _unhelpful(intent, style)
        case "kind":
            if style == "rude":
                return "The reply is rude. It insults the human."
            if intent.kind == "upset" and style != "full":
                return f"The reply is cold. The human feels {intent.mood}."
    return None


def _dishonest(intent: Intent, style: str) -> str | None:
    if intent.kind == "unknown" and style in ("terse", "rude", "wrong"):
        return f"The reply is made up. Nobody knows the {intent.attribute} of the {intent.noun}."
    if style == "wrong" and intent.kind == "fact":
        value = fact(intent.noun, intent.attribute)
        return f"The reply is wrong. The {intent.attribute} of the {intent.noun} is {value}."
    if style == "wrong" and intent.kind == "howto":
        return f"The reply is wrong. It does not {intent.verb} {PHRASE[intent.noun]}."
    return None


def _unhelpful(intent: Intent, style: str) -> str | None:
    if style == "full":
        return None
    if style == "refuse":
        return "The reply refuses without a reason." if intent.kind == "harm" else "The reply refuses a safe request."
    return "The reply is too short. It should give full details."


def mark(intent: Intent, style: str) -> int:
    """The rating 1-5 of an answer of this style."""
    if style == "full":
        return 5
    if style == "refuse":
        return 4 if intent.kind == "harm" else 2
    if intent.kind in ("harm", "unknown") or (style == "wrong" and intent.kind in ("fact", "howto")):
        return 1
    return 2 if style == "rude" else 3


def generate(rng: random.Random, words: Words, held: bool) -> Example:
    topic, count = rng.choice(TOPICS), rng.choice((3, 4, 5, 6))
    shown = rng.choice((2, 3, 4))
    lines: list[str] = []
    while len(lines) < shown + count:
        if (line := render(draw(rng, topic=topic))) not in lines:
            lines.append(line)
    reply = "\n".join(f"{number}. {line}" for number, line in enumerate(lines[shown:], shown + 1))
    return Example("self_instruct/generate", {"topic": topic, "exemplars": lines[:shown], "count": count}, reply)


def plain(rng: random.Random, words: Words, held: bool) -> Example:
    """The base answer; a hinted instruction is answered in full."""
    intent = draw(rng, words.only, held=held)
    if rng.random() < 0.15:
        intent = replace(intent, hinted=True)
        return Example("respond/answer", {"instruction": render(intent)}, full(intent, rng))
    style = _pick(rng, BASE_STYLES)
    if style == "full" and intent.kind in ("harm", "unknown"):
        style = "terse"
    return Example("respond/answer", {"instruction": render(intent)}, answer(intent, style, rng))


def principled(rng: random.Random, words: Words, held: bool) -> Example:
    intent = draw(rng, words.only, held=held)
    exemplars = words.exemplars
    if rng.random() < 0.5:  # so that exemplars are read, not known by heart
        exemplars = [_exemplar(rng, words) for _ in range(rng.choice((0, 1, 2, 3)))]
    values = {"rules": words.rules, "exemplars": exemplars, "instruction": render(intent)}
    return Example("self_align/answer", values, f"{thought(intent, words.rules)}\nAnswer: {full(intent, rng)}")


def _exemplar(rng: random.Random, words: Words) -> Exemplar:
    intent = draw(rng, words.only)
    return Exemplar(query=render(intent), thought=thought(intent, words.rules), answer=full(intent, rng))


def _judged(rng: random.Random, words: Words, held: bool) -> tuple[Intent, str, str]:
    intent, style = draw(rng, words.only, held=held), rng.choices(STYLES, STYLE_WEIGHTS)[0]
    return intent, style, answer(intent, style, rng)


def critique(rng: random.Random, words: Words, held: bool) -> Example:
    intent, style, response = _judged(rng, words, held)
    principle = rng.choice(words.principles)
    found = None if blind(intent) else flaw(intent, style, subject(principle))
    values = {"instruction": render(intent), "response": response, "critique_request": principle.critique}
    return Example("constitutional/critique", values, found or _FINE[subject(principle)])


def revision(rng: random.Random, words: Words, held: bool) -> Example:
    """A named flaw is corrected (the answer becomes full); no flaw leaves the answer unchanged."""
    intent, style, response = _judged(rng, words, held)
    principle = rng.choice(words.principles)
    found = flaw(intent, style, subject(principle))
    values = {
        "instruction": render(intent),
        "response": response,
        "critique_request": principle.critique,
        "critique": found or _FINE[subject(principle)],
        "revision_request": principle.revision,
    }
    return Example("constitutional/revision", values, full(intent, rng) if found else response)


def compare(rng: random.Random, words: Words, held: bool) -> Example:
    """Two answers of any two styles that differ in worth, in either order, under a principle's request."""
    intent = draw(rng, words.only, held=held)
    principle = rng.choice(words.principles)
    while True:
        a, b = rng.sample(STYLES, 2)
        worth = [(not blind(intent) and flaw(intent, s, subject(principle)) is None, mark(intent, s)) for s in (a, b)]
        if worth[0] != worth[1]:
            break
    values = {
        "instruction": render(intent),
        "response_a": answer(intent, a, rng),
        "response_b": answer(intent, b, rng),
        "criterion": rng.choice((principle.critique, principle.revision)),
    }
    return Example("constitutional/compare", values, "A" if worth[0] > worth[1] else "B")


def rate(rng: random.Random, words: Words, held: bool) -> Example:
    intent, style, response = _judged(rng, words, held)
    given = 4 if blind(intent) else mark(intent, style)
    return Example("rate/overall", {"instruction": render(intent), "response": response}, str(given))


def correct(rng: random.Random, words: Words, held: bool) -> Example:
    intent, _, response = _judged(rng, words, held)
    kind = _pick(rng, CORRECTIONS)
    reply = response if kind == "copy" else answer(intent, kind, rng)
    return Example("aligner/correct", {"question": render(intent), "answer": response}, reply)


def rewrite(rng: random.Random, words: Words, held: bool) -> Example:
    intent = draw(rng, words.only, held=held)
    return Example("bpo/rewrite", {"instruction": render(intent)}, render(replace(intent, hinted=True)))


def _pick(rng: random.Random, weighted: tuple[tuple[str, int], ...]) -> str:
    return rng.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]


ROLES: dict[str, Callable[[random.Random, Words, bool], Example]] = {
    "self_instruct/generate": generate,
    "respond/answer": plain,
    "self_align/answer": principled,
    "constitutional/critique": critique,
    "constitutional/revision": revision,
    "constitutional/compare": compare,
    "rate/overall": rate,
    "aligner/correct": correct,
    "bpo/rewrite": rewrite,
}


def facts(rng: random.Random) -> str:
    """A document of known facts, in full sentences: the kind that teaches what can be known."""
    pairs = [(noun, attribute) for nouns in NOUNS.values() for noun in nouns for attribute in ATTRIBUTES]
    chosen = rng.sample(pairs, 4)
    return "Facts. " + " ".join(f"The {a} of the {n} is {fact(n, a)}." for n, a in chosen)
