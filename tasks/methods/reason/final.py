"""The final answer at the end of a chain of thought, and the form in which final answers are compared."""

from __future__ import annotations

import re

_LABELLED = re.compile(r"\A[\s*_`#>]*answer[*_`]*:(.*)", re.IGNORECASE)
_INLINE = re.compile(r"(?<=[.!?])[ \t]+(?=[*_`]{0,3}answer[*_`]{0,3}:)", re.IGNORECASE)  # after a sentence
_THOUGHT = re.compile(r"\A[\s*_`#>]{0,20}thought[*_`]{0,3}:[*_`]{0,3}\s*", re.IGNORECASE)
_MARKS = "*_` "  # of Markdown, around an answer; within one they are its own
_LEAD = re.compile(r"^(?:so |thus |therefore )?,? ?(?:the (?:final )?answer is|it is|=|≈)\s*", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")
_NUMBER = re.compile(r"^[$€£]?\s*(-?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?)\s*(.*)$")


def final_of(reply: str) -> tuple[str, str] | None:
    """The text before the last line that begins with `Answer:`, and the answer on that line; None where there is no
    such line, no text before it or no answer on it. After a sentence, `Answer:` begins a line; a label `Thought:` is
    none of the text."""
    lines = _INLINE.sub("\n", _THOUGHT.sub("", reply.strip())).splitlines()
    for place in range(len(lines) - 1, -1, -1):
        if labelled := _LABELLED.fullmatch(lines[place]):
            thought, answer = "\n".join(lines[:place]).strip(), labelled[1].strip(_MARKS)
            return (thought, answer) if thought and answer else None
    return None


def compared(answer: str) -> str:
    """An answer as it is compared with others: lower case, one space, no article, marks or closing full stop; a
    number without grouping commas, currency sign or trailing zeros."""
    text = _LEAD.sub("", " ".join(answer.replace("−", "-").split()).lower()).strip(" .!\"'“”")
    if not (found := _NUMBER.match(text)):
        return _ARTICLE.sub("", text)
    number = found[1].replace(",", "")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number} {found[2]}".strip()
