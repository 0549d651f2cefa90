"""Beginnings that prompts share: worked examples are most of a prompt, and their keys and values are computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST = 256  # tokens in common from which a beginning is computed by itself
REMEMBERED = 4  # beginnings whose keys and values are kept; at 7B parameters 2,000 tokens of them are 1 GB
_NOTED = 256  # beginnings of which is known that they came before

# Keys and values of each layer, (1, H, tokens, D)
Layers = list[tuple[Any, Any]]


@dataclass(frozen=True)
class Prefix:
    """Tokens, and what the model computed of them."""

    ids: list[int]
    layers: Layers

    def first(self, count: int) -> Prefix:
        """Its first tokens: what a causal model computes of them does not depend on what follows."""
        if count == len(self.ids):
            return self
        return Prefix(self.ids[:count], [(keys[:, :, :count], values[:, :, :count]) for keys, values in self.layers])


class Prefixes:
    """The beginnings that were computed last, and which came before at all."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Prefix] = {}
        self._noted: dict[Hashable, None] = {}

    def groups(self, prompts: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
        """The places of prompts that share a beginning, with each other or with earlier ones; and of all the others."""
        by_beginning: dict[Hashable, list[int]] = {}
        for place, prompt in enumerate(prompts):
            by_beginning.setdefault(_beginning(prompt), []).append(place)
        shared: list[list[int]] = []
        others: list[int] = []
        for beginning, places in by_beginning.items():
            known = len(places) > 1 or beginning in self._noted
            if beginning is not None:
                _put(self._noted, beginning, None, _NOTED)
            if beginning is not None and known:
                shared.append(places)
            else:
                others += places
        return shared, others

    def longest(self, prompts: Sequence[list[int]]) -> tuple[list[int], Prefix | None]:
        """What prompts of one group have in common, but for their last tokens, and as much of it as is kept."""
        common = _common([prompt[:-1] for prompt in prompts])
        kept = self._kept.get(_beginning(prompts[0]))
        if kept is None:
            return common, None
        return common, kept.first(len(_common([common, kept.ids])))

    def keep(self, prefix: Prefix) -> None:
        _put(self._kept, _beginning(prefix.ids), prefix, REMEMBERED)


def _beginning(ids: Sequence[int]) -> Hashable:
    """What tells beginnings apart; None of a prompt that is too short. Its last token is never part of it."""
    return tuple(ids[:SHORTEST]) if len(ids) > SHORTEST else None


def _common(lists: Sequence[list[int]]) -> list[int]:
    """The tokens with which all begin."""
    low, high = min(lists), max(lists)  # in their order as words in a dictionary, the others are between these two
    until = (place for place, (one, other) in enumerate(zip(low, high, strict=False)) if one != other)
    return low[: next(until, len(low))]


def _put(cache: dict[Hashable, Any], key: Hashable, value: Any, most: int) -> None:
    """Add it as the newest; the oldest are dropped."""
    cache.pop(key, None)
    cache[key] = value
    while len(cache) > most:
        del cache[next(iter(cache))]
