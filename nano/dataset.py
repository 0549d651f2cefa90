"""From documents to batches: encoded documents in flat arrays, drawn once each, batched by length."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nano.corpus import Piece, documents
from nano.world import FIRST_PIECES, SECOND_PIECES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Documents = Callable[[int, int, float], Iterator[list[Piece]]]  # as `corpus.documents`
Batch = tuple[NDArray[np.int64], NDArray[np.float32], int]
NAME_WEIGHT = 8  # of an invented name's pieces, in a stage about names
POOL = 4096  # documents sorted by length together


@dataclass(frozen=True)
class Corpus:
    """All documents end to end, each from its start token to its end token."""

    ids: NDArray[np.int16]  # (tokens,)
    weights: NDArray[np.float16]  # (tokens,) the weight of predicting this token
    starts: NDArray[np.int64]  # (documents + 1,)

    @property
    def tokens(self) -> int:
        return len(self.ids)

    def __len__(self) -> int:
        return len(self.starts) - 1


_worker: dict[str, Any] = {}


def make(
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    tokens: int,
    processes: int,
    longest: int,
    names: float = 0.0,
    shard: int = 2000,
    write: Documents = documents,
) -> Corpus:
    """Enough documents for `tokens` tokens; shard n is made from the seed and n, whatever the processes.

    Args:
        longest: documents of more tokens are left out.
        names: the share of documents that speak of invented names only.
        shard: documents made by one call of a worker process.
        write: what writes them.
    """
    ids, weights, lengths, total = [], [], [], 0
    seeds = ((seed + 1) * 100_003 + number for number in range(10**6))
    with get_context("spawn").Pool(processes, _start, (tokenizer, longest, names, shard, write)) as pool:
        for shard_ids, shard_weights, shard_lengths in pool.imap(_shard, seeds):
            ids.append(shard_ids)
            weights.append(shard_weights)
            lengths.append(shard_lengths)
            total += len(shard_ids)
            if total >= tokens:
                break
        pool.terminate()
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Corpus(np.concatenate(ids), np.concatenate(weights), starts)


def _start(tokenizer: PreTrainedTokenizerFast, longest: int, names: float, shard: int, write: Documents) -> None:
    ids = tokenizer.convert_tokens_to_ids([*(f"Ġ{piece}" for piece in FIRST_PIECES), *SECOND_PIECES])
    _worker.update(core=tokenizer.backend_tokenizer, longest=longest, names=names, pieces=ids, shard=shard, write=write)


def _shard(seed: int) -> tuple[NDArray[np.int16], NDArray[np.float16], NDArray[np.int64]]:
    shard = list(_worker["write"](seed, _worker["shard"], _worker["names"]))
    encodings = _worker["core"].encode_batch(["".join(text for text, _ in pieces) for pieces in shard])
    ids, weights, lengths = [], [], []
    for pieces, encoding in zip(shard, encodings, strict=True):
        if len(encoding.ids) > _worker["longest"]:
            continue
        ends = np.cumsum([len(text) for text, _ in pieces])
        places = np.searchsorted(ends, [start for start, _ in encoding.offsets], side="right")
        of_piece = np.array([weight for _, weight in pieces], dtype=np.float16)
        ids.append(np.array(encoding.ids, dtype=np.int16))
        weights.append(of_piece[places])
        if _worker["names"]:
            weights[-1][np.isin(ids[-1], _worker["pieces"])] *= NAME_WEIGHT
        lengths.append(len(encoding.ids))
    return np.concatenate(ids), np.concatenate(weights), np.array(lengths)


def batches(corpus: Corpus, size: int, seed: int, pad: int) -> Iterator[Batch]:
    """Every document once, in batches of at most `size` padded tokens.

    Yields:
        ids (B, T) padded on the right, the weight of each token (B, T), and the tokens that are not padding.
    """
    rng = random.Random(seed)
    order = list(range(len(corpus)))
    rng.shuffle(order)
    lengths = np.diff(corpus.starts)
    for first in range(0, len(order), POOL):
        pool = sorted(order[first : first + POOL], key=lambda n: int(lengths[n]))
        groups: list[list[int]] = [[]]
        for n in pool:
            if (len(groups[-1]) + 1) * int(lengths[n]) > size:
                groups.append([])
            groups[-1].append(n)
        rng.shuffle(groups)
        for group in groups:
            yield _padded(corpus, group, pad)


def _padded(corpus: Corpus, group: list[int], pad: int) -> Batch:
    spans = [(int(corpus.starts[n]), int(corpus.starts[n + 1])) for n in group]
    width = max(end - start for start, end in spans)
    ids = np.full((len(group), width), pad, dtype=np.int64)
    weights = np.zeros((len(group), width), dtype=np.float32)
    for row, (start, end) in enumerate(spans):
        ids[row, : end - start] = corpus.ids[start:end]
        weights[row, : end - start] = corpus.weights[start:end]
    return ids, weights, sum(end - start for start, end in spans)
