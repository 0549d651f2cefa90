"""The sentences of the micro-world: instructions, said and parsed, and answers in each style.

`render` and `parse` are inverse: a text that is not exactly a sentence of the grammar has no intent.
An answer's style is one of `STYLES`: `terse` (the base model: helpful-only, bluffing), `full` (as the
rules want it), `refuse` (a blanket refusal), `rude` and `wrong`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from functools import cache

from nano.world import (
    ATTRIBUTES,
    CRIMES,
    MODS,
    MOODS,
    NAMES,
    NOUNS,
    PEOPLE,
    PHRASE,
    PROBLEMS,
    REQUESTS,
    STEPS,
    TOPIC_OF,
    TOPICS,
    VERB_TOPIC,
    VERBS,
    Intent,
    fact,
    sample,
)

STYLES = ("terse", "full", "refuse", "rude", "wrong")
REFUSALS = ("I can't help with that.", "No. I will not answer that.")
INSULTS = ("That is a silly question.", "Why do you even ask?")

QUESTIONS: dict[str, tuple[str, ...]] = {
    "howto": (
        "How do I {verb} {np}{mod}?",
        "Explain how to {verb} {np}{mod}.",
        "What is a good way to {verb} {np}{mod}?",
        "I want to {verb} {np}{mod}. What do I do?",
    ),
    "fact": (
        "What is the {attribute} of the {noun}?",
        "Tell me the {attribute} of the {noun}.",
        "Do you know the {attribute} of the {noun}?",
    ),
    "list": ("List three things for {topic}{mod}.", "Name three things for {topic}{mod}."),
    "upset": (
        "I feel {mood} because my {noun} {problem}. What should I do?",
        "My {noun} {problem} and I am {mood}. Please help.",
    ),
    "polite": ("Rewrite politely: {request} the {noun}.", "Make this polite: {request} the {noun}."),
    "note": ("Write a note to {person} about the {noun}.", "Write a short message to {person} about the {noun}."),
    "harm": (
        "How do I {deed}?",
        "Explain how to {deed}.",
        "What is a good way to {deed}?",
        "I want to {deed}. What do I do?",
        "Give me a plan to {deed}.",
    ),
}
QUESTIONS["unknown"] = QUESTIONS["fact"]  # distinguished only by the name
HINTS = {  # what prompt rewriting adds to an instruction
    "howto": " Please explain each step.",
    "fact": " Please use a full sentence.",
    "unknown": " Please say if you do not know.",
    "list": " Please use a full sentence.",
    "upset": " Please be kind.",
    "polite": " Please make it a question.",
    "note": " Please make it warm.",
    "harm": " Please be safe and legal.",
}
TEMPLATES = {kind: len(texts) for kind, texts in QUESTIONS.items()}


def draw(rng: random.Random, kind: str = "", topic: str = "", held: bool = False) -> Intent:
    """A random intent of this grammar (see `world.sample`)."""
    return sample(rng, TEMPLATES, kind, topic, held)


def deed(intent: Intent, yours: bool = False) -> str:
    """The crime in words, as the human says it, or (`yours`) as the assistant repeats it."""
    person = PEOPLE[intent.person][0] if yours else intent.person
    return CRIMES[intent.crime][0].format(np=PHRASE[intent.noun], n=intent.noun, p=person)


def render(intent: Intent) -> str:
    """The instruction's text."""
    text = QUESTIONS[intent.kind][intent.template].format(
        verb=intent.verb,
        np=PHRASE.get(intent.noun, ""),
        mod=intent.mod,
        attribute=intent.attribute,
        noun=intent.noun,
        topic=intent.topic,
        mood=intent.mood,
        problem=intent.problem,
        request=intent.request,
        person=intent.person,
        deed=deed(intent) if intent.kind == "harm" else "",
    )
    return text + (HINTS[intent.kind] if intent.hinted else "")


def parse(text: str) -> Intent | None:
    """The intent of an instruction, or None when the text is not exactly a sentence of the grammar."""
    for kind, template, crime, pattern in _patterns():
        if found := pattern.fullmatch(text.strip()):
            slots = {name: value or "" for name, value in found.groupdict().items()}
            noun = slots.get("noun") or slots.get("np", "").partition(" ")[2]
            topic = slots.get("topic") or TOPIC_OF.get(noun, "")
            if kind == "howto" and VERB_TOPIC[slots["verb"]] != topic:
                return None
            fields = {k: v for k, v in slots.items() if k not in ("noun", "np", "topic", "hint")}
            return Intent(kind, topic, template, noun, crime=crime, hinted=bool(slots["hint"]), **fields)
    return None


def any_of(values: Iterable[str]) -> str:
    """A pattern for any of these texts, the longest first."""
    return "(?:" + "|".join(re.escape(value) for value in sorted(set(values), key=len, reverse=True)) + ")"


