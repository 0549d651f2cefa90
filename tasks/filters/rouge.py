"""The near-duplicate gate: ROUGE-L between a text and every text of a pool.

F of a pair is 2·LCS/(m+n) over its tokens, which is RapidFuzz's normalised Indel similarity once each token
is one character. RapidFuzz finds the best pairs, and integer LCS with `rouge_score`'s own arithmetic settles
them, so decisions are those of the `rouge_score` loop of Self-Instruct (arXiv 2212.10560), some thousand times
faster. Departures:
1. A text that is mostly written without a-z and 0-9 is compared by its character trigrams, vowel signs included, and
   one without letters by those of its symbols. `rouge_score` would see no tokens there (F = 0, nothing is ever
   filtered), or only the few Latin words of such a text.
2. Beyond 1.1 million different tokens in one pool, the new ones share the codes of old ones, chosen by hash. Texts
   can then look more alike than they are, by a token in some thousands, and never less.
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO

import numpy as np
from rapidfuzz.distance import Indel, LCSseq
from rapidfuzz.process import cdist, extractOne

_LATIN = re.compile(r"[a-z0-9]+")
_GRAM = 3
_BATCH = 1024  # texts compared with a whole pool at once
_CHUNK = 50_000  # pool texts compared at once: 0.4 MB of scores a text
_SURROGATES = range(0xD800, 0xE000)
_ROOM = 0x10FFFF - len(_SURROGATES)  # codes that there are for tokens
_END = "\0"  # no token's character


def tokens(text: str) -> list[str]:
    """`rouge_score`'s tokens without stemming; character trigrams where the text is mostly in another script."""
    lowered = text.lower()
    found = _LATIN.findall(lowered)
    if lowered.isascii():
        return found
    letters = sum(map(str.isalnum, lowered))
    if 2 * sum(map(len, found)) >= letters > 0:
        return found
    # Letters with their marks (a vowel of Hindi is one) and numbers; symbols, such as emoji, where there are none.
    kinds = "LMN" if letters else "MS"
    signs = [char for char in lowered if unicodedata.category(char)[0] in kinds]
    return ["".join(signs[i : i + _GRAM]) for i in range(max(1, len(signs) - _GRAM + 1))] if signs else []


def f_measure(lcs: int, candidate: int, reference: int) -> float:
    """ROUGE-L's F from an LCS and two lengths in tokens, with the roundings of `rouge_score.scoring.fmeasure`."""
    if lcs == 0:
        return 0.0
    precision, recall = lcs / candidate, lcs / reference
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class Nearest:
    """The most similar of `size` texts. `similarity` and `mean` are ROUGE-L F: the largest, and that of all of them."""

    similarity: float = 0.0
    mean: float = 0.0
    text: str | None = None
    size: int = 0

    def merged(self, other: Nearest) -> Nearest:
        """What both say together; of equals the first counts."""
        best = other if other.similarity > self.similarity else self
        size = self.size + other.size
        mean = (self.mean * self.size + other.mean * other.size) / size if size else 0.0
        return Nearest(best.similarity, mean, best.text, size)


