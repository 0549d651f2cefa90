"""The near-duplicate gate: ROUGE-L between a text and every text of a pool.

F of a pair is 2·LCS/(m+n) over its tokens, which is RapidFuzz's normalised Indel similarity once each token
is one character. RapidFuzz finds the best pairs, and integer LCS with `rouge_score`'s own arithmetic settles
them, so decisions are those of the `rouge_score` loop of Self-Instruct (arXiv 2212.10560), some thousand times
faster. Departures:
1. A text that is mostly written without a-z and 0-9 is compared by its character trigrams. `rouge_score` would
   see no tokens there (F = 0, nothing is ever filtered), or only the few Latin words of such a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Indel, LCSseq
from rapidfuzz.process import cdist

_LATIN = re.compile(r"[a-z0-9]+")
_GRAM = 3
_CHUNK = 50_000  # pool texts compared at once: 0.4 MB of scores a text
_TIE = 1e-9  # well under the gap between two different fractions of lengths such as these
_SURROGATES = range(0xD800, 0xE000)


def tokens(text: str) -> list[str]:
    """`rouge_score`'s tokens without stemming; character trigrams where the text is mostly in another script."""
    lowered = text.lower()
    found = _LATIN.findall(lowered)
    letters = [char for char in lowered if char.isalnum()]
    if 2 * sum(map(len, found)) >= len(letters) > 0:
        return found
    return ["".join(letters[i : i + _GRAM]) for i in range(max(1, len(letters) - _GRAM + 1))] if letters else []


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
    """Texts to be compared with; what is added counts at once."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._vocabulary: dict[str, str] = {}
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        self._texts.append(text)
        self._codes.append(self._encode(text))

    def nearest(self, text: str) -> Nearest:
        """The pool's most similar text (the first of equals), in time linear in the pool."""
        return self.compare([text])[0]

    def compare(self, texts: Sequence[str]) -> list[Nearest]:
        """`nearest` of each text; some dozens at once take less than half the time of one by one."""
        codes = [self._encode(text) for text in texts]
        found = [Nearest() for _ in texts]
        for start in range(0, len(self._codes), _CHUNK):
            pool = self._codes[start : start + _CHUNK]
            # (texts, pool texts); all cores
            scores = cdist(codes, pool, scorer=Indel.normalized_similarity, dtype=np.float64, workers=-1)
            found = [
                near.merged(self._best(code, row, start)) for near, code, row in zip(found, codes, scores, strict=True)
            ]
        return found

    def _best(self, code: str, scores: np.ndarray, start: int) -> Nearest:
        # RapidFuzz calls two empty sequences equal; ROUGE calls them 0.
        if not code or not scores.any():
            return Nearest(size=len(scores))
        # Equal fractions may round differently in `rouge_score`, so every one of the best is settled by its arithmetic.
        best = start + np.flatnonzero(scores >= scores.max() - _TIE)
        exact = [f_measure(LCSseq.similarity(code, self._codes[i]), len(code), len(self._codes[i])) for i in best]
        top = max(range(len(best)), key=exact.__getitem__)
        return Nearest(exact[top], float(scores.mean()), self._texts[best[top]], len(scores))

    def _encode(self, text: str) -> str:
        return "".join(self._char(token) for token in tokens(text))

    def _char(self, token: str) -> str:
        if token not in self._vocabulary:
            place = len(self._vocabulary)
            self._vocabulary[token] = chr(place if place < _SURROGATES.start else place + len(_SURROGATES))
        return self._vocabulary[token]
