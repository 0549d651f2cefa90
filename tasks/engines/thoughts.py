"""Reasoning models write their thought before the answer. It is split off here, for every engine: the attempt stores
it, and no parser and no record gets it."""

from __future__ import annotations

import re

_TAG = re.compile(
    r"(?P<open>[<\[◁])[ \t]{0,2}(?P<end>/?)[ \t]{0,2}"
    r"(?P<name>think|thinking|thought|reasoning|seed:think)[ \t]{0,2}[>\]▷]|"
    r"<\|(?P<side>begin|start|end)_(?:of_thought|thinking)\|>",
    re.IGNORECASE,
)
# Tags that an answer may have been asked for: a thought only in front of an answer without such.
_ASIDE = re.compile(r"<(analysis|reflection|scratchpad)>", re.IGNORECASE)
_ANSWERS = re.compile(r"(?!<)\S|<(?:answer|output|response|think|reflection|scratchpad|[|])", re.IGNORECASE)
_SOLUTION = re.compile(
    r"\A\s*+<\|(?:begin_of_(?:solution|box)|start_response)\|>\s*|"
    r"\s?<\|(?:end_of_(?:solution|box)|end_response)\|>\s*+\Z",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"\s*+")
_QUOTES = frozenset("`'\"“”‘’")


def split_thought(text: str) -> tuple[str | None, str]:
    """A reply's thought, tags and all, and its answer: what follows it, or the reply itself where there is none.

    A thought is the text between `<think>` at the reply's beginning and the first `</think>` after it (or
    `<thinking>`, `[THINK]`, `<|begin_of_thought|>` …), or the first end of another name where there is none of its own;
    several may follow each other. Some chat templates write the beginning into the prompt: then all before a `</think>`
    that nothing opened is thought. A reply that ends within its thought has no answer, and its text is empty. A tag
    later in an answer, or in quotes, cuts nothing.
    """
    tags = [found for found in _TAG.finditer(text) if not _is_quoted(text, found)]
    ends = {_name(tag): tag.start() for tag in tags if _is_end(tag)}  # the last one of each name
    place = tags[0].end() if tags and _is_end(tags[0]) else 0
    following = iter(tags)
    while True:
        start = _start(text, place)
        if begin := _ASIDE.match(text, start):
            end = re.compile(f"</{begin[1]}>", re.IGNORECASE).search(text, start)
            if end is None or not _ANSWERS.match(text, _start(text, end.end())):
                break
            place = end.end()
        elif (tag := _TAG.match(text, start)) and not _is_end(tag):
            own = ends.get(_name(tag), -1) >= start
            after = (each for each in following if each.start() > start and _is_end(each))
            closing = next((each for each in after if not own or _name(each) == _name(tag)), None)
            if closing is None:
                return text, ""
            place = closing.end()
        else:
            break
    answer = _SOLUTION.sub("", text[place:])
    return (text[:place], answer.lstrip()) if place else (None, answer)


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    """Whether a tag is meant as a word, as `</think>` in backticks."""
    return text[tag.start() - 1 : tag.start()] in _QUOTES and text[tag.end() : tag.end() + 1] in _QUOTES


def _is_end(tag: re.Match[str]) -> bool:
    return tag["end"] == "/" or (tag["side"] or "").casefold() == "end"


def _name(tag: re.Match[str]) -> str:
    """The name of a thought, with its bracket: an end of the same name closes it."""
    return f"{tag['open']}{tag['name']}".casefold() if tag["name"] else ""


def _start(text: str, place: int) -> int:
    """Where the words after a place begin."""
    blanks = _BLANKS.match(text, place)
    return blanks.end() if blanks else place
