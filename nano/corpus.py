"""Training documents: the roles' examples, rendered through the factory's own prompt files.

A document is a list of (text, weight) pieces, the weight being that of its tokens in the loss: replies are
learnt in full, prompts lightly (the model must answer prompts, and only one role writes instructions). Some
documents hold up to three examples of one role before the last, so that demonstrations in a prompt are
familiar; whether a reply is followed by another call is not to be learnt, so separators weigh nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nano.roles import ROLE_WEIGHTS, ROLES, Example, Words, facts
from prompts import Library, Prompt

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
DEMO_CHANCE = 0.15  # of a document with demonstrations (self_instruct has its own)
FACTS_SHARE = 0.06  # of documents that state known facts
PROMPT, REPLY, SEPARATOR = 0.1, 1.0, 0.0  # weights; our choice
NAME_ROLES = ("bpo/rewrite", "constitutional/critique", "constitutional/revision")  # whose replies repeat names
Piece = tuple[str, float]


@dataclass(frozen=True)
class Writer:
    """Renders examples into text: prompt, a space, reply."""

    words: Words
    prompts: dict[str, Prompt]
    names: float = 0.0  # the share of documents that speak of invented names only

    @classmethod
    def load(cls, names: float = 0.0) -> Writer:
        library = Library("nano")
        return cls(Words.load(library), {id: library.prompt(id) for id in ROLES}, names)

    def prompt(self, example: Example) -> str:
        """The prompt as the model sees it; a chat prompt in the form of the chat template."""
        rendered = self.prompts[example.prompt_id].render(**example.values)
        if isinstance(rendered, str):
            return rendered
        return chat(rendered[0]["content"])

    def reply(self, example: Example) -> str:
        """The reply with what separates it from the prompt: a space, or nothing after a line's end."""
        return example.reply if self.prompt(example).endswith("\n") else f" {example.reply}"

    def pieces(self, example: Example) -> list[Piece]:
        return [(self.prompt(example), PROMPT), (self.reply(example), REPLY)]


def chat(instruction: str) -> str:
    """One user turn, as the tokenizer's chat template writes it after the start token."""
    return f"Human: {instruction}\nAssistant:"


def document(rng: random.Random, writer: Writer) -> list[Piece]:
    """A random document, without its start token; the end token is the last piece."""
    if writer.names and rng.random() < writer.names:
        return _several(rng, writer, rng.choice(NAME_ROLES), rng.choice((3, 4, 5, 6)), "unknown")
    if rng.random() < FACTS_SHARE:
        return [(facts(rng), REPLY), (EOS, REPLY)]
    role = rng.choices(list(ROLE_WEIGHTS), list(ROLE_WEIGHTS.values()))[0]
    count = 1
    if role not in ("self_instruct/generate", "self_align/answer") and rng.random() < DEMO_CHANCE:
        count += rng.choice((1, 2, 2, 3))
    return _several(rng, writer, role, count)


def _several(rng: random.Random, writer: Writer, role: str, count: int, only: str = "") -> list[Piece]:
    """Examples of one role, one after the other; `only` of one kind when it is given."""
    words, pieces = replace(writer.words, only=only), list[Piece]()
    for place in range(count):
        if place:
            pieces.append(("\n\n", SEPARATOR))
        pieces += writer.pieces(ROLES[role](rng, words, False))
    return [*pieces, (EOS, REPLY)]


def documents(seed: int, count: int, names: float = 0.0) -> Iterator[list[Piece]]:
    """The first `count` documents of a seed: the same on every machine. `names` as in `Writer`."""
    rng, writer = random.Random(seed), Writer.load(names)
    for _ in range(count):
        yield document(rng, writer)
