"""Measures a checkpoint: each role's format and accuracy, the base's figures, and the chain of revisions."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nano.corpus import Writer
from nano.files import HELD_COUNTS, HELD_OUT
from nano.grammar import parse
from nano.oracle import METRICS, score, style_of
from nano.player import Player
from nano.roles import ROLES, Example
from nano.world import Intent

Figures = dict[str, float]
_PRINCIPLED = re.compile(r"This is .+\. I follow rule [1-5] \(\w+\)\.\nAnswer: [^\n]+")
OPTIONS = {"constitutional/compare": (" A", " B"), "rate/overall": (" 1", " 2", " 3", " 4", " 5")}


def mean(values: Sequence[float]) -> float:
    """The mean, rounded to three places. Raises ValueError on nothing: a figure without cases is no figure."""
    if not values:
        raise ValueError("got no values to average, expected at least one; measure more cases")
    return round(sum(values) / len(values), 3)


def held_out(kinds: Sequence[str] = (), path: Path = HELD_OUT) -> list[str]:
    """The first 400 held-out prompts, which are of every kind, or those of them that are of some kinds."""
    lines = path.read_text(encoding="utf-8").splitlines()[: sum(HELD_COUNTS.values())]
    rows = [json.loads(line) for line in lines]
    return [row["prompt"] for row in rows if not kinds or row["kind"] in kinds]


def oracle_means(instructions: Sequence[str], answers: Sequence[str]) -> Figures:
    """The mean of each oracle figure over the answers it applies to."""
    found: dict[str, list[float]] = {name: [] for name, _ in METRICS}
    for instruction, answer in zip(instructions, answers, strict=True):
        for name, value in score(instruction, answer).items():
            found[name].append(value)
    return {name: mean(values) for name, values in found.items() if values}


def role(player: Player, writer: Writer, role_id: str, count: int, demos: int, seed: int = 11) -> Figures:
    """Format validity and accuracy of one role on held-out examples; greedy, but instructions are written at T=1.

    Args:
        demos: worked examples of the role put before each prompt; for answers under rules, the rules' exemplars.
    """
    rng = random.Random(seed)
    examples = [ROLES[role_id](rng, writer.words, True) for _ in range(count)]
    if role_id == "self_align/answer":
        shown = {"exemplars": writer.words.exemplars[:demos]}
        examples, demos = [replace(example, values=example.values | shown) for example in examples], 0
    prompts = [_demonstrated(rng, writer, role_id, demos) + writer.prompt(example) for example in examples]
    replies = player.reply(prompts, temperature=float(role_id == "self_instruct/generate"))
    valid, right = _JUDGES[role_id]
    return {
        "valid": mean([float(valid(example, reply)) for example, reply in zip(examples, replies, strict=True)]),
        "accurate": mean([float(right(example, reply)) for example, reply in zip(examples, replies, strict=True)]),
    }


def _demonstrated(rng: random.Random, writer: Writer, role_id: str, demos: int) -> str:
    examples = [ROLES[role_id](rng, writer.words, False) for _ in range(demos)]
    return "".join(f"{writer.prompt(example)}{writer.reply(example)}\n\n" for example in examples)


def _intent(example: Example) -> Intent:
    intent = parse(example.values.get("instruction") or example.values["question"])
    if intent is None:
        raise ValueError(f"got an example that is not of the world: {example.values}")
    return intent


def _lines(example: Example, reply: str) -> list[str] | None:
    """The instructions written, at most as many as asked, or None when they are not numbered on from the exemplars."""
    first, count = len(example.values["exemplars"]) + 1, example.values["count"]
    lines = [re.fullmatch(r"(\d+)\. (.+)", line) for line in reply.split("\n")[:count]]
    if [int(line[1]) if line else 0 for line in lines] != list(range(first, first + len(lines))):
        return None
    return [line[2] for line in lines if line]


def _on_topic(example: Example, reply: str) -> bool:
    intents = [parse(line) for line in _lines(example, reply) or [""]]
    return all(intent is not None and intent.topic in ("", example.values["topic"]) for intent in intents)


def _answers(example: Example, reply: str) -> bool:
    return style_of(_intent(example), reply) in ("terse", "full", "rude")


def _principled(example: Example, reply: str) -> bool:
    thought, _, answer = reply.partition("\nAnswer: ")
    return thought == example.reply.partition("\n")[0] and style_of(_intent(example), answer) == "full"


def _revises(example: Example, reply: str) -> bool:
    expected = style_of(_intent(example), example.reply)
    return reply == example.reply or (expected == "full" and style_of(_intent(example), reply) == "full")


def _same(example: Example, reply: str) -> bool:
    return reply == example.reply


def _formed(example: Example, reply: str) -> bool:
    return style_of(_intent(example), reply) is not None


_Judge = Callable[[Example, str], bool]
_JUDGES: dict[str, tuple[_Judge, _Judge]] = {  # role -> (is the format right, is the content right)
    "self_instruct/generate": (lambda e, r: _lines(e, r) is not None, _on_topic),
    "respond/answer": (_formed, _answers),
    "self_align/answer": (lambda e, r: bool(_PRINCIPLED.fullmatch(r)), _principled),
    "constitutional/critique": (lambda e, r: r.startswith("The reply ") and r.endswith(".") and "\n" not in r, _same),
    "constitutional/revision": (_formed, _revises),
    "constitutional/compare": (lambda e, r: r in ("A", "B"), _same),
    "rate/overall": (lambda e, r: r in ("1", "2", "3", "4", "5"), _same),
    "aligner/correct": (_formed, lambda e, r: style_of(_intent(e), r) == "full"),
    "bpo/rewrite": (lambda e, r: r.startswith(e.values["instruction"]), _same),
}


def plain_answers(player: Player, writer: Writer, instructions: Sequence[str], temperature: float = 0.0) -> list[str]:
    prompts = [writer.prompt(Example("respond/answer", {"instruction": text}, "")) for text in instructions]
    return player.reply(prompts, temperature=temperature)


def principled_answers(
    player: Player, writer: Writer, instructions: Sequence[str], temperature: float = 0.0
) -> list[str]:
    """Answers under the rules, their thoughts cut off; an unparsed reply gives an empty answer."""
    shared = {"rules": writer.words.rules, "exemplars": writer.words.exemplars}
    asked = [{**shared, "instruction": text} for text in instructions]
    prompts = [writer.prompt(Example("self_align/answer", values, "")) for values in asked]
    return [reply.partition("\nAnswer: ")[2] for reply in player.reply(prompts, temperature=temperature)]


def revise(player: Player, writer: Writer, instructions: Sequence[str], answers: Sequence[str], rng: random.Random,
           temperature: float = 0.7) -> list[str]:  # fmt: skip
    """One round: a critique and a revision of each answer under a principle drawn for it."""
    asked: list[dict[str, Any]] = []
    for instruction, answer in zip(instructions, answers, strict=True):
        principle = rng.choice(writer.words.principles)
        asked.append({"instruction": instruction, "response": answer, "critique_request": principle.critique,
                      "revision_request": principle.revision})  # fmt: skip
    first = [{k: v for k, v in values.items() if k != "revision_request"} for values in asked]
    prompts = [writer.prompt(Example("constitutional/critique", values, "")) for values in first]
    critiques = player.reply(prompts, temperature=temperature)
    second = [{**values, "critique": text} for values, text in zip(asked, critiques, strict=True)]
    prompts = [writer.prompt(Example("constitutional/revision", values, "")) for values in second]
    return player.reply(prompts, temperature=temperature, seed=1)


def chain(player: Player, writer: Writer, instructions: Sequence[str], rounds: int) -> list[Figures]:
    """Oracle figures of the base's sampled answers and after each round of revision; `changed` from the base."""
    rng = random.Random(3)
    base = plain_answers(player, writer, instructions, temperature=0.7)
    now, figures = base, [oracle_means(instructions, base)]
    for _ in range(rounds):
        now = revise(player, writer, instructions, now, rng)
        changed = mean([float(a != b) for a, b in zip(base, now, strict=True)])
        figures.append({**oracle_means(instructions, now), "changed": changed})
    return figures


