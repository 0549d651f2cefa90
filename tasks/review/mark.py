"""A mark: one person's judgement of one row or pair. Checked here, so that no caller writes an invalid one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.untrusted import excerpt

NAME, NOTE, TEXT, BEST = 80, 2000, 100_000, 5.0  # characters of a name, a note and an edit; the best score
OF_ONE, OF_PAIR = ("right", "wrong", "flag", "clear"), ("first", "second", "tie", "flag", "clear")
SIDES = ("first", "second")


def other_side(side: str) -> str:
    """Of the two of a pair, the one that this is not."""
    return "second" if side == "first" else "first"


class MarkError(UsageError):
    """A mark is invalid; the message names the field and what was expected."""


@dataclass(frozen=True)
class Mark:
    """One person's judgement; at least one of verdict, score, text and note.

    Args:
        target_id: the record or attempt; of a pair its first.
        by: the person's name, as they give it.
        verdict: right, wrong or flag; of a pair first, second, tie or flag; clear withdraws the person's marks.
        other_id: the second of a pair.
        score: 0 to 5.
        text: the text as it should be, of one record.
        note: in the person's words.
        dimension: what is judged; None for the whole.
        shown_left: which of a pair was shown on the left: first or second.
        at: when; by default when it is written.
    """

    target_id: str
    by: str
    verdict: str | None = None
    other_id: str | None = None
    score: float | None = None
    text: str | None = None
    note: str | None = None
    dimension: str | None = None
    shown_left: str | None = None
    at: datetime | None = None
    origin: str = "cli"

    @property
    def thing(self) -> tuple[str, str | None, str | None]:
        """What it is about: the row or the pair, and the dimension."""
        return self.target_id, self.other_id, self.dimension

    @property
    def key(self) -> str:
        """What one person's marks on one thing share; the newest of them count."""
        return digest("mark", *self.thing, self.by)

    def checked(self) -> Mark:
        """The mark with its pair in the order of the ids, so that a pair is one thing whichever way it was shown.

        Raises:
            MarkError: a field is not as it should be.
        """
        for problem in self._problems():
            raise MarkError(f"mark on {excerpt(self.target_id, 60)}: {problem}")
        if self.other_id is None or self.target_id < self.other_id:
            return self
        verdict, left = (other_side(value) if value in SIDES else value for value in (self.verdict, self.shown_left))
        return replace(self, target_id=self.other_id, other_id=self.target_id, verdict=verdict, shown_left=left)

    def _problems(self) -> list[str]:
        """What is wrong with it: got, expected."""
        known, pair = (OF_ONE if self.other_id is None else OF_PAIR), self.other_id is not None
        short = {"by": self.by, "dimension": self.dimension, "target_id": self.target_id, "other_id": self.other_id}
        found = [
            f"{field}: got '{excerpt(value, NAME)}', expected a name of 1 to {NAME} printable characters"
            for field, value in short.items()
            if value is not None and (not value or excerpt(value, NAME) != value)
        ]
        for field, value, most in (("note", self.note, NOTE), ("text", self.text, TEXT)):
            if value is not None and (not value.strip() or len(value) > most or "\0" in value):
                found.append(f"{field}: got {len(value)} characters, expected 1 to {most:,}, not blank, no NUL")
        if self.verdict is not None and self.verdict not in known:
            found.append(f"verdict: got '{excerpt(self.verdict, NAME)}', expected one of {', '.join(known)}")
        if self.shown_left is not None and (not pair or self.shown_left not in SIDES):
            found.append(f"shown_left: got '{excerpt(self.shown_left, NAME)}', expected first or second, of a pair")
        if self.score is not None and not (math.isfinite(self.score) and 0 <= self.score <= BEST):
            found.append(f"score: got {self.score:g}, expected 0 to {BEST:g}")
        if pair and self.other_id == self.target_id:
            found.append("other_id: got the same row again, expected another; leave it out to mark one row")
        if pair and self.text is not None:
            found.append("text: got an edit of a pair, expected one row; mark the row that is edited")
        if (self.verdict, self.score, self.text, self.note) == (None,) * 4:
            found.append("got neither verdict, score, text nor note; give one of them")
        if self.at is not None and self.at.tzinfo is None:
            found.append("at: got a time without its zone, expected one with it")
        elif self.at is not None and self.at > datetime.now(UTC) + timedelta(days=1):  # it would win over later ones
            found.append(f"at: got {self.at:%Y-%m-%d}, which is to come, expected a time that has been")
        return found


def left_side(first: str, second: str, by: str) -> str:
    """Which of a pair a person is shown on the left, first or second: drawn from the two ids and the name.

    So a person sees about half of the pairs in each order, two people see a pair in different orders about half of the
    time, and the side does not reveal the model. The order in which the two ids are given does not matter.
    """
    low, high = sorted((first, second))
    lower_left = int(digest("left", low, high, by)[:8], 16) % 2 == 0
    return "first" if lower_left == (first == low) else "second"
