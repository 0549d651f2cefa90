"""Reasoning models write their thought before the answer. It is cut off here, for every engine, so that no parser and
no record gets it."""

from __future__ import annotations

import re

_NAMES = "think|thinking|thought|reasoning|seed:think"
_BEGIN = re.compile(rf"\s*+(?P<tag><(?:{_NAMES})>|\[THINK\])", re.IGNORECASE)


def _unquoted(tag: str) -> re.Pattern[str]:
    """A tag that is not spoken about, as in `</think>`."""
    quote = "[`'\"“”‘’]"
    return re.compile(rf"(?<!{quote})(?:{tag})|(?:{tag})(?!{quote})", re.IGNORECASE)


_TAG = _unquoted(rf"</?(?:{_NAMES})>|\[/?THINK\]")


def without_thought(text: str) -> str:
    """The answer in a reply: what follows its thought, and the reply itself where there is none.

    A thought is what stands between `<think>` at the reply's beginning and the first `</think>` after it (or
    `<thinking>`, `<reasoning>`, `[THINK]` …), and several may follow each other. Some chat templates write the
    beginning into the prompt: then all before a `</think>` that nothing opened is thought. A reply that ends within its
    thought has no answer, and its text is empty. A tag later in an answer, or in quotes, cuts nothing.
    """
    first = _TAG.search(text)
    place = first.end() if first and first[0][1] == "/" else 0
    while begin := _BEGIN.match(text, place):
        tag = begin["tag"]
        end = _unquoted(re.escape(f"{tag[0]}/{tag[1:]}")).search(text, begin.end())
        if end is None:
            return ""
        place = end.end()
    return text[place:].lstrip() if place else text