class RougePool:
    """Texts to be compared with; what is added counts at once.

    Full chunks of a large pool lie in temporary files, so memory does not grow with the pool, but for eight bytes a
    text and the vocabulary.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._codes: list[str] = []  # of the newest chunk; those before are in the file
        self._chunks: list[tuple[int, int]] = []  # where each is: its first byte, and how many
        self._texts = array("Q", [0])  # where each text ends in its file, and the next begins
        # They live as long as the pool, and are gone with it.
        self._files: tuple[IO[bytes], IO[bytes]] = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._vocabulary: dict[str, str] = {}
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts) - 1

    def add(self, text: str) -> None:
        codes, texts = self._files
        self._texts.append(self._texts[-1] + texts.write(text.encode("utf-8", "surrogatepass")))
        self._codes.append(self._encode(text))
        if len(self._codes) == _CHUNK:
            self._chunks.append((codes.tell(), codes.write(_END.join(self._codes).encode("utf-8"))))
            self._codes = []

    def nearest(self, text: str) -> Nearest:
        """The pool's most similar text (the first of equals), in time linear in the pool."""
        return self.compare([text])[0]

    def is_near(self, text: str, above: float) -> bool:
        """Whether a text of the pool is more similar than that; quicker than `nearest`, and the pool learns nothing."""
        code = self._known(text)
        best = (
            extractOne(code, pool, scorer=Indel.normalized_similarity, score_cutoff=above) for pool in self._pools()
        )
        return bool(code) and any(found and found[1] > above for found in best)

    def covered(self, others: Iterable[str]) -> list[float]:
        """Of each text of the pool, how similar the most similar of the others is; they are streamed, and not added."""
        found, others = np.zeros(len(self), np.float32), iter(others)
        while codes := [self._known(text) for text in islice(others, _BATCH)]:
            scores = [
                cdist(codes, pool, scorer=Indel.normalized_similarity, dtype=np.float32, workers=-1).max(axis=0)
                for pool in self._pools()
            ]
            found = np.maximum(found, np.concatenate(scores))
        return found.tolist()

    def compare(self, texts: Sequence[str]) -> list[Nearest]:
        """`nearest` of each text; some dozens at once take less than half the time of one by one."""
        codes = [self._encode(text) for text in texts]
        found, places, start = [Nearest() for _ in texts], [0] * len(texts), 0
        for pool in self._pools():
            # (texts, pool texts); all cores
            scores = cdist(codes, pool, scorer=Indel.normalized_similarity, dtype=np.float64, workers=-1)
            for number, (code, row) in enumerate(zip(codes, scores, strict=True)):
                near, place = _best(code, pool, row)
                if near.similarity > found[number].similarity:
                    places[number] = start + place
                found[number] = found[number].merged(near)
            start += len(pool)
        return [
            replace(near, text=self._text(place)) if near.similarity else near
            for near, place in zip(found, places, strict=True)
        ]

    def _pools(self) -> Iterator[list[str]]:
        """The pool's codes, a chunk at a time."""
        codes = self._files[0]
        try:
            for begin, size in self._chunks:
                codes.seek(begin)
                yield codes.read(size).decode("utf-8").split(_END)
        finally:
            codes.seek(0, os.SEEK_END)
        if self._codes:
            yield self._codes

    def _text(self, place: int) -> str:
        texts = self._files[1]
        texts.seek(self._texts[place])
        text = texts.read(self._texts[place + 1] - self._texts[place]).decode("utf-8", "surrogatepass")
        texts.seek(0, os.SEEK_END)
        return text

    def _known(self, text: str) -> str:
        """The text's code, where every token that no text of the pool has is the same one, which none has."""
        return "".join(self._vocabulary.get(token, _END) for token in tokens(text))

    def _encode(self, text: str) -> str:
        return "".join(self._char(token) for token in tokens(text))

    def _char(self, token: str) -> str:
        if known := self._vocabulary.get(token):
            return known
        if len(self._vocabulary) >= _ROOM:
            return _code(zlib.crc32(token.encode()) % _ROOM + 1)
        self._vocabulary[token] = _code(len(self._vocabulary) + 1)
        return self._vocabulary[token]


def _code(place: int) -> str:
    """The character that stands for the token of that place, from 1; 0 ends a text in the file."""
    return chr(place if place < _SURROGATES.start else place + len(_SURROGATES))


def _best(code: str, pool: Sequence[str], scores: np.ndarray) -> tuple[Nearest, int]:
    """The best of a chunk, without its text, and its place there."""
    # RapidFuzz calls two empty sequences equal; ROUGE calls them 0.
    if not code or not scores.any():
        return Nearest(size=len(scores)), 0
    # Equal fractions may round differently in `rouge_score`, so every one of the best is settled by its arithmetic.
    best = np.flatnonzero(scores == scores.max())
    exact = [f_measure(LCSseq.similarity(code, pool[i]), len(code), len(pool[i])) for i in best]
    top = max(range(len(best)), key=exact.__getitem__)
    return Nearest(exact[top], float(scores.mean()), None, len(scores)), int(best[top])
