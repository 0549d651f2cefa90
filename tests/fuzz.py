"""Replies as no model should write them: pieces of good ones, cut, mixed and spoilt; the same for the same seed.

A generator of our own: `hypothesis` would say which piece is to blame, but is no dependency of the tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

_JUNK = (
    "",
    " ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "\0",
    "\ufeff",
    "\u200b",
    "\u202e",
    "é",
    "四",
    "٤",
    "４",
    "½",
    "🙂",
    "-",
    "+",
)
_JUNK += ("[[", "]]", "**", "```", "<score>", "{{ 1 }}", "nan", "inf", "1e3", "0x5", "NaN/5", "\ud800", "a" * 3000)


def replies(pieces: Sequence[str], count: int, seed: int = 0) -> Iterator[str]:
    """Replies of up to eight pieces or junk, some cut at a random place, some with characters swapped."""
    rng = random.Random(seed)
    for _ in range(count):
        text = "".join(rng.choice(pieces if rng.random() < 0.6 else _JUNK) for _ in range(rng.randint(0, 8)))
        if text and rng.random() < 0.3:
            text = text[: rng.randrange(len(text))]
        if len(text) > 1 and rng.random() < 0.2:
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(_JUNK) + text[place + 1 :]
        yield text


def outcomes(parse: Callable[[str], object], texts: Iterator[str], allowed: type[Exception]) -> dict[str, object]:
    """Reply → what was read, for those that were; any other fault than the allowed one is raised."""
    read: dict[str, object] = {}
    for text in texts:
        try:
            read[text] = parse(text)
        except allowed:
            continue
    return read
