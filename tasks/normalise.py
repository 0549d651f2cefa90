"""One normaliser in front of every parser: removes Markdown and announcements from replies.

Pure functions of text; the raw text stays in the attempt. They remove only form: emphasis and headings around a label
or a number, a label or an announcement before an answer, a remark after it, quotes or a fence around all of it. The
content stays, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_EMPHASIS = r"[*_`]{0,3}"
_NUMBER = re.compile(
    rf"^[^\S\n]*(?:#{{1,6}}[^\S\n]+|[-*+][^\S\n]+)?{_EMPHASIS}[(（]?(\d{{1,4}}){_EMPHASIS}(?:\s?[.)]|[、．）]){_EMPHASIS}"
    r"(?=\s|(?<=[、．）*_`]))[^\S\n]*(?=\S)",
    re.MULTILINE,
)
# Code in a line stays as it is, and so do names such as __init__: what __ makes bold is a phrase.
_BOLD = re.compile(
    r"(`[^`\n]+`)|(?<![\w*])\*\*(?=\S)((?:(?!\*\*)[^\n])+?)(?<=\S)\*\*(?![\w*])|"
    r"(?<!\w)__(?=\S)((?:(?!__)\S)+ (?:(?!__)[^\n])+?)(?<=\S)__(?!\w)"
)
_FENCED = re.compile(r"```(?:text|markdown|md|plaintext)?[^\S\n]*\n((?:(?!```).)*)\n```", re.DOTALL | re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "「": "」"}

_KIND = r"(?:revised|corrected|edited|improved|rewritten|updated|modified|final|new|better|direct)"
_THING = r"(?:answer|response|reply|version|text|message)"
# "Revised answer:" and "Correction:" are labels; "My revised plan:" and "Response times:" are content.
LABELS = (
    rf"(?:the |my |your )?{_KIND} {_THING}",
    r"(?:the )?correction",
    r"(?:the )?revision",
    r"(?:answer|response|reply)",
)
_OPENING = (
    r"(?:(?:sure|certainly|of course|absolutely|ok|okay|yes|thank you|thanks)\b[,.!]*\s*|"
    r"(?:i apologi[sz]e|i[’']m sorry|my apologies|apologies)\b[^.!?:\n]{0,80}[.!]\s*)*"
)
_ANNOUNCED = (
    r"(?:here(?:['’]s| is| are)|below is|this is|the following is|i(?:['’]ve| have) (?:revised|rewritten|edited))"
)
_NAMED = (
    rf"(?:{_KIND} {_THING}|revision|correction|critique|"
    rf"(?:revis|rewrit|correct|edit)\w* (?:of )?(?:the |my |your )?{_THING})"
)
# "Here is my revised answer to you:" is a preamble; "Here is a recipe for soup:" is not.
_PREAMBLE = re.compile(
    rf"{_OPENING}{_ANNOUNCED}[^:.!?\n]{{0,40}}?\b{_NAMED}\b[^:!?\n]{{0,120}}:[*_]*\s*", re.IGNORECASE
)
_UNCHANGED = r"no (?:further |other )?(?:changes?|edits?|corrections?|revisions?|mistakes?|errors?|problems?)\b"
# How a last paragraph begins that speaks of the answer before it. "The final answer is 42." and "Note: bring an
# umbrella." belong to one.
_MADE = r"i (?:have |['’]ve )?(?:removed|changed|corrected|edited|kept|added|revised|replaced|rewrote|rewritten)\b"
_OF_ITSELF = (
    r"(?:this|the) (?:revised|corrected|edited|improved|rewritten|updated|modified) (?:(?:answer|response|reply)\b|"
    r"version (?:now|no longer|removes|avoids|provides|addresses|focuses|keeps|maintains|includes|is more)\b)"
)
_REMARK = re.compile(
    rf"[*_(\[]{{0,4}}(?:(?:changes made|reason for (?:the )?(?:changes?|revision))[*_]{{0,2}}:|"
    rf"note[*_]{{0,2}}:[*_]{{0,2}}\s*(?:{_MADE}|{_OF_ITSELF}|{_UNCHANGED})|{_OF_ITSELF}|"
    rf"{_UNCHANGED}[^.\n]{{0,60}}(?:needed|necessary|required|made|found)|"
    rf"{_MADE}[^\n]{{0,200}}?\b(?:answer|response|reply)\b)",
    re.IGNORECASE,
)


def structured(reply: str, labels: Sequence[str] = ()) -> str:
    """The reply with plain labels and numbers at the beginning of its lines, without Markdown.

    `**Answer:** x`, `### Answer` and `Answer：x` become `Answer: x`; `**9.** x`, `9、x` and `9) x` become `9. x`.

    Args:
        labels: in their plain form, such as "Answer".
    """
    text = reply.replace("\r\n", "\n")
    for label in labels:
        text = _labelled(label).sub(f"{label}: ", text)
    return _NUMBER.sub(lambda found: f"{int(found[1])}. ", text)


@lru_cache(maxsize=64)
def _labelled(label: str) -> re.Pattern[str]:
    """The label in any form: with a colon; or alone on its line, as a heading or in bold letters."""
    lead = r"^[^\S\n]*(?:[>*+-][^\S\n]+)?"
    word = rf"(?:final )?{re.escape(label)}"
    heading = rf"#{{1,6}}[^\S\n]*{_EMPHASIS}{word}{_EMPHASIS}[:：]?{_EMPHASIS}"
    bold = rf"(?:\*\*|__){word}[:：]?(?:\*\*|__)[:：]?"
    plain = rf"{_EMPHASIS}{word}{_EMPHASIS}[^\S\n]?[:：]{_EMPHASIS}"
    alone = rf"(?:{heading}|{bold})[^\S\n]*(?:\n+|\Z)"
    return re.compile(rf"{lead}(?:{alone}|(?:#{{1,6}}[^\S\n]*)?{plain}[^\S\n]*)", re.MULTILINE | re.IGNORECASE)


def plain_item(text: str) -> str:
    """An item of a list without bold letters, and without quotes around all of it."""
    return unquoted(_BOLD.sub(lambda found: found[1] or found[2] or found[3], text).strip())


def plain_answer(reply: str, labels: Sequence[str] = LABELS) -> str:
    """The answer in a reply: without its label, announcement and closing remark, and enclosing marks."""
    text = reply.replace("\r\n", "\n").strip()
    for _ in range(4):  # an announcement, then a label, then quotes; each may be there
        before = text
        text = _without_label(_PREAMBLE.sub("", text, count=1) if _PREAMBLE.match(text) else text, labels).strip()
        text = unquoted(_unfenced(text)).strip()
        if text == before:
            break
    return _without_remark(text)


def unquoted(text: str) -> str:
    """The text without enclosing quotes or bold marks."""
    for mark in ("**", "__"):
        inner = text[2:-2]
        if (
            inner
            and text.startswith(mark)
            and text.endswith(mark)
            and mark not in inner
            and (mark == "**" or " " in inner)
        ):
            text = text[2:-2].strip()
    opening, inner, closing = text[:1], text[1:-1], text[-1:]
    # Quotes inside mean that the outer two may not belong together: "Yes" and "no".
    if inner and _QUOTES.get(opening) == closing and opening not in inner and closing not in inner:
        return inner.strip()
    return text


def half_width(text: str) -> str:
    """The text with ASCII digits, letters and marks in place of full-width ones, for what is counted or compared."""
    return "".join(chr(ord(each) - 0xFEE0) if "！" <= each <= "～" else each for each in text).replace("　", " ")


def _without_label(text: str, labels: Sequence[str]) -> str:
    found = re.match(
        rf"(?:#{{1,6}}[^\S\n]*)?{_EMPHASIS}(?:{'|'.join(labels)}){_EMPHASIS}(?:[^\S\n]?[:：]{_EMPHASIS}\s*|[^\S\n]*\n+)",
        text,
        re.IGNORECASE,
    )
    if not found:
        return text
    # Without a colon it is one only as a heading or in bold letters.
    is_label = "\n" not in found[0].strip() and (found[0][:1] in "#*_" or ":" in found[0] or "：" in found[0])
    return text[found.end() :] if is_label else text


def _unfenced(text: str) -> str:
    found = _FENCED.fullmatch(text)
    return found[1] if found else text


def _without_remark(text: str) -> str:
    answer, _, last = text.rpartition("\n\n")
    if not answer and last.endswith((")", "]")):  # in brackets it may be on the next line
        answer, _, last = text.rpartition("\n")
        last = last if last.startswith(("(", "[")) else ""
    return answer.rstrip() if answer.strip() and _REMARK.match(last.lstrip()) else text
