"""Writes the world's data files: `nano/held_out.jsonl` and nano's seeds. `python -m nano.files`.

Both are kept in the repository; a test compares them with what this makes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from alignery.hashing import digest
from nano.grammar import draw, render
from nano.world import KINDS, TOPICS
from prompts import HERE

HELD_OUT = Path(__file__).parent / "held_out.jsonl"
SEEDS = HERE / "self_instruct" / "seeds.nano.jsonl"
HELD_COUNTS = {"howto": 80, "fact": 60, "unknown": 60, "list": 10, "upset": 40, "polite": 25, "note": 25, "harm": 100}
SEED_COUNTS = {"howto": 3, "fact": 1, "unknown": 2, "list": 1, "upset": 2, "polite": 1, "note": 1, "harm": 3}  # a topic


def held_out() -> list[dict[str, str]]:
    """The evaluation prompts, each once: intents kept out of the corpus, and known facts and lists."""
    rng = random.Random(2026)
    rows = []
    for kind in KINDS:
        for text in _distinct(rng, kind, "", HELD_COUNTS[kind], held=True):
            rows.append({"id": digest("held_out", text), "kind": kind, "prompt": text})
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


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    HELD_OUT.write_text(lines(held_out()), encoding="utf-8")
    SEEDS.write_text(lines(seeds()), encoding="utf-8")
