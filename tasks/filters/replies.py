"""Extracts the replacement of an answer (a revision or correction) from a reply.

The normaliser sees the reply alone and keeps whatever may be content. With the question and the answer known, more can
be removed: an echo of either, an enclosing tag, a list of changes, an apology, the next turn of a conversation. Text
that may be content is kept.
"""

from __future__ import annotations

import re

from tasks.normalise import LABELS, plain_answer, without_section
from tasks.patterns import lazy_pattern

_MARKS = r"(?:#{1,6}[^\S\n]*)?[*_]{0,3}"
_END = r"[*_]{0,3}(?:[^\S\n]?[:：][*_]{0,3}\s*|[^\S\n]*\n+)"
_QUESTION = lazy_pattern(
    rf"{_MARKS}(?:the )?(?:original )?(?:question|query|prompt|instruction|message|user){_END}", re.I
)
_GIVEN = lazy_pattern(
    rf"{_MARKS}(?:the )?(?:(?:original|previous|given|first|current) )?(?:answer|response|reply){_END}", re.I
)
_EDITED = lazy_pattern(rf"^{_MARKS}(?:{'|'.join(LABELS[:4])})(?: \([^()\n]{{0,60}}\))?{_END}", re.I | re.M)
_CRITIQUE = lazy_pattern(rf"{_MARKS}critique{_END}", re.I)
_APART = lazy_pattern(r"[*_]{0,3}[^\S\n]*\n[^\S\n]*\n")
_WORDS = 4  # of a question whose echo without a label is taken off; our choice
_TAGGED = lazy_pattern(
    r"<((?:(?:revised|corrected|edited|improved|final|new)[_ -]?)?(?:answer|response|reply|revision|correction))>"
    r"(.*)</\1>",
    re.I | re.S,
)
_MARKUP = lazy_pattern(r"\b(?:xml|html|tags?|markup)\b|</?\w", re.I)
_CHANGES = lazy_pattern(
    r"(?:#{1,6} )?[*_]{0,3}(?:the )?(?:(?:key|main|major|notable|specific) )?(chang|edit|correct|improve|modif|revis)"
    r"\w*(?: (?:are|include))?[*_]{0,3}:",
    re.I,
)
_RELEASE = lazy_pattern(r"\b(?:version|release|update|log|differen\w+|new in)\b", re.I)
_SORRY = lazy_pattern(
    r"(?:i(?:[’']m| am) sorry|i apologi[sz]e|(?:my )?apologies|sorry) for (?:the|my|any) (?:(?:earlier|previous|wrong|"
    r"incorrect) )?(?:mistakes?|errors?|confusion|oversight|misunderstanding|answer|response)\b"
    r"[^.!?\n]{0,40}[.!]\s+(?=\S)",
    re.I,
)
# Where these are asked for, an apology belongs to the answer.
_SPOKEN = lazy_pattern(
    r"apolog|sorry|mistake|error|complain|customer|letter|mail|message|\b(?:note|text|write|draft|reply|respond|say|act|"
    r"play|speech|dialogue)\b",
    re.I,
)
_FENCED = lazy_pattern(
    r"(```(?:text|markdown|md|plaintext)?[^\S\n]*\n(?:(?!```).)*\n```)\s+i (?:have |[’']ve )?(?:removed|changed|"
    r"corrected|edited|kept|added|revised|replaced|rewrote|fixed)\b[^\n]*",
    re.I | re.S,
)
_CODE = lazy_pattern(r"```|\b(?:code|script|function|program|query|command|regex)\b", re.I)
_ASKER = r"(user|human|question|query|instruction)"
_TURN = lazy_pattern(
    rf"\n[^\S\n]*\n(?=(?:#{{1,6}}[^\S\n]+[*_]{{0,3}}{_ASKER}|[*_]{{0,3}}{_ASKER}[*_]{{0,3}}[:：]))|"
    # Without a blank line only where an answer follows it.
    r"\n(?=[*_]{0,3}(user|human)[*_]{0,3}[:：][^\n]{0,500}\n\s{0,9}[*_]{0,3}(?:assistant|ai|bot)[*_]{0,3}[:：])",
    re.I,
)
_ANSWERED = lazy_pattern(rf"^{_MARKS}(?:assistant|ai|bot|answer|response){_END}", re.I | re.M)
_OF_TURNS = lazy_pattern(r"dialog|conversation|quiz|interview|faq|script|chat|q&a|transcript", re.I)


