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
import numpy.typing as npt
from rapidfuzz.distance import Indel, LCSseq
from rapidfuzz.process import cdist

_LATIN = re.compile(r"[a-z0-9]+")
_GRAM = 3
_CHUNK = 16_384  # texts of a chunk: signatures that fit a core's cache
_NEWEST = 1024  # texts behind the full chunks that are compared whole, at most
_ROWS = 1024
_TOKENS = 16  # for which a signature has 128 bits
_ROUNDING = 1e-6
_GOLDEN = np.uint32(0x9E3779B1)
_BATCH = 1024  # texts compared with a whole pool at once
_NO_TOKEN = "\0"
_ENCODING, _WIDTH = "utf-32-le", 4  # of codes, and bytes of each
_SURROGATES = range(0xD800, 0xE000)
_ROOM = 0x10FFFF - len(_SURROGATES)  # codes that there are for tokens


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
    """The most similar of `size` texts. `similarity` and `mean` are ROUGE-L F: the largest, and that of all of them,
    which is None where not all were compared; `place` is its index in its pool."""

    similarity: float = 0.0
    mean: float | None = 0.0
    text: str | None = None
    size: int = 0
    place: int = 0

    def merged(self, other: Nearest) -> Nearest:
        """Both combined; of equals the first counts."""
        best = other if other.similarity > self.similarity else self
        size = self.size + other.size
        mean = None
        if self.mean is not None and other.mean is not None:
            mean = (self.mean * self.size + other.mean * other.size) / size if size else self.mean
        return replace(best, mean=mean, size=size)

    def nearer(self, other: Nearest) -> Nearest:
        """The nearer of two texts of one pool; of equals the one that comes first there."""
        is_other = other.similarity > self.similarity or (
            other.similarity == self.similarity > 0 and other.place < self.place
        )
        return other if is_other else self


class RougePool:
    """The texts to compare with; an added text counts at once.

    A text of a full chunk is compared only where it may be the nearest. Each has a signature, the parity of its tokens
    by hash: two of them differ in at most as many bits as the texts have tokens that are not shared, p, so that
    F = 2·LCS/(m+n) ≤ 1 - p/(m+n) (the bitmap filter of Sandes, Teodoro and Melo, arXiv 1711.07295, over multisets).

    Full chunks are in temporary files. In memory a text has its signature (16 to 128 bytes, by the lengths of the
    texts) and 24 bytes beside it; there is also the vocabulary.
    """

    def __init__(self, texts: Iterable[str] = (), threads: int = -1) -> None:
        self._threads = threads  # -1: all cores
        self._codes: list[str] = []  # of the newest texts; those before are in chunks
        self._chunks: list[_Chunk] = []
        self._tail: _Chunk | None = None  # the first of `_codes`, in a chunk that is not full
        self._end = 0  # of the full chunks' codes in their file, in bytes
        self._texts = array("Q", [0])  # where each text ends in its file, and the next begins
        # They live as long as the pool, and are gone with it.
        self._files: tuple[IO[bytes], IO[bytes]] = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._vocabulary = _Vocabulary()
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts) - 1

    def add(self, text: str) -> None:
        self._texts.append(self._texts[-1] + self._files[1].write(text.encode("utf-8", "surrogatepass")))
        self._codes.append(self._encode(text))
        if len(self._codes) == _CHUNK:
            self._chunks.append(self._chunk())
            self._end = self._files[0].tell()
            self._codes, self._tail = [], None

    def nearest(self, text: str) -> Nearest:
        """The pool's most similar text (the first of equals)."""
        return self.compare([text])[0]

    def compare(self, texts: Sequence[str], above: float = 0.0) -> list[Nearest]:
        """`nearest` of each text; some dozens at once take less than half the time of one by one.

        Args:
            above: what is not more similar than this need not be exact: in a pool of several chunks `similarity` is
                then at most `above`, `text` any, and `mean` None.
        """
        found = self._nearest([self._encode(text) for text in texts], above)
        return [
            replace(
                near,
                text=self._text(near.place) if near.similarity else None,
                size=len(self),
                mean=None if self._chunks else near.mean,
            )
            for near in found
        ]

    def is_near(self, text: str, above: float) -> bool:
        """Whether a text of the pool is more similar than that; the pool is not changed."""
        return self._nearest([self._known(text)], above)[0].similarity > above

    def covered(self, others: Iterable[str]) -> list[float]:
        """Of each text of the pool, how similar the most similar of the others is; they are streamed, and not added."""
        found, others = np.zeros(len(self), np.float32), iter(others)
        while codes := [self._known(text) for text in islice(others, _BATCH)]:
            scores = [
                cdist(codes, pool, scorer=Indel.normalized_similarity, dtype=np.float32, workers=-1).max(axis=0)
                for pool in self._parts()
            ]
            found = np.maximum(found, np.concatenate(scores))
        return found.tolist()

    def _parts(self) -> Iterator[list[str]]:
        """The codes of all texts in their order, a chunk at a time."""
        for chunk in self._chunks:
            yield _Opened(chunk, self._files[0]).in_order()
        if self._codes:
            yield self._codes

    def _nearest(self, codes: Sequence[str], above: float) -> list[Nearest]:
        """As `compare`, without texts."""
        sought = [_Sought(code) for code in codes]
        if self._chunks and len(self._newest()) > _NEWEST:  # of a pool without full chunks the mean over all is wanted
            self._tail = self._chunk()
        found = self._among_newest(codes)
        for number, chunk in enumerate([*self._chunks, *([self._tail] if self._tail else [])]):
            pool = _Opened(chunk, self._files[0])
            for place, (one, best) in enumerate(zip(sought, found, strict=True)):
                near = pool.near(one, max(above, best.similarity))
                found[place] = best.nearer(replace(near, place=number * _CHUNK + near.place))
        return found

    def _chunk(self) -> _Chunk:
        """All of `_codes` as a chunk, written over the last one that was not full."""
        self._files[0].seek(self._end)
        return _Chunk.of(self._codes, self._files[0])

    def _newest(self) -> list[str]:
        """The codes that are in no chunk."""
        return self._codes[len(self._tail.sizes) if self._tail else 0 :]

    def _among_newest(self, codes: Sequence[str]) -> list[Nearest]:
        """The best of the newest texts, which are all compared with."""
        if not (newest := self._newest()):
            return [Nearest() for _ in codes]
        # (texts, pool texts)
        scores = cdist(codes, newest, scorer=Indel.normalized_similarity, dtype=np.float64, workers=self._threads)
        start = len(self) - len(newest)
        return [_best(code, newest, row, start) for code, row in zip(codes, scores, strict=True)]

    def _text(self, place: int) -> str:
        texts = self._files[1]
        texts.seek(self._texts[place])
        text = texts.read(self._texts[place + 1] - self._texts[place]).decode("utf-8", "surrogatepass")
        texts.seek(0, os.SEEK_END)
        return text

    def _known(self, text: str) -> str:
        """The text's code, where every token that no text of the pool has is the same one, which none has."""
        return "".join(self._vocabulary.get(token, _NO_TOKEN) for token in tokens(text))

    def _encode(self, text: str) -> str:
        return "".join(map(self._vocabulary.__getitem__, tokens(text)))


