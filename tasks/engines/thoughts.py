"""Reasoning models write their thought before the answer. It is cut off here, for every engine, so that no parser and
no record gets it."""

from __future__ import annotations

import re

_TAGS = r"(think|thinking|thought|reasoning|seed:think)"
_BEGIN = re.compile(rf"\s*+(?:<{_TAGS}>|(\[THINK\]))", re.IGNORECASE)
# A tag in quotes is spoken about; it ends nothing.
_MARK = re.compile(rf"(?<![`'\"“‘])(?:<(/?){_TAGS}>|\[(/?)THINK\])", re.IGNORECASE)


def without_thought(text: str) -> str:
    """The answer in a reply: what follows its thought, and the reply itself where there is none.

    A thought is what stands between `<think>` at the reply's beginning and the first `</think>` after it (or
    `<thinking>`, `<reasoning>`, `[THINK]` …), and several may follow each other. Some chat templates write the
    beginning into the prompt: then all before a `</think>` that nothing opened is thought. A reply that ends within its
    thought has no answer, and its text is empty. A tag later in an answer, or in quotes, cuts nothing.
    """
    answer, is_first = text, True
    while begin := _BEGIN.match(answer):
        tag = begin[1] or "THINK"
        end = re.compile(rf"</{tag}>|\[/{tag}\]", re.IGNORECASE).search(answer, begin.end())
        if end is None:
            return ""
        answer, is_first = answer[end.end() :], False
    if is_first and (mark := _MARK.search(text)) and "/" in (mark[1] or "", mark[3] or ""):
        return without_thought(text[mark.end() :]).lstrip()
    return text if is_first else answer.lstrip()
