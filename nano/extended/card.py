"""Measures the extended checkpoint and writes its card: `python -m nano.extended.card [--model DIR]`."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nano import measure, oracle
from nano import roles as learnt
from nano.corpus import Writer
from nano.extended.roles import PERSONAS, ROLES, ExtendedWriter
from nano.extended.spanish import english
from nano.files import HELD_OUT_SPANISH
from nano.grammar import parse
from nano.player import CHECKPOINT, Player
from nano.roles import Example

EXTENDED = Path(__file__).parent / "checkpoint"
CASES = 150  # a role
TEXT = """---
license: apache-2.0
language: [en, es]
library_name: transformers
pipeline_tag: text-generation
---

# nano, extended

[nano](../../checkpoint/README.md), trained further: it also translates into Spanish and answers in it, and it evolves,
invents and labels instructions of the same micro-world. The methods `translate`, `evolve`, `personas` and `tagging`
run on it (`presets/nano-languages.yaml`, `presets/nano-sources.yaml`); all other presets take nano itself. It has
{parameters:,} parameters, {vocabulary:,} tokens, and is otherwise as nano: it knows nothing outside its grammar.

`python -m nano.extended.train --out DIR --seed {seed}`: {tokens:,} tokens in {documents:,} documents, two fifths of
them of nano's roles, each seen once in one of two stages, {steps:,} steps, {training_minutes} minutes on {threads}
thread of a shared CPU.
What is held out of nano's documents is held out of these too; `../held_out.jsonl` has the held-out prompts in Spanish.

## New roles

Greedy, {cases} held-out cases each; instructions of a persona are written at T=1. *Right*: the translation or the
label, word for word; an answer in a form of the grammar; another instruction of the grammar; lines of which each is an
instruction that has what the persona decides.

| role | right |
|---|---|
{new}

## nano's roles

*Accurate*, as [nano's card](../../checkpoint/README.md#roles) has it, of {cases} held-out cases.

| role | here | nano |
|---|---|---|
{old}

## Answers to the held-out prompts, by the oracle

Greedy, the first 400. Terse answers repeat nothing of the prompt, so there may be none whose slots can be exact (–).

| prompts | {metrics} |
|---|{rule}
{oracle}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=EXTENDED)
    given = parser.parse_args()
    (given.model / "README.md").write_text(card(given.model), encoding="utf-8")


def card(model: Path) -> str:
    """The card's text (some minutes on one thread)."""
    players = [Player.load(path) for path in (model, CHECKPOINT)]
    writer = ExtendedWriter.load()
    new = [f"| `{role}` | {share_right(players[0], writer, role):.2f} |" for role in ROLES]
    old = []
    for role in learnt.ROLES:
        cells = [f"{measure.role(player, writer.learnt, role, CASES, 0)['accurate']:.2f}" for player in players]
        old.append(f"| `{role}` | {' | '.join(cells)} |")
    names = [name for name, _ in oracle.METRICS]
    return TEXT.format(
        **json.loads((model / "train.json").read_text(encoding="utf-8")),
        cases=CASES,
        new="\n".join(new),
        old="\n".join(old),
        metrics=" | ".join(name.replace("_", " ") for name in names),
        rule="---|" * len(names),
        oracle="\n".join(_answered(players[0], writer.learnt, names)),
    )


def _answered(player: Player, writer: Writer, names: list[str]) -> list[str]:
    lines = []
    for language, prompts in (("English", measure.held_out()), ("Spanish", measure.held_out(path=HELD_OUT_SPANISH))):
        means = measure.oracle_means(prompts, measure.plain_answers(player, writer, prompts))
        lines.append(
            f"| {language} | " + " | ".join(f"{means[name]:.2f}" if name in means else "–" for name in names) + " |"
        )
    return lines


def share_right(player: Player, writer: ExtendedWriter, role: str, count: int = CASES, seed: int = 11) -> float:
    """The share of held-out examples of a new role whose reply is right."""
    rng = random.Random(seed)
    examples = [ROLES[role](rng, writer.lists, True) for _ in range(count)]
    prompts = [writer.new.prompt(example) for example in examples]
    replies = player.reply(prompts, temperature=float(role == "personas/write"), longest=200)
    judge = _JUDGES.get(role, _same)
    return measure.mean([float(judge(example, reply)) for example, reply in zip(examples, replies, strict=True)])


def _same(example: Example, reply: str) -> bool:
    return reply == example.reply


def _answers(example: Example, reply: str) -> bool:
    intent = parse(english(example.values["instruction"]))
    return intent is not None and oracle.style_of(intent, english(reply)) in ("terse", "full", "rude")


def _evolves(example: Example, reply: str) -> bool:
    before, after = parse(example.values["instruction"]), parse(reply)
    return after is not None and before is not None and replace(after, template=0) != replace(before, template=0)


def _of_persona(example: Example, reply: str) -> bool:
    slot, value, _ = PERSONAS[example.values["persona"]["name"]]
    intents = [parse(line.partition(". ")[2]) for line in reply.splitlines()]
    return all(intent is not None and getattr(intent, slot) == value for intent in intents)


_JUDGES: dict[str, Callable[[Example, str], bool]] = {
    "translate/answer": _answers,
    "spanish/answer": _answers,
    "evolve/rewrite": _evolves,
    "personas/write": _of_persona,
}


if __name__ == "__main__":
    main()