def new_text(reply: str, question: str, answer: str) -> str:
    """The replacement alone: the reply without an echo, label, tag, remark or further turn around it."""
    text, known = reply.replace("\r\n", "\n").strip(), f"{question}\n{answer}"
    scripted = _OF_TURNS.search(question) or "assistant" in known.casefold()
    labels = LABELS if scripted else (*LABELS, "assistant")
    for _ in range(4):
        before = text
        text = _without_turn(_without_echo(text, question.strip(), answer.strip()), question, answer)
        text = _without_changes(plain_answer(_untagged(text, known), labels), known)
        if not _SPOKEN.search(question) and not _SORRY.match(answer):
            text = _SORRY.sub("", text, count=1) if _SORRY.match(text) else text
        if text == before:
            break
    return text


def goes_on(text: str, question: str, answer: str) -> bool:
    """Whether the text goes on with a turn of a person, whom nobody answers: "…\n\nQuestion: What about roses?"."""
    return _turn(text, question, answer) is not None


def echoes_first(text: str, question: str, answer: str) -> bool:
    """Whether the text says the request again before it begins; a story may rightly go on from it."""
    return bool(_after_question(text, question.strip(), answer.strip()))


def _without_echo(text: str, question: str, answer: str) -> str:
    """The text without the question at its beginning, and without the answer if a label follows that."""
    label = _QUESTION.match(text)
    if label and question and text.startswith(question, label.end()):
        rest = text[label.end() + len(question) :]
        text = rest.strip() if rest[:1].isspace() and rest.strip() else text
    elif question.endswith("?"):
        text = _after_question(text, question, answer) or text
    label = _GIVEN.match(text)
    body = text[label.end() :] if label else text
    if answer and body.startswith(answer) and _EDITED.match(rest := body[len(answer) :].lstrip()):
        return rest
    if _CRITIQUE.match(text) and (labels := list(_EDITED.finditer(text))):
        return text[labels[-1].start() :]
    return text


def _after_question(text: str, question: str, answer: str) -> str:
    """What follows the question and a blank line; the question may be in bold letters."""
    stripped = text.lstrip("*_# ")
    if len(question.split()) < _WORDS or not stripped.startswith(question) or answer.startswith(question):
        return ""
    separator = _APART.match(stripped, len(question))
    return stripped[separator.end() :].strip() if separator else ""


def _untagged(text: str, known: str) -> str:
    found = _TAGGED.fullmatch(text)
    return found[2].strip() if found and found[2].strip() and not _MARKUP.search(known) else text


def _without_changes(text: str, known: str) -> str:
    """The text without a last list of what was changed, and without what was changed after a fence."""
    if (found := _FENCED.fullmatch(text)) and not _CODE.search(known):
        return found[1]
    less = without_section(text, _CHANGES, _CHANGES)
    if less == text or _RELEASE.search(known):
        return text
    found = _CHANGES.match(text[len(less) :].lstrip())
    return text if found and found[1].casefold() in known.casefold() else less


def _without_turn(text: str, question: str, answer: str) -> str:
    turn = _turn(text, question, answer)
    return text[:turn].rstrip() if turn is not None and _ANSWERED.search(text, turn) else text


def _turn(text: str, question: str, answer: str) -> int | None:
    """Where a person's turn begins after the text, unless question or answer are of turns."""
    if _OF_TURNS.search(question) or not (found := _TURN.search(text)):
        return None
    named = (found[1] or found[2] or found[3]).casefold()
    return None if named in f"{question}\n{answer}".casefold() else found.start()
