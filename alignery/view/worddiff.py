"""What changed from one text to another, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

MOST = 2500  # words of either text that are compared; finding differences takes time that grows with their product
_WORDS = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)
Part = tuple[str, str]  # 'same' | 'gone' | 'new', and the text


def worddiff(before: str, after: str) -> list[Part] | None:
    """The parts of both texts in order: same, gone (only in the first), new (only in the second).

    Returns:
        None where a text is too long to be compared.
    """
    old, new = _words(before), _words(after)
    if old is None or new is None:
        return None
    parts: list[Part] = []
    gone, come = "", ""
    for what, a, b, c, d in SequenceMatcher(a=old, b=new).get_opcodes():
        same = "".join(old[a:b]) if what == "equal" else ""
        if what != "equal" or (same.isspace() and (gone or come)):  # a space between two changes is one with them
            gone, come = gone + "".join(old[a:b]), come + "".join(new[c:d])
            continue
        parts += _changed(gone, come)
        parts.append(("same", same))
        gone, come = "", ""
    return parts + _changed(gone, come)


def _changed(gone: str, come: str) -> list[Part]:
    """The two sides of a change; the space that both end with stays as it is."""
    space = gone[len(gone.rstrip()) :]
    if not (space and come.endswith(space)):
        space = ""
    sides = (("gone", gone.removesuffix(space)), ("new", come.removesuffix(space)), ("same", space))
    return [(kind, text) for kind, text in sides if text]


def _words(text: str) -> list[str] | None:
    words = []
    for found in _WORDS.finditer(text):
        words.append(found[0])
        if len(words) > MOST:
            return None
    return words
