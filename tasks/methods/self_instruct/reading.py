"""Reads a numbered list in a reply: each item with the material that it is about."""

from __future__ import annotations

import re
import textwrap

from tasks.fences import outside
from tasks.normalise import plain_item, structured
from tasks.step import ParseError

_NUMBER = re.compile(r"\A[^\S\n]*+(\d{1,4})\s?[.)](?:\s+|$)")
# Read as a number where the reply has none in the usual forms: "1\. x", "1: x", "1.Write", "[1] x", "Task 1: x".
_ODD = re.compile(
    r"\A[^\S\n]*+(?:#{1,6}[^\S\n]+)?[*_]{0,3}(?:(?:Task|Question|Instruction|Item|Topic|Prompt)[^\S\n]{1,2}#?(\d{1,4})"
    r"(?:[*_]{0,3}[.:)][*_]{0,3}|[*_]{0,3}[^\S\n]*$)|(\d{1,4})(?:\\[.)]|:)[*_]{0,3}(?=\s)|(\d{1,2})\.(?=[^\W\d_]{2})|"
    r"\[(\d{1,4})\][*_]{0,3}|([①-⑳]))[^\S\n]*",
    re.IGNORECASE,
)
_LINE = re.compile(r"^", re.MULTILINE)
_BLANK = re.compile(r"\n(?:[^\S\n]*+\n)++")
_DEEPER = 2  # blanks by which a number that belongs to an item is indented
# The task is what precedes it.
_ANSWERED = re.compile(
    r"(?<=\n)[^\S\n]*+[*_]{0,3}(?:Answer|Output|Response|Solution)[*_]{0,3}:|(?<=[.?!]\n)The answer is\b|"
    r"(?<=\?)[^\S\n](?:Answer|Output|Response):\s[^.!?\n]*+[.!?]?(?=\n|\Z)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\A\s*+\*\*([^*\n]{1,60}[^*\n.?!:])\*\*:?[^\S\n]*\n(?=[^\n])")  # "**Poem**", and the task below it
_LABEL = re.compile(r"\A(?:The )?(?:task|instruction|question|prompt)(?: is)?: +(?=\S)", re.IGNORECASE)
# What a task is about may follow it after an empty line: indented, quoted or labelled.
_MATERIAL = re.compile(
    r"[^\S\n]{2}|[>\"“„«「]|```|[*_]{0,3}(?:Input|Text|Context|Passage|Paragraph|Sentence|Sentences|Code|Data|List|"
    r"Table|Email|Review|Article)[*_]{0,3}:",
    re.IGNORECASE,
)
# Below a list, and no part of its last item.
_REMARK = re.compile(
    r"(?<=[.?!。！？\"”)\n])\n(?:[*_(]{0,3}note\b[*_]{0,3}:|(?:i )?hope (?:this|these|that|it) helps?\b|"
    r"(?:please )?let me know if you\b|(?:please )?feel free to\b|would you like me to\b|"
    r"if you(?:['’]d like| (?:need|want|would like)) (?:more|any|further|additional|other|me)\b|"
    r"(?:these|the above) (?:tasks|instructions|questions|prompts|topics|items|examples)\b)[^\n]*\Z",
    re.IGNORECASE,
)


def numbered_items(reply: str, continues: bool) -> list[str]:
    """The items of a numbered list, whatever their numbers are.

    Args:
        reply: the model's text.
        continues: the prompt ended in a number, so the text before the reply's first number is an item too.

    Raises:
        ParseError: there is no item.
    """
    return [text for _, text in numbered(reply, 0 if continues else None)]


def numbered(reply: str, first: int | None) -> list[tuple[int, str]]:
    """Number and text of each item of a list: a task on one line, as the paper's request does, and its material below.

    A task ends at an empty line. One that ends in a colon has what follows it too; another one only what is indented,
    quoted, fenced or labelled. A number inside of fenced code, or one that is indented, is part of an item.

    Args:
        reply: the model's text.
        first: the number that the prompt ended in, and so that of the text before the reply's first number; None where
            the prompt did not.

    Raises:
        ParseError: there is no item.
    """
    pieces = _pieces(_unfenced(reply.replace("\r\n", "\n")), first)
    items = [(number, _item(piece)) for number, piece in pieces]
    if not (found := [(number, item) for number, item in items if item]):
        raise ParseError("no numbered list")
    return found


