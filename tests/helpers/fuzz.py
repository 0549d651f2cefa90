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
        """Show each reply; what `see` raises is reported with a short reply that causes it."""

        @settings(
            max_examples=self.count,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.binary(min_size=1, max_size=12).map(self._reply))
        def shown(reply: str) -> None:
            see(reply)

        shown()

    def _reply(self, drawn: bytes) -> str:
        """The reply that some bytes stand for: a list of strategies would take ten times as long to draw from."""
        kind, *each = drawn
        if kind < 128:
            text = "".join(self.pieces[n % len(self.pieces)] for n in each[:6])
        else:
            text = "".join(self._part(n, other) for n, other in zip(each, reversed(each), strict=True))
        return text[: sum(each)] if kind % 3 == 2 else text

    def _part(self, n: int, other: int) -> str:
        """A piece, junk, or any character."""
        if n < 112:
            return self.pieces[n % len(self.pieces)]
        return _JUNK[n % len(_JUNK)] if n < 192 else chr(n * other * 23 % 0x110000)

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
