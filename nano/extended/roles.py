"""What the extended checkpoint is taught beside nano's roles: Spanish, and to evolve, invent and label instructions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nano.corpus import EOS, REPLY, Piece, Writer, document
from nano.extended.spanish import spanish
from nano.grammar import STYLES, answer, draw, full, render
from nano.roles import BASE_STYLES, STYLE_WEIGHTS, Example
from nano.world import MODS, TOPICS, Intent, held_out
from prompts import Library
from prompts.languages import translation_examples

LEARNT_SHARE = 0.4  # of the documents: those that the first checkpoint learnt from, so that nothing is forgotten
ROLE_WEIGHTS = {
    "translate/text": 26,
    "translate/answer": 8,
    "spanish/answer": 10,
    "evolve/rewrite": 6,
    "personas/write": 6,
    "tagging/difficulty": 2,
    "tagging/quality": 2,
    "tagging/category": 2,
}
# Of the second stage: more Spanish, and above all facts and lists, whose answers are not in the instruction.
SPANISH_WEIGHTS = {
    "translate/text": 30,
    "translate/answer": 8,
    "spanish/answer": 10,
    "spanish/known": 16,
    "evolve/rewrite": 2,
    "personas/write": 2,
    "tagging/difficulty": 1,
    "tagging/quality": 1,
    "tagging/category": 1,
}
INSTRUCTION_SHARE = 0.45  # of the texts that are translated; the others are answers
GARBLED_SHARE = 0.1  # of the instructions whose quality is labelled
_LIMITED = ("howto", "list")  # kinds that can have a limit, such as "on a budget"

# persona -> the slot that it decides, its value, and the kinds of instruction that have the slot
PERSONAS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "parent": ("mod", " with a child", _LIMITED),
    "saver": ("mod", " on a budget", _LIMITED),
    "homebody": ("mod", " at home", _LIMITED),
    "snow-lover": ("mod", " in winter", _LIMITED),
    "bare-handed": ("mod", " without tools", _LIMITED),
    "mourner": ("mood", "sad", ("upset",)),
    "hothead": ("mood", "angry", ("upset",)),
    "worrier": ("mood", "worried", ("upset",)),
    "night-nurse": ("mood", "tired", ("upset",)),
    "hermit": ("mood", "lonely", ("upset",)),
    "employee": ("person", "my boss", ("note", "harm")),
    "pupil": ("person", "my teacher", ("note", "harm")),
    "sibling": ("person", "my sister", ("note", "harm")),
    "tenant": ("person", "my neighbor", ("note", "harm")),
    "newcomer": ("person", "a stranger", ("note", "harm")),
    "night-walker": ("person", "a guard", ("note", "harm")),
    "shopper": ("attribute", "price", ("fact", "unknown")),
    "geographer": ("attribute", "origin", ("fact", "unknown")),
}
_DIFFICULTY = {
    "fact": "very easy", "list": "easy", "polite": "easy", "note": "medium", "upset": "medium",
    "howto": "hard", "harm": "hard", "unknown": "very hard",
}  # fmt: skip
_CATEGORY = {
    "fact": "information seeking", "unknown": "information seeking", "list": "brainstorming", "polite": "editing",
    "note": "creative writing", "upset": "advice seeking", "howto": "planning", "harm": "other",
}  # fmt: skip


@dataclass(frozen=True)
class Lists:
    """The lists of nano's prompts that the roles are asked with."""

    examples: list[dict[str, str]]  # of translations
    request: str  # for an answer in Spanish
    operations: Mapping[str, dict[str, str]]
    personas: Mapping[str, dict[str, str]]

    @classmethod
    def load(cls, library: Library) -> Lists:
        languages = library.languages()
        operations = {one.name: one.model_dump() for one in library.wordings("evolve/operations")}
        personas = {one.name: one.model_dump() for one in library.wordings("personas/personas")}
        return cls(translation_examples(languages, "es"), languages["es"].request, operations, personas)


def translate(rng: random.Random, lists: Lists, held: bool) -> Example:
    intent = _intent(rng, held)
    text = render(intent)
    if rng.random() >= INSTRUCTION_SHARE:
        text = answer(intent, rng.choices(STYLES, STYLE_WEIGHTS)[0], rng)
    values = {"language": "Spanish", "quotes": rng.random() < 0.5, "examples": lists.examples, "text": text}
    return Example("translate/text", values, spanish(text))


def answer_on_request(rng: random.Random, lists: Lists, held: bool) -> Example:
    """A plain answer in Spanish, which is asked for in Spanish."""
    instruction, reply = _answered(rng, held)
    return Example("translate/answer", {"words": {"request": lists.request}, "instruction": instruction}, reply)


def plain_answer(rng: random.Random, lists: Lists, held: bool) -> Example:
    """A plain answer to a Spanish instruction, as the base model gives it: terse, helpful-only, and bluffing."""
    instruction, reply = _answered(rng, held)
    return Example("respond/answer", {"instruction": instruction}, reply)


def answer_from_memory(rng: random.Random, lists: Lists, held: bool) -> Example:
    """The same to a fact or a list, whose answers are not in the instruction."""
    instruction, reply = _answered(rng, held, rng.choice(("fact", "fact", "fact", "list")))
    return Example("respond/answer", {"instruction": instruction}, reply)


