"""One normaliser in front of every parser: removes Markdown and announcements from replies.

Pure functions of text; the raw text stays in the attempt. They remove only form: emphasis and headings around a label
or a number, a label or an announcement before an answer, a remark after it, quotes or a fence around all of it. The
content stays, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from tasks.patterns import lazy_pattern

_EMPHASIS = r"[*_`]{0,3}"
_NUMBER = lazy_pattern(
    rf"^[^\S\n]*(?:#{{1,6}}[^\S\n]+|[-*+][^\S\n]+)?{_EMPHASIS}[(（]?(\d{{1,4}}){_EMPHASIS}(?:\s?[.)]|[、．）]){_EMPHASIS}"
    r"(?=\s|(?<=[、．）*_`]))[^\S\n]*(?=\S)",
    re.MULTILINE,
)
# Code in a line stays as it is, and so do names such as __init__: what __ makes bold is a phrase.
_BOLD = lazy_pattern(
    r"(`[^`\n]+`)|(?<![\w*])\*\*(?=\S)((?:(?!\*\*)[^\n])+?)(?<=\S)\*\*(?![\w*])|"
    r"(?<!\w)__(?=\S)((?:(?!__)\S)+ (?:(?!__)[^\n])+?)(?<=\S)__(?!\w)"
)
_FENCED = lazy_pattern(r"```(?:text|markdown|md|plaintext)?[^\S\n]*\n((?:(?!```).)*)\n```", re.DOTALL | re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "「": "」"}

_KIND = r"(?:revised|corrected|edited|improved|rewritten|updated|modified|final|new|better|direct)"
_THING = r"(?:answer|response|reply|version|text|message)"
# "Revised answer:" and "Correction:" are labels; "My revised plan:", "Response times:" and "Revised: May 2020" are not.
LABELS = (
    rf"(?:the |my |your )?{_KIND} {_THING}",
    r"(?:the )?correction",
    r"(?:the )?revision",
    r"(?:revised|corrected|edited|rewritten|improved|rewrite)(?![*_`]{0,3}[:：][^\n]{0,24}\b(?:19|20)\d\d\b)",
    r"(?:the |my )?answer",
    r"(?:my )?(?:response|reply)",
)
_EDIT = (
    r"(?:revised?|correct(?:ed)?|edit(?:ed)?|improved?|rewrit(?:e|ten)|rephrased?|updated?|change|modif(?:y|ied)|fix)"
)
_I_WOULD = r"i(?:['’]d| would|['’]ll| will)"
_OPENING = (
    r"(?:(?:sure|certainly|of course|absolutely|ok|okay|yes|thank you|thanks)\b[,.!]*\s*|"
    r"(?:i apologi[sz]e|i[’']m sorry|my apologies|apologies)\b[^.!?:\n]{0,80}[.!]\s*|"
    r"(?:i can|i['’]d be|i would be|i['’]ll be|i['’]m) (?:happy|glad|help)\b[^.!?:\n]{0,60}[.!]\s*)*"
    r"(?:(?:based on|given|following|considering|after|to|in light of|taking|with|in response to|as)\b"
    r"[^,.:!?\n]{0,80},\s*)?"
)
_HERE = r"(?:here(?:['’]s| is| are)|below is|the following is)"
_ANNOUNCED = rf"(?:{_HERE}|this is|i(?:['’]ve| have) (?:revised|rewritten|edited))"
_NAMED = (
    rf"(?:{_KIND} {_THING}|revision|correction|critique|"
    rf"(?:revis|rewrit|correct|edit)\w* (?:of )?(?:the |my |your )?{_THING})"
)
_IT = rf"(?:it|this|that|(?:the|my|your) (?:\w+ )?{_THING})"
# "Here is my revised answer to you:" is a preamble; "Here is a recipe for soup:" is not.
_PREAMBLE = lazy_pattern(
    rf"{_OPENING}(?:{_ANNOUNCED}[^:.!?\n]{{0,40}}?\b{_NAMED}\b[^:!?\n]{{0,120}}:|"
    rf"{_HERE}[^:.!?\n]{{0,40}}?\b{_NAMED}\b[^:.!?\n]{{0,80}}[.!](?=[*_]*\s*\n)|"
    rf"(?:the|an?|my) (?:{_EDIT}|better) {_THING} (?:is|reads|(?:would|should|could|might) (?:be|read))"
    rf"(?: as follows)?:|"
    rf"(?:{_HERE} how )?{_I_WOULD} {_EDIT} {_IT}(?: as follows| like this)?:|"
    rf"(?<=answer, ){_I_WOULD} (?:say|write|put it)(?: as follows| like this)?:)[*_]*\s*",
    re.IGNORECASE,
)
_UNCHANGED = r"no (?:further |other )?(?:changes?|edits?|corrections?|revisions?|mistakes?|errors?|problems?)\b"
# How a last paragraph begins that speaks of the answer before it. "The final answer is 42.", "Note: bring an umbrella."
# and "The previous reply was sent on Monday." belong to one.
_MADE = r"i (?:have |['’]ve )?(?:removed|changed|corrected|edited|kept|added|revised|replaced|rewrote|rewritten)\b"
_EDITED = r"(?:revised|corrected|edited|improved|rewritten|updated|modified)"
_REPLY = r"(?:answer|response|reply)"
_BETTER = (
    r"(?:now |much )?more (?:accurate|helpful|complete|concise|clear|appropriate|respectful|informative|detailed|"
    r"polite|balanced|neutral|harmless|precise|honest)\b"
)
_FOUND = (
    r"(?:not|too|wrong|fine|good|missing|false|harmful|dangerous|misleading|vague|(?:in|un)?(?:correct|accurate|complete|"
    r"clear|safe|helpful|appropriate)|corrected|edited|revised|changed|modified|rewritten|updated|improved)\b"
)
_SAID = (
    r"(?:contained|recommended|claimed|stated|suggested|said|gave|failed|lacked|included|advised|encouraged|described|"
    r"implied|did not|didn[’']t)\b"
)
_OF_ITSELF = (
    rf"(?:(?:this|the) {_EDITED} (?:{_REPLY}\b|version (?:now|no longer|removes|avoids|provides|addresses|focuses|"
    rf"keeps|maintains|includes|is more)\b)|"
    rf"this (?:version|{_REPLY}|revision) is (?:{_BETTER}|better (?:because|than)\b)|"
    rf"this revision (?:removes|corrects|avoids|addresses)\b|"
    rf"this (?:{_REPLY}|version) (?:was|has been) {_EDITED}\b|"
    rf"in (?:this|the) (?:{_EDITED} )?(?:{_REPLY}|version|revision),? {_MADE}|"
    rf"(?:the|my|your) (?:original|previous|initial) (?:{_REPLY} (?:(?:was|is)(?: \w+ly)? {_FOUND}|{_SAID})))"
)
_EDITS = r"(?:changes?|edits?|corrections?|revisions?|improvements?|modifications?)"
_SECTION = lazy_pattern(
    rf"(?:#{{1,6}} )?[*_(\[]{{0,4}}(?:the )?(?:{_EDITS} (?:(?:that )?i )?made|"
    rf"(?:explanation|summary|list|overview|description) of (?:the |my )?{_EDITS}(?: made)?|"
    rf"reasons? for (?:the |my )?{_EDITS})[*_]{{0,2}}(?::|[*_]*(?:\n|\Z))",
    re.IGNORECASE,
)
_OFFER = (
    rf"(?:(?:please )?let me know if you(?:[’']d| would)? (?:like|want) me to {_EDIT}[^.\n]{{0,40}}\b{_REPLY}\b|"
    rf"is there anything else you would like me to {_EDIT}\b)"
)
_REMARK = lazy_pattern(
    rf"{_SECTION.pattern}|[*_(\[]{{0,4}}(?:"
    rf"(?:note|explanation|rationale|reason)[*_]{{0,2}}:[*_]{{0,2}}\s*"
    rf"(?:{_MADE}|{_OF_ITSELF}|the original was|{_UNCHANGED})|{_OFFER}|"
    rf"{_OF_ITSELF}|{_UNCHANGED}[^.\n]{{0,60}}(?:needed|necessary|required|made|found)|"
    rf"{_MADE}[^\n]{{0,200}}?\b{_REPLY}\b)|[*_(\[]{{1,4}}{_EDITED} for(?: \w+){{1,5}}\W{{0,4}}\Z",
    re.IGNORECASE,
)
_LISTED = lazy_pattern(r"(?:[-*+•]|\d{1,3}[.)])\s")
_SECTION_PARAGRAPHS = 12  # of a list of changes, at the most
_RULE = lazy_pattern(r"-{3,}|\*{3,}|_{3,}")


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
    for _ in range(8):  # an announcement, a label, a rule, quotes, a remark; each may be within another
        before = text
        text = _without_label(_PREAMBLE.sub("", text, count=1) if _PREAMBLE.match(text) else text, labels).strip()
        text = unquoted(_unfenced(_without_rules(text))).strip()
        text = _without_remark(text)
        if text == before:
            break
    return text


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
        rf"(?:#{{1,6}}[^\S\n]*)?{_EMPHASIS}(?:{'|'.join(labels)})(?: \([^()\n]{{0,60}}\))?{_EMPHASIS}"
        rf"(?:[^\S\n]?[:：]{_EMPHASIS}\s*|[^\S\n]*\n+)|\[{_KIND} {_THING}\][:：]?\s*",
        text,
        re.IGNORECASE,
    )
    if not found:
        return text
    # Without a colon it is one only as a heading or in bold letters.
    is_label = "\n" not in found[0].strip() and (found[0][:1] in "#*_[" or ":" in found[0] or "：" in found[0])
    return text[found.end() :] if is_label else text


def _unfenced(text: str) -> str:
    found = _FENCED.fullmatch(text)
    return found[1] if found else text


def _without_rules(text: str) -> str:
    """The text without a rule (---) and a blank line at its beginning or end; without that line it is another mark."""
    lines = text.split("\n")
    for first, second in ((0, 1), (-1, -2)):
        if len(lines) > 2 and _RULE.fullmatch(lines[first].strip()) and not lines[second].strip():
            del lines[first]
    return "\n".join(lines).strip()


def without_section(text: str, opening: re.Pattern[str], heading: re.Pattern[str]) -> str:
    """The text without its last paragraph, if that begins so, or without such a heading and the lists after it."""
    answer, _, last = text.rpartition("\n\n")
    opens = opening.match(last.lstrip())
    for _ in range(_SECTION_PARAGRAPHS):
        if opens or not _LISTED.match(last.lstrip()):
            break
        answer, _, last = answer.rpartition("\n\n")
        opens = heading.match(last.lstrip())
    return answer.rstrip() if opens and answer.strip() else text


def _without_remark(text: str) -> str:
    if (less := without_section(text, _REMARK, _SECTION)) != text:
        return less
    answer, _, last = text.rpartition("\n")  # in brackets, or after a fence, it may be on the next line
    in_brackets = "\n\n" not in text and last.startswith(("(", "[")) and last.endswith((")", "]"))
    after_fence = answer.startswith("```") and answer.endswith("\n```")
    return answer.rstrip() if (in_brackets or after_fence) and answer.strip() and _REMARK.match(last) else text