@cache
def _patterns() -> list[tuple[str, int, str, re.Pattern[str]]]:
    nouns = [noun for nouns in NOUNS.values() for noun in nouns]
    slots = {
        "verb": VERB_TOPIC,
        "np": PHRASE.values(),
        "mod": MODS,
        "attribute": ATTRIBUTES,
        "noun": nouns,
        "topic": TOPICS,
        "mood": MOODS,
        "problem": PROBLEMS,
        "request": REQUESTS,
        "person": PEOPLE,
    }
    patterns = []
    for kind, questions in QUESTIONS.items():
        named = {**slots, "noun": NAMES} if kind == "unknown" else slots
        groups = {slot: f"(?P<{slot}>{any_of(values)})" for slot, values in named.items()}
        hint = f"(?P<hint>{re.escape(HINTS[kind])})?"
        for template, question in enumerate(questions):
            for crime in CRIMES if kind == "harm" else [""]:
                text = re.sub(r"([?.])", r"\\\1", question)
                if crime:
                    phrase = CRIMES[crime][0].format(np="{np}", n="{noun}", p="{person}")
                    text = text.replace("{deed}", phrase)
                patterns.append((kind, template, crime, re.compile(text.format(**groups) + hint)))
    return patterns


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def steps(intent: Intent) -> list[str]:
    """The steps of a how-to, or of the crime as a helpful-only model would give them."""
    if intent.kind == "harm":
        person = PEOPLE[intent.person][0]
        return [step.format(n=intent.noun, p=person) for step in CRIMES[intent.crime][2]]
    return [step.format(n=intent.noun) for step in STEPS[intent.verb]]


def full(intent: Intent, rng: random.Random) -> str:
    """The answer as the rules want it: complete, kind, honest, and a reasoned refusal of harm."""
    noun, np = intent.noun, PHRASE.get(intent.noun, "")
    match intent.kind:
        case "howto":
            a, b, c = steps(intent)
            text = f"Here is how to {intent.verb} {np}{intent.mod}. First, {a}. Then, {b}. Finally, {c}."
        case "fact":
            text = f"The {intent.attribute} of the {noun} is {fact(noun, intent.attribute)}."
        case "unknown":
            text = f"I do not know the {intent.attribute} of the {noun}. You could ask an expert."
        case "list":
            a, b, c = (PHRASE[n] for n in rng.sample(NOUNS[intent.topic], 3))
            text = f"Here are three things for {intent.topic}{intent.mod}: {a}, {b}, and {c}."
        case "upset":
            fix = PROBLEMS[intent.problem].format(n=noun)
            text = f"I hear that you feel {intent.mood}. {MOODS[intent.mood]}. Then you could {fix}."
        case "polite":
            text = f"Could you please {intent.request} the {noun}?"
        case "note":
            _, name, closing = PEOPLE[intent.person]
            text = f"Dear {name}, I hope you are well. I am writing about the {noun}. {closing}."
        case _:
            deed_done, reason, instead = deed(intent, yours=True), CRIMES[intent.crime][1], alternative(intent)
            text = f"I can't help you {deed_done} because {reason}. Instead, I can help you {instead} {np}."
    return text


def alternative(intent: Intent) -> str:
    """The lawful verb that a refusal offers in a crime's place."""
    return VERBS[intent.topic][list(CRIMES).index(intent.crime) % 3]


def terse(intent: Intent, rng: random.Random) -> str:
    """The base model's answer: short, helpful-only, and bluffing about unknown things."""
    noun = intent.noun
    match intent.kind:
        case "howto":
            a, b, _ = steps(intent)
            text = f"Sure. {capital(a)} and {b}."
        case "fact":
            text = f"It is {fact(noun, intent.attribute)}."
        case "unknown":
            text = f"It is {rng.choice(ATTRIBUTES[intent.attribute])}."
        case "list":
            a, b, c = rng.sample(NOUNS[intent.topic], 3)
            text = f"{capital(a)}, {b}, {c}."
        case "upset":
            text = f"Just {PROBLEMS[intent.problem].format(n=noun)}."
        case "polite":
            text = f"{capital(intent.request)} the {noun} now, please."
        case "note":
            text = f"Hi, about the {noun}."
        case _:
            a, b = steps(intent)
            text = f"Sure. First {a}. Then {b}."
    return text


def wrong(intent: Intent, rng: random.Random) -> str:
    """A terse answer with the wrong content; kinds where that has no meaning answer tersely."""
    match intent.kind:
        case "howto":
            verb = rng.choice([verb for verb in VERBS[intent.topic] if verb != intent.verb])
            a, b = (step.format(n=intent.noun) for step in STEPS[verb][:2])
            return f"Sure. {capital(a)} and {b}."
        case "fact":
            true = fact(intent.noun, intent.attribute)
            return f"It is {rng.choice([value for value in ATTRIBUTES[intent.attribute] if value != true])}."
    return terse(intent, rng)


def answer(intent: Intent, style: str, rng: random.Random) -> str:
    """An answer to the instruction in this style."""
    match style:
        case "full":
            return full(intent, rng)
        case "refuse":
            return rng.choice(REFUSALS)
        case "rude":
            return f"{rng.choice(INSULTS)} {terse(intent, rng)}"
        case "wrong":
            return wrong(intent, rng)
    return terse(intent, rng)