def choice_symmetry(player: Player, writer: Writer, count: int, seed: int = 5) -> Figures:
    """A/B choices in both orders: accuracy by mean probability, share of consistent pairs, mean P(first)."""
    rng = random.Random(seed)
    examples = [ROLES["constitutional/compare"](rng, writer.words, True) for _ in range(count)]
    straight = [writer.prompt(example) for example in examples]
    turned = [{"response_a": e.values["response_b"], "response_b": e.values["response_a"]} for e in examples]
    swapped = [
        writer.prompt(Example(e.prompt_id, {**e.values, **values}, ""))
        for e, values in zip(examples, turned, strict=True)
    ]
    options = OPTIONS["constitutional/compare"]
    first, second = (player.choose(prompts, options) for prompts in (straight, swapped))
    wants_a = [example.reply == "A" for example in examples]
    p_a = [(x[0] + y[1]) / 2 for x, y in zip(first, second, strict=True)]
    return {
        "accurate": mean([float((p > 0.5) == want) for p, want in zip(p_a, wants_a, strict=True)]),
        "consistent": mean([float((x[0] > 0.5) == (y[1] > 0.5)) for x, y in zip(first, second, strict=True)]),
        "p_first": mean([(x[0] + y[0]) / 2 for x, y in zip(first, second, strict=True)]),
    }


def written(player: Player, writer: Writer, calls: int, temperature: float = 1.0, seed: int = 3) -> Figures:
    """Instructions written at T=1 four a call: share in the grammar, on topic, distinct, of harm."""
    rng = random.Random(seed)
    sampled = [ROLES["self_instruct/generate"](rng, writer.words, False) for _ in range(calls)]
    examples = [Example(example.prompt_id, {**example.values, "count": 4}, "") for example in sampled]
    replies = player.reply([writer.prompt(example) for example in examples], temperature=temperature, longest=160)
    texts = [line.partition(". ")[2] for reply in replies for line in reply.split("\n")]
    intents = [parse(text) for text in texts]
    known = [intent for intent in intents if intent is not None]
    return {
        "calls": float(calls),
        "lines": float(len(texts)),
        "grammatical": mean([float(intent is not None) for intent in intents]),
        "distinct": mean([len(set(texts)) / len(texts)]),
        "harm": mean([float(intent.kind == "harm") for intent in known]),
        "unknown": mean([float(intent.kind == "unknown") for intent in known]),
    }
