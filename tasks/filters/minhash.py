"""Near-duplicate responses: Jaccard similarity of their character shingles, estimated by MinHash and found by LSH.

Source: Broder 1997 (MinHash); Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3 (banding). Written
in numpy, which is here already, where `datasketch` would be one more dependency. Choices:
1. Shingles are five characters, after Unicode normalisation and case-folding, with one blank for any: no script is left
   out.
2. 160 hashes estimate a similarity s with a standard error of sqrt(s (1 - s) / 160): 0.032 at 0.8.
3. 32 bands of 5 rows: a pair at 0.8 is compared with probability 0.999997, at 0.5 with 0.64.
4. A text is compared with those that were kept before it; the first of a group stays. The same texts in the same order
   give the same answer, in however many batches they come, on every machine.
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]

THRESHOLD = 0.8  # usual for texts; our choice
BANDS, ROWS = 32, 5
_SHINGLE = 5
_LONG = 1 << 20  # keys of a run that is merged no more
_BLOCK = 4096  # shingles hashed at once: 5 MB
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: Hashes) -> Hashes:
    """splitmix64's finaliser: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _draws(first: int, count: int) -> Hashes:
    """Numbers of splitmix64, the same on every machine and in every version of numpy."""
    return _mixed(np.arange(first, first + count, dtype=np.uint64) * _GOLDEN)


_TIMES = _draws(1, BANDS * ROWS) | np.uint64(1)  # odd, so that each is a permutation of the 64-bit numbers
_PLUS = _draws(1001, BANDS * ROWS)
_POWERS = _draws(2001, _SHINGLE) | np.uint64(1)
_BAND = _draws(3001, BANDS)


def shingles(text: str) -> Hashes:
    """Hashes of a text's different shingles, sorted; a shorter text is one shingle, and one without words has none."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if 0 < len(codes) < _SHINGLE:
        codes = np.pad(codes, (0, _SHINGLE - len(codes)))
    count = max(0, len(codes) - _SHINGLE + 1)
    summed = np.zeros(count, np.uint64)
    for place, power in enumerate(_POWERS):
        summed += codes[place : place + count] * power
    return np.unique(_mixed(summed))


def jaccard(one: Hashes, other: Hashes) -> float:
    """The exact similarity of two texts' shingles, 0 to 1; 0 where both have none."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def signature(hashes: Hashes) -> Signatures:
    """(BANDS·ROWS,): the least of the hashes under each permutation; of two texts, as large a share agrees as their
    shingles do."""
    least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK, None] * _TIMES + _PLUS  # (shingles, BANDS·ROWS)
        least = np.minimum(least, block.min(axis=0))
    return (least >> np.uint64(32)).astype(np.uint32)


@dataclass(frozen=True)
class Duplicate:
    """A near-duplicate of a kept text. `of` is that one's id, `similarity` the estimate, 0 to 1."""

    id: str
    of: str
    similarity: float


class NearDuplicates:
    """What was kept so far: an id each in memory, and in temporary files a signature and the keys of its bands."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"near-duplicates: got a threshold of {threshold}, expected more than 0, at most 1")
        self._threshold = threshold
        self._ids: list[str] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this
        self._signatures: Signatures = np.empty((0, BANDS * ROWS), np.uint32)  # the first len(_ids) count
        self._buckets = _Buckets()

    def __len__(self) -> int:
        return len(self._ids)

    def mark(self, ids: Sequence[str], texts: Sequence[str]) -> list[Duplicate]:
        """Those of a batch that are near-duplicates of a kept text or of an earlier one of the batch.

        The others are kept. A text without a shingle is neither.
        """
        hashed = [(id, found) for id, text in zip(ids, texts, strict=True) if len(found := shingles(text))]
        if not hashed:
            return []
        signatures = np.stack([signature(found) for _, found in hashed])
        keys = _band_keys(signatures)
        near: list[list[int]] = [[] for _ in hashed]  # places among the kept
        for row, place in self._buckets.among(keys):
            near[row].append(place)
        inside: list[list[int]] = [[] for _ in hashed]  # rows of this batch
        batch = _Buckets()
        batch.add(keys, 0)
        for row, earlier in batch.among(keys):
            if earlier < row:
                inside[row].append(earlier)
        marked, begun, place_of = [], len(self), dict[int, int]()
        for row, (id, _) in enumerate(hashed):
            places = sorted({*near[row], *(place_of[r] for r in inside[row] if r in place_of)})
            agree = (self._signatures[places] == signatures[row]).mean(axis=1) if places else np.zeros(1)
            best = int(agree.argmax())  # the first of equals
            if agree[best] >= self._threshold:
                marked.append(Duplicate(id, self._ids[places[best]], float(agree[best])))
            else:
                place_of[row] = self._keep(id, signatures[row])
        self._buckets.add(keys[list(place_of)], begun)
        return marked

    def _keep(self, id: str, signatures: Signatures) -> int:
        place = len(self._ids)
        if place == len(self._signatures):
            shape = (2 * place or 1024, BANDS * ROWS)
            self._file.truncate(shape[0] * shape[1] * self._signatures.itemsize)
            self._signatures = np.memmap(self._file, np.uint32, "r+", shape=shape)
        self._signatures[place] = signatures
        self._ids.append(id)
        return place


class _Buckets:
    """Which texts share a band: sorted runs of (key, place), merged as they grow, the long ones in temporary files."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, npt.NDArray[np.int64]]] = []

    def add(self, keys: Hashes, first: int) -> None:
        """Texts whose places begin at `first`, by their keys, (texts, BANDS)."""
        if not len(keys):
            return
        places = np.repeat(np.arange(first, first + len(keys)), BANDS)
        self._runs.append(_sorted(keys.ravel(), places))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < min(_LONG, 2 * len(self._runs[-1][0])):
            (keys_a, places_a), (keys_b, places_b) = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted(np.concatenate([keys_b, keys_a]), np.concatenate([places_b, places_a])))
        if len(self._runs[-1][0]) >= _LONG:
            self._runs[-1] = (_in_file(self._runs[-1][0]), _in_file(self._runs[-1][1]))

    def among(self, keys: Hashes) -> Iterator[tuple[int, int]]:
        """(row of `keys`, place) of each text that shares a band with it; a pair may come more than once."""
        asked = keys.ravel()
        for known, places in self._runs:
            begin, end = np.searchsorted(known, asked, "left"), np.searchsorted(known, asked, "right")
            for number in np.flatnonzero(begin < end):
                yield from ((int(number) // BANDS, int(place)) for place in places[begin[number] : end[number]])


def _sorted(keys: Hashes, places: npt.NDArray[np.int64]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    order = np.argsort(keys, kind="stable")
    return keys[order], places[order]


def _in_file(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values in a temporary file, of which only what is looked at is in memory."""
    with tempfile.TemporaryFile() as file:
        found = np.memmap(file, values.dtype, "w+", shape=values.shape)
    found[:] = values
    return found


def _band_keys(signatures: Signatures) -> Hashes:
    """(texts, BANDS): one number for the rows of each band, another for the same rows in another band."""
    rows = signatures.reshape(-1, BANDS, ROWS).astype(np.uint64)
    keys = np.broadcast_to(_BAND, rows.shape[:2]).copy()
    for row in range(ROWS):
        keys = _mixed(keys ^ rows[:, :, row])
    return keys
