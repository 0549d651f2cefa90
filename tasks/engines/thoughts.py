"""Reasoning models write their thought before the answer. It is split off here, for every engine: the attempt stores
it, and no parser and no record gets it."""

from __future__ import annotations

import re

_TAG = re.compile(r"[<\[]/?(?:think|thinking|thought|reasoning|seed:think)[>\]]", re.IGNORECASE)
_BLANKS = re.compile(r"\s*+")
_QUOTES = frozenset("`'\"“”‘’")


def _next_tag(text: str, place: int, tag: str = "") -> re.Match[str] | None:
    """The next tag, or the one at this place, that is not quoted, as `</think>` in backticks."""
    for found in _TAG.finditer(text, place):
        quoted = text[found.start() - 1 : found.start()] in _QUOTES and text[found.end() : found.end() + 1] in _QUOTES
        if not quoted and tag in ("", found[0].casefold()):
            return found
    return None


def split_thought(text: str) -> tuple[str | None, str]:
    """A reply's thought, tags and all, and its answer: what follows it, or the reply itself where there is none.

    A thought is the text between `<think>` at the reply's beginning and the first `</think>` after it (or
    `<thinking>`, `<reasoning>`, `[THINK]` …), and several may follow each other. Some chat templates write the
    beginning into the prompt: then all before a `</think>` that nothing opened is thought. A reply that ends within its
    thought has no answer, and its text is empty. A tag later in an answer, or in quotes, cuts nothing.
    """
    first = _next_tag(text, 0)
    if first is None:
        return None, text
    place = first.end() if first[0][1] == "/" else 0
    while (begin := _TAG.match(text, _start(text, place))) and begin[0][1] != "/":
        tag = begin[0].casefold()
        end = _next_tag(text, begin.end(), f"{tag[0]}/{tag[1:]}")
        if end is None:
            return text, ""
        place = end.end()
    return (text[:place], text[place:].lstrip()) if place else (None, text)


def _start(text: str, place: int) -> int:
    """Where the words after a place begin."""
    blanks = _BLANKS.match(text, place)
    return blanks.end() if blanks else place
