"""The final answer at the end of a chain of thought, and the form in which final answers are compared."""

from __future__ import annotations

import re

from tasks.normalise import half_width

_LABEL = r"(?:(?:the |my )?final |the |my )?answer"
_LABELLED = re.compile(rf"\A[\s*_`#>-]*{_LABEL}[*_`]*[ \t]?[:：](.*)", re.IGNORECASE)
_HEADING = re.compile(
    rf"\A\s*(?:#{{1,6}}[ \t]*[*_]{{0,3}}|\*\*|__){_LABEL}[*_]{{0,3}}\s*", re.IGNORECASE
)  # alone on its line
_INLINE = re.compile(rf"(?<=[.!?])[ \t]+(?=[*_`]{{0,3}}{_LABEL}[*_`]{{0,3}}[:：])", re.IGNORECASE)  # after a sentence
_THOUGHT = re.compile(r"\A[\s*_`#>]{0,20}thought[*_`]{0,3}[:：][*_`]{0,3}\s*", re.IGNORECASE)
_MARKS = "*_` "  # of Markdown, around an answer; within one they are its own
_OUTER = " .。!\"'“”"
_LEAD = re.compile(r"^(?:so |thus |therefore )?,? ?(?:the (?:final )?answer is|it is|=|≈)\s*", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")
# Around all of an answer: of TeX, and round brackets around one word, or square ones around the letter of a choice.
_DRESSED = re.compile(
    r"\$\$?([^$]+)\$\$?|\\\((.+)\\\)|\\\[(.+)\\\]|\\(?:boxed|text|mathrm)\{([^{}]+)\}|\((\w+)\)|\[([a-z])\]"
)
_NUMBER = re.compile(r"^[$€£]?\s*(-?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?)\s*(.*)$")


def final_of(reply: str) -> tuple[str, str] | None:
    """The text before the last line that begins with `Answer:`, and the answer on that line; None where there is no
    such line, no text before it or no answer. Below a label that is alone on its line the answer is the last line.
    After a sentence, `Answer:` begins a line; a label `Thought:` is none of the text."""
    lines = _INLINE.sub("\n", _THOUGHT.sub("", reply.strip())).splitlines()
    for place in range(len(lines) - 1, -1, -1):
        labelled = _LABELLED.fullmatch(lines[place])
        if not labelled and not _HEADING.fullmatch(lines[place]):
            continue
        thought, answer = "\n".join(lines[:place]).strip(), labelled[1].strip(_MARKS) if labelled else ""
        if not answer:
            below = [line for line in lines[place + 1 :] if line.strip()]
            answer = below[0].strip(_MARKS) if len(below) == 1 else ""
        return (thought, answer) if thought and answer else None
    return None


def compared(answer: str) -> str:
    """An answer as it is compared with others: lower case, one space, no article, marks or closing full stop; a
    number without grouping commas, currency sign or trailing zeros; without what TeX or brackets put around it."""
    text = _LEAD.sub("", " ".join(half_width(answer).replace("−", "-").split()).lower()).strip(_OUTER)
    for _ in range(3):
        if found := _DRESSED.fullmatch(text):
            text = "".join(filter(None, found.groups())).strip(_OUTER)
    if not (found := _NUMBER.match(text)):
        return _ARTICLE.sub("", text)
    number = found[1].replace(",", "")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number} {found[2]}".strip()
