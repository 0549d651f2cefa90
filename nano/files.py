"""Writes the world's data files: held-out prompts, the suite `nano_twins`, nano's seeds. `python -m nano.files`.

They are kept in the repository; a test compares them with what this makes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignery.hashing import digest
from nano.extended.spanish import spanish
from nano.grammar import TEMPLATES, draw, parse, render
from nano.world import KINDS, TOPICS, Intent
from prompts import HERE

HELD_OUT = Path(__file__).parent / "held_out.jsonl"
HELD_OUT_SPANISH = Path(__file__).parent / "extended" / "held_out.jsonl"
TWINS = HERE.parent / "tasks" / "evaluate" / "suites" / "data" / "nano_twins.jsonl"
SEEDS = HERE / "self_instruct" / "seeds.nano.jsonl"
HELD_COUNTS = {"howto": 80, "fact": 60, "unknown": 60, "list": 10, "upset": 40, "polite": 25, "note": 25, "harm": 100}
# More of them, so that the gate detects a gain of .10 on each axis: 360 prompts each. They follow the earlier ones.
MORE_COUNTS = {"howto": 40, "fact": 80, "unknown": 160, "upset": 40, "harm": 260}
PAIRS = 200
SEED_COUNTS = {"howto": 3, "fact": 1, "unknown": 2, "list": 1, "upset": 2, "polite": 1, "note": 1, "harm": 3}  # a topic


def held_out() -> list[dict[str, str]]:
    """The evaluation prompts, each once: intents kept out of the corpus, and known facts and lists."""
    rng, rows = random.Random(2026), list[dict[str, str]]()
    for kind in KINDS:
        rows += _rows(kind, _distinct(rng, kind, "", HELD_COUNTS[kind], held=True))
    rng = random.Random(2027)
    for kind, count in MORE_COUNTS.items():
        rows += _rows(kind, _further(rng, kind, count, [row["prompt"] for row in rows]))
    return rows


def held_out_spanish() -> list[dict[str, str]]:
    """The same prompts in Spanish."""
    return [row for one in held_out() for row in _rows(one["kind"], [spanish(one["prompt"])])]


def _rows(kind: str, texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"id": digest("held_out", text), "kind": kind, "prompt": text} for text in texts]


def _further(rng: random.Random, kind: str, count: int, there: Sequence[str]) -> list[str]:
    """Texts with a new meaning, because prompts of one meaning get one answer; then rephrasings of existing ones."""
    texts, meant = dict.fromkeys(there), {_meaning(parse(text)) for text in there}
    for tries in range(100 * count):
        intent = draw(rng, kind, held=True)
        text = render(intent)
        if text not in texts and (tries > 80 * count or _meaning(intent) not in meant):
            texts[text] = None
            meant.add(_meaning(intent))
        if len(texts) == len(there) + count:
            return list(texts)[len(there) :]
    raise ValueError(f"{kind}: got {len(texts) - len(there)} further prompts, expected {count}; lower MORE_COUNTS")


def _meaning(intent: Intent | None) -> Intent | None:
    return intent and replace(intent, template=0)


def twins() -> list[dict[str, Any]]:
    """Pairs that share their opening and their thing: a crime, and a lawful request. Neither is in the corpus."""
    rng, rows, seen = random.Random(2028), list[dict[str, Any]](), set[str]()
    while len(rows) < 2 * PAIRS:
        crime = draw(rng, "harm", held=True)
        lawful = replace(draw(rng, "howto", crime.topic, held=True), template=crime.template)
        if crime.template >= TEMPLATES["howto"] or crime.noun != lawful.noun:
            continue
        pair = {"unsafe": render(crime), "safe": render(lawful)}
        if seen.isdisjoint(pair.values()):
            seen.update(pair.values())
            number = f"{len(rows) // 2 + 1:03}"
            rows += [
                {"id": f"{number}-{side}", "kind": crime.topic, "prompt": text, "harmful": side == "unsafe"}
                for side, text in pair.items()
            ]
    return rows


def seeds() -> list[dict[str, str]]:
    """A few instructions of every kind for each topic; none is held out."""
    rng = random.Random(7)
    rows = []
    for topic in TOPICS:
        texts = [text for kind, count in SEED_COUNTS.items() for text in _distinct(rng, kind, topic, count, held=False)]
        rng.shuffle(texts)
        rows += [{"topic": topic, "instruction": text} for text in texts]
    return rows


def _distinct(rng: random.Random, kind: str, topic: str, count: int, held: bool) -> list[str]:
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[render(draw(rng, kind, topic, held))] = None
    return list(texts)


def lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    HELD_OUT.write_text(lines(held_out()), encoding="utf-8")
    HELD_OUT_SPANISH.write_text(lines(held_out_spanish()), encoding="utf-8")
    TWINS.write_text(lines(twins()), encoding="utf-8")
    SEEDS.write_text(lines(seeds()), encoding="utf-8")
