"""A prefix cache: the keys and values of a prefix that prompts share, such as worked examples, are computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

MIN_TOKENS = 256  # of a shared prefix, from which a forward pass of its own is worth it
MAX_PREFIXES = 6  # in the cache, the most recently used; at 7B parameters 2,000 tokens of one take 1 GB
_MAX_KEYS = 256  # of prompts that came before, without their keys and values

# Keys and values of each layer, (1, H, tokens, D)
Layers = list[tuple[Any, Any]]


@dataclass(frozen=True)
class Prefix:
    """Token ids with their keys and values."""

    ids: list[int]
    layers: Layers

    def first(self, count: int) -> Prefix:
        """The first tokens alone: a causal model computes them without regard to what follows."""
        return Prefix(self.ids[:count], [(keys[:, :, :count], values[:, :, :count]) for keys, values in self.layers])


class PrefixCache:
    """The prefixes used last, by their first `MIN_TOKENS` tokens."""

    def __init__(self) -> None:
        self._prefixes: dict[Hashable, Prefix] = {}
        self._seen: dict[Hashable, None] = {}

    def group(self, prompts: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
        """The indices of prompts that share a prefix with each other or with earlier ones, and those of all others.

        A prompt that nothing shares yet stays with the others, for a batch of these is one forward pass.
        """
        by_key: dict[Hashable, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_key.setdefault(_key(prompt), []).append(index)
        shared: list[list[int]] = []
        others: list[int] = []
        for key, indices in by_key.items():
            if key is not None and (len(indices) > 1 or key in self._seen):
                shared.append(indices)
            else:
                others += indices
            if key is not None:
                _put(self._seen, key, None, _MAX_KEYS)
        return shared, others

    def find(self, prompts: Sequence[list[int]]) -> tuple[list[int], Prefix | None]:
        """The longest prefix of the prompts of a group, without any prompt's last token, and the cached part of it."""
        common = _common_prefix([prompt[:-1] for prompt in prompts])
        key = _key(prompts[0])
        if (cached := self._prefixes.get(key)) is None:
            return common, None
        _put(self._prefixes, key, cached, MAX_PREFIXES)
        return common, cached.first(len(_common_prefix([common, cached.ids])))

    def put(self, prefix: Prefix) -> None:
        _put(self._prefixes, _key([*prefix.ids, 0]), prefix, MAX_PREFIXES)


def _key(prompt: Sequence[int]) -> Hashable:
    """None of a prompt that is too short to share a prefix: its last token is never part of one."""
    return tuple(prompt[:MIN_TOKENS]) if len(prompt) > MIN_TOKENS else None


def _common_prefix(lists: Sequence[list[int]]) -> list[int]:
    low, high = min(lists), max(lists)  # all others are between these two in lexicographic order
    differs = (index for index, (one, other) in enumerate(zip(low, high, strict=False)) if one != other)
    return low[: next(differs, len(low))]


def _put(cache: dict[Hashable, Any], key: Hashable, value: Any, limit: int) -> None:
    """Add as the newest; the oldest beyond the limit are dropped."""
    cache.pop(key, None)
    cache[key] = value
    while len(cache) > limit:
        del cache[next(iter(cache))]
