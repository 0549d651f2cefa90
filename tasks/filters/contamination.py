"""Keeps evaluation prompts out of the data: the same words, or a long run of the same words.

The run of 13 tokens is the figure of GPT-3's decontamination (arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.filters.rouge import tokens

REASON = "contaminated: evaluation prompt"


class Contamination:
    """The evaluation prompts of a run. `n` is the length in tokens of a run of words that counts as taken over."""

    def __init__(self, prompts: Iterable[str], n: int = 13) -> None:
        if n < 1:
            raise ValueError(f"contamination: got n = {n}, expected at least 1 token; 13 is usual")
        self._n = n
        taken = [found for prompt in prompts if (found := tuple(tokens(prompt)))]
        self._whole = set(taken)
        self._runs = {run for prompt in taken for run in self._runs_of(prompt)}

    def reason(self, text: str) -> str | None:
        """`REASON` if the text is an evaluation prompt, or shares a run of n tokens with one; else None."""
        found = tuple(tokens(text))
        return REASON if found in self._whole or any(run in self._runs for run in self._runs_of(found)) else None

    def _runs_of(self, found: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        return (found[i : i + self._n] for i in range(len(found) - self._n + 1))