def _unfenced(text: str) -> str:
    """The text without a fence around all of it."""
    lines = text.strip().split("\n")
    is_fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1] == "```" and text.count("```") == 2
    return "\n".join(lines[1:-1]) if is_fenced else text


def _pieces(text: str, first: int | None) -> list[tuple[int, str]]:
    """Number and text of each item, as they stand there; without a number only where the prompt ended in one."""
    begins = {found.start() for found in outside(_LINE, text)}
    lines, place = list[tuple[str, bool]](), 0
    for line in text.split("\n"):
        lines.append((line, place in begins))
        place += len(line) + 1
    usual = [_usual(line) if is_outside else None for line, is_outside in lines]
    if first is None and not any(usual):
        usual = [_odd(line) if is_outside else None for line, is_outside in lines]
    usual = _without_doubles(usual, single=int(first is not None))
    pieces = [(first, [""])] if first is not None else []
    margin = 0 if first is not None else None
    inner = False  # whether the last number belonged to an item
    for (line, _), found in zip(lines, usual, strict=True):
        if found is not None:
            depth = len(line) - len(line.lstrip())
            margin = depth if margin is None else margin
            # A list may itself be indented from its second item on.
            begins_one = bool(pieces) and (found[0] == 1 or found[0] != pieces[-1][0] + 1)
            inner = depth >= margin + _DEEPER and (inner or begins_one)
            if not inner:
                pieces.append((found[0], [found[1]]))
                continue
        if pieces:
            pieces[-1][1].append(line)
    return [(number, "\n".join(piece)) for number, piece in pieces]


def _usual(line: str) -> tuple[int, str] | None:
    plain = structured(line)
    return (int(found[1]), plain[found.end() :]) if (found := _NUMBER.match(plain)) else None


def _without_doubles(found: list[tuple[int, str] | None], single: int) -> list[tuple[int, str] | None]:
    """Numbers and texts of lines without a second number, if each has its own twice: "1. 1. x", "2. 2. y".

    Args:
        single: how many may have theirs once: the first one, where the prompt ended in its number.
    """
    twice = [one and (again := _NUMBER.match(one[1])) and int(again[1]) == one[0] and again.end() for one in found]
    doubled = sum(bool(end) for end in twice)
    if doubled < 2 or doubled + single < sum(one is not None for one in found):
        return found
    return [(one[0], one[1][end:]) if one and end else one for one, end in zip(found, twice, strict=True)]


def _odd(line: str) -> tuple[int, str] | None:
    if not (found := _ODD.match(line)):
        return None
    number = next(filter(None, found.groups()))
    return int(number) if number.isdecimal() else ord(number) - ord("①") + 1, line[found.end() :]


def _item(piece: str) -> str:
    piece = _REMARK.sub("", piece.rstrip()).strip()
    if answered := outside(_ANSWERED, piece):
        piece = piece[: answered[0].start()].rstrip()
    text, *further = _paragraphs(piece)
    task, fence, code = text.partition("```")
    text = plain_item(_LABEL.sub("", plain_item(" ".join(_TITLE.sub(r"\1: ", task).split()))))
    is_open = text.endswith((":", "：")) and not fence
    if fence:  # code keeps its lines
        text = f"{text}\n{fence}{code}".strip()
    if not is_open:
        end = next((place for place, each in enumerate(further) if not _MATERIAL.match(each)), len(further))
        further = further[:end]
    material = "\n\n".join(textwrap.dedent(each).strip() for each in further)
    return f"{text}\n{material}" if material else text


def _paragraphs(text: str) -> list[str]:
    """The text's parts between empty lines, of which those of fenced code are none."""
    blank = outside(_BLANK, text)
    begins, ends = [0, *(each.end() for each in blank)], [*(each.start() for each in blank), len(text)]
    return [text[begin:end] for begin, end in zip(begins, ends, strict=True)]
