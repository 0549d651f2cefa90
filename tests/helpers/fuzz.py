"""Replies as no model should write them, by `hypothesis`: pieces of good ones, junk, and cuts anywhere.

They are the same each time (derandomised); if a parser fails, the shortest reply on which it fails is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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


@dataclass(frozen=True)
class Replies:
    """So many replies, for a loop, or for `outcomes`."""

    pieces: tuple[str, ...]
    count: int

    def each(self, see: Callable[[str], None]) -> None:
        """Show each reply; what `see` raises is reported with the shortest reply that causes it."""
        good, junk = st.sampled_from(self.pieces), st.sampled_from(_JUNK)
        text = (st.lists(good, max_size=6) | st.lists(good | junk | st.text(max_size=12), max_size=8)).map("".join)
        cut = st.tuples(text, st.none() | st.none() | st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])

        @settings(
            max_examples=self.count,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(cut)
        def shown(reply: str) -> None:
            see(reply)

        shown()

    def __iter__(self) -> Iterator[str]:
        found: list[str] = []
        self.each(found.append)
        return iter(found)


def replies(pieces: Sequence[str], count: int) -> Replies:
    """Replies of up to eight pieces, junk or any text, a third of them cut."""
    return Replies(tuple(pieces), count)


def outcomes(
    parse: Callable[[str], object], texts: Replies, allowed: type[Exception] | tuple[type[Exception], ...]
) -> dict[str, object]:
    """Reply → what was read, for those that were; any other fault than the allowed one is raised."""
    read: dict[str, object] = {}

    def see(reply: str) -> None:
        with suppress(allowed):
            read[reply] = parse(reply)

    texts.each(see)
    return read