def evolve(rng: random.Random, lists: Lists, held: bool) -> Example:
    intent, operation = _intent(rng, held), rng.choice(list(lists.operations))
    values = {"instruction": render(intent), "operation": lists.operations[operation]}
    return Example("evolve/rewrite", values, render(evolved(intent, operation, rng)))


def evolved(intent: Intent, operation: str, rng: random.Random) -> Intent:
    """An intent after an operation; one that cannot have it gets the next one: a limit, details, another intent."""
    if operation == "constraint" and intent.kind in _LIMITED and not intent.mod:
        return replace(intent, mod=rng.choice(MODS[1:]))
    if operation != "breadth" and not intent.hinted:
        return replace(intent, hinted=True)
    while True:
        other = draw(rng, topic=intent.topic)
        if other.kind != intent.kind:
            return other


def persona(rng: random.Random, lists: Lists, held: bool) -> Example:
    name, topic, count = rng.choice(list(PERSONAS)), rng.choice(TOPICS), rng.choice((2, 3, 4))
    lines: dict[str, None] = {}
    while len(lines) < count:
        lines[render(of_persona(name, topic, rng))] = None
    reply = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return Example("personas/write", {"persona": lists.personas[name], "topic": topic, "count": count}, reply)


def of_persona(name: str, topic: str, rng: random.Random) -> Intent:
    """A training intent of a topic in which the persona decides what `PERSONAS` says."""
    slot, value, kinds = PERSONAS[name]
    while True:
        intent = replace(draw(rng, rng.choice(kinds), topic), **{slot: value})  # type: ignore[arg-type]
        if not held_out(intent):
            return intent


def label(aspect: str) -> Callable[[random.Random, Lists, bool], Example]:
    def labelled(rng: random.Random, lists: Lists, held: bool) -> Example:
        intent = _intent(rng, held)
        text, value = render(intent), label_of(intent, aspect)
        if aspect == "quality" and rng.random() < GARBLED_SHARE:
            parts = text.split()
            rng.shuffle(parts)
            text, value = " ".join(parts), "very poor"
        return Example(f"tagging/{aspect}", {"instruction": text}, value)

    return labelled


def label_of(intent: Intent, aspect: str) -> str:
    """The label of an instruction, of those that the method `tagging` has."""
    if aspect == "difficulty":
        return _DIFFICULTY[intent.kind]
    if aspect == "category":
        return _CATEGORY[intent.kind]
    return "poor" if intent.kind == "unknown" else "excellent" if intent.hinted else "good" if intent.mod else "average"


def _intent(rng: random.Random, held: bool, kind: str = "") -> Intent:
    intent = draw(rng, kind, held=held)
    return replace(intent, hinted=rng.random() < 0.2)


def _answered(rng: random.Random, held: bool, kind: str = "") -> tuple[str, str]:
    """An instruction and its plain answer, in Spanish; a hinted one is answered in full."""
    intent = _intent(rng, held, kind)
    style = rng.choices([name for name, _ in BASE_STYLES], [weight for _, weight in BASE_STYLES])[0]
    if style == "full" and intent.kind in ("harm", "unknown"):
        style = "terse"
    reply = full(intent, rng) if intent.hinted else answer(intent, style, rng)
    return spanish(render(intent)), spanish(reply)


ROLES: dict[str, Callable[[random.Random, Lists, bool], Example]] = {
    "translate/text": translate,
    "translate/answer": answer_on_request,
    "spanish/answer": plain_answer,
    "spanish/known": answer_from_memory,
    "evolve/rewrite": evolve,
    "personas/write": persona,
    **{f"tagging/{aspect}": label(aspect) for aspect in ("difficulty", "quality", "category")},
}


@dataclass(frozen=True)
class ExtendedWriter:
    """Writes documents of nano's roles and of these."""

    learnt: Writer
    new: Writer
    lists: Lists
    weights: Mapping[str, int]  # of the new roles

    @classmethod
    def load(cls, names: float = 0.0, weights: Mapping[str, int] = ROLE_WEIGHTS) -> ExtendedWriter:
        library, learnt = Library("nano"), Writer.load(names)
        prompts = {id: library.prompt(id) for id in ROLES if not id.startswith("spanish/")}
        return cls(learnt, replace(learnt, prompts=learnt.prompts | prompts), Lists.load(library), weights)

    def document(self, rng: random.Random) -> list[Piece]:
        if rng.random() < LEARNT_SHARE:
            return document(rng, self.learnt)
        role = rng.choices(list(self.weights), list(self.weights.values()))[0]
        return [*self.new.pieces(ROLES[role](rng, self.lists, False)), (EOS, REPLY)]


def documents(
    seed: int, count: int, names: float = 0.0, weights: Mapping[str, int] = ROLE_WEIGHTS
) -> Iterator[list[Piece]]:
    """The first `count` documents of a seed, as `corpus.documents` has them."""
    rng, writer = random.Random(seed), ExtendedWriter.load(names, weights)
    for _ in range(count):
        yield writer.document(rng)
