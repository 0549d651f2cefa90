"""What changed from one text to another, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

MOST = 2500  # words of either text that are compared; finding differences takes time that grows with their product
_WORDS = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)
Part = tuple[str, str]  # 'same' | 'gone' | 'new', and the text


def worddiff(before: str, after: str) -> list[Part] | None:
    """The parts of both texts in order: same, gone (in the first alone), new (in the second alone).

    Returns:
        None where a text is too long to be compared.
    """
    old, new = _words(before), _words(after)
    if old is None or new is None:
        return None
    parts: list[Part] = []
    for what, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=True).get_opcodes():
        if what == "equal":
            parts.append(("same", "".join(old[a:b])))
            continue
        parts += [("gone", "".join(old[a:b]))] if b > a else []
        parts += [("new", "".join(new[c:d]))] if d > c else []
    return parts


def _words(text: str) -> list[str] | None:
    words = []
    for found in _WORDS.finditer(text):
        words.append(found[0])
        if len(words) > MOST:
            return None
    return words