class _Vocabulary(dict[str, str]):
    """Token → its character; a new token gets one when it is first asked for."""

    def __missing__(self, token: str) -> str:
        if len(self) >= _ROOM:
            return _code(zlib.crc32(token.encode()) % _ROOM + 1)
        self[token] = _code(len(self) + 1)
        return self[token]


def _code(place: int) -> str:
    """The character that encodes the token of that place, from 1."""
    return chr(place if place < _SURROGATES.start else place + len(_SURROGATES))


@dataclass(frozen=True)
class _Chunk:
    """A full part of a pool: what tells which of its texts may be near, and where their codes are. Shortest first."""

    signatures: npt.NDArray[np.uint64]  # (words, texts)
    sizes: npt.NDArray[np.int64]  # (texts,) tokens, ascending
    lengths: npt.NDArray[np.int64]  # the different sizes
    runs: npt.NDArray[np.int64]  # where the texts of each begin, and the end
    places: npt.NDArray[np.int64]  # (texts,) the place of each as it was added
    begin: int  # of its codes in the file, in bytes

    @classmethod
    def of(cls, codes: Sequence[str], file: IO[bytes]) -> _Chunk:
        sizes = np.array([len(code) for code in codes])
        places = np.argsort(sizes, kind="stable")
        data = "".join([codes[place] for place in places.tolist()]).encode(_ENCODING)
        begin = file.tell()
        file.write(data)
        file.flush()
        words = 1 << min(4, max(1, (int(sizes.mean()) // _TOKENS).bit_length()))
        found = _signatures(np.frombuffer(data, np.uint32), sizes[places], words)
        lengths, runs = np.unique(sizes[places], return_index=True)
        return cls(np.ascontiguousarray(found.T), sizes[places], lengths, np.append(runs, len(sizes)), places, begin)


class _Sought:
    """A text whose near-duplicates are searched."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._signatures: dict[int, npt.NDArray[np.uint64]] = {}  # by words

    def signature(self, words: int) -> npt.NDArray[np.uint64]:
        if words not in self._signatures:
            data = np.frombuffer(self.code.encode(_ENCODING), np.uint32)
            self._signatures[words] = _signatures(data, np.array([len(self.code)]), words)[0]
        return self._signatures[words]


class _Opened:
    """A chunk with its codes, each read when it is first needed, for one comparison."""

    def __init__(self, chunk: _Chunk, file: IO[bytes]) -> None:
        self._chunk, self._codes = chunk, dict[int, str]()
        self._ends = _WIDTH * np.append(0, chunk.sizes.cumsum())
        self._data = os.pread(file.fileno(), int(self._ends[-1]), chunk.begin)

    def near(self, sought: _Sought, least: float) -> Nearest:
        """The most similar text, if it is as similar as `least`; its place is that in the chunk."""
        size, sizes = len(sought.code), self._chunk.sizes
        if not size:  # RapidFuzz calls two empty sequences equal; ROUGE calls them 0
            return Nearest()
        # F ≤ 2·min(m, n) / (m + n)
        ratio = max(least, _ROUNDING) / (2 - least)
        first, last = np.searchsorted(sizes, (size * ratio - _ROUNDING, size / ratio + 1))
        signatures = self._chunk.signatures[:, first:last]
        signature = sought.signature(len(signatures))
        distances = np.bitwise_count(signatures[0] ^ signature[0])
        if len(signatures) > 2:  # else there are 128 bits at most
            distances = distances.astype(np.uint16)
        for mine, other in zip(signatures[1:], signature[1:], strict=True):
            distances += np.bitwise_count(mine ^ other)
        limits = np.minimum((1 - least) * (self._chunk.lengths + size) + _ROUNDING, 64 * len(signatures))
        limits = np.repeat(limits.astype(distances.dtype), np.diff(np.clip(self._chunk.runs, first, last)))
        return self._best(sought.code, first + np.flatnonzero(distances <= limits))

    def _best(self, code: str, rows: npt.NDArray[np.int64]) -> Nearest:
        """The most similar one of some rows, the first one added of equals."""
        if not len(rows):
            return Nearest()
        places = self._chunk.places[rows]
        order = np.argsort(places)
        codes = [self._code(row) for row in rows[order].tolist()]
        found = _best(code, codes, cdist([code], codes, scorer=Indel.normalized_similarity, dtype=np.float64)[0], 0)
        return replace(found, place=int(places[order[found.place]]))

    def in_order(self) -> list[str]:
        """The codes in the order in which they were added."""
        return [self._code(row) for row in np.argsort(self._chunk.places).tolist()]

    def _code(self, row: int) -> str:
        if row not in self._codes:
            self._codes[row] = self._data[self._ends[row] : self._ends[row + 1]].decode(_ENCODING)
        return self._codes[row]


def _signatures(codes: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], words: int) -> npt.NDArray[np.uint64]:
    """(texts, words) the parity of the tokens that map to each bit, of texts one after the other."""
    bits = 64 * words
    places = ((codes * _GOLDEN) >> np.uint32(22)).astype(np.int64) % bits
    found, ends = np.empty((len(sizes), words), np.uint64), np.append(0, sizes.cumsum())
    for first in range(0, len(sizes), _ROWS):  # a block at a time, for counts take eight bytes a bit
        some = sizes[first : first + _ROWS]
        rows = np.repeat(np.arange(len(some)), some) * bits
        counts = np.bincount(rows + places[ends[first] : ends[first + len(some)]], minlength=len(some) * bits)
        odd = np.packbits((counts & 1).astype(np.uint8), bitorder="little")
        found[first : first + _ROWS] = odd.view(np.uint64).reshape(len(some), words)
    return found


def _best(code: str, pool: Sequence[str], scores: npt.NDArray[np.float64], start: int) -> Nearest:
    """The best of some texts, without its text. Places begin at `start`."""
    # RapidFuzz calls two empty sequences equal; ROUGE calls them 0.
    if not code or not scores.any():
        return Nearest(size=len(scores))
    # Equal fractions may round differently in `rouge_score`, so every one of the best is settled by its arithmetic.
    best = np.flatnonzero(scores == scores.max())
    exact = [f_measure(LCSseq.similarity(code, pool[i]), len(code), len(pool[i])) for i in best]
    top = max(range(len(best)), key=exact.__getitem__)
    return Nearest(exact[top], float(scores.mean()), None, len(scores), start + int(best[top]))
