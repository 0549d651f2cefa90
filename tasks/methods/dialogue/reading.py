"""Reads the person's message in a reply that may have labels, quotes, and turns after it."""

from __future__ import annotations

import re

from tasks.fences import outside
from tasks.normalise import unquoted
from tasks.step import ParseError

_BULLET = re.compile(r"^(?:\d{1,4}[.)]\s+|[-*•]\s+(?!.*\n))")  # a longer message may begin with a list
_BEFORE, _AFTER = r"[#>*_\[( \t]{0,6}", r"[\])*_]{0,4}[ \t]?[:：][*_]{0,3}"
_PERSON = r"(?:the )?(?:person|user|human)"
_ASSISTANT = r"(?:the )?(?:assistant|ai(?: assistant)?|(?:chat)?bot|chatgpt)"
# "**User:**", "Next message:", "Sure! Here is the person's next message:"
_LABEL = re.compile(
    rf"\A(?:(?:sure|certainly|of course|okay|ok)[,.!]*\s+)?{_BEFORE}(?:{_PERSON}|"
    rf"(?:here(?:['’]s| is) )?(?:(?:the|a|my) )?(?:{_PERSON}['’]s )?(?:next|follow-?up)"
    r"(?: message| question| request| turn)|"
    rf"(?:here(?:['’]s| is) )?{_PERSON}['’]s (?:message|question|reply)|follow-?up){_AFTER}\s*",
    re.IGNORECASE,
)
_ROLE = re.compile(rf"^{_BEFORE}(?:(?P<person>{_PERSON})|{_ASSISTANT}){_AFTER}", re.IGNORECASE | re.MULTILINE)
_CHAT = r"(?:the |this |our )?(?:conversation|chat|dialogue|discussion)"
# "[END]", and as small models write it, at the beginning or where a line ends.
_TAG = r"\[\s{0,9}end\b[^\]\n]{0,40}\]|\((?:the )?end(?: of " + _CHAT + r")?\)"
_END = re.compile(rf"\A(?:{_TAG})|(?:{_TAG})[ \t.!*_]*+$", re.IGNORECASE | re.MULTILINE)
_ENDED = re.compile(rf"(?:the )?end(?: of {_CHAT})?", re.IGNORECASE)
_SENTENCE, _WORD = re.compile(r"[.!?][ \t]"), re.compile(r"\w+")


def message(reply: str) -> str | None:
    """The person's message in a reply: without a label or quotes, and without turns after it; None where it ends the
    dialogue.

    Raises:
        ParseError: nothing is there before the assistant's label.
    """
    text, is_labelled = _BULLET.sub("", reply.strip()), False
    while label := _LABEL.match(text):
        text, is_labelled = text[label.end() :], True
    roles = outside(_ROLE, text)
    spoken = [not each["person"] for each in roles]
    for place, role in enumerate(roles):
        # "User: admin" alone may be what the person says.
        if spoken[place] or is_labelled or any(spoken[place:]):
            text = text[: role.start()]
            break
    if not (text := unquoted(text.strip())):
        raise ParseError("no message of the person's")
    return None if _END.search(text) or _is_end(text) else text


def _is_end(text: str) -> bool:
    """Whether the last line says so ("End."), or its last sentence ("Bye. THE END")."""
    last = text.splitlines()[-1]
    line, sentence = (" ".join(_WORD.findall(each)) for each in (last, _SENTENCE.split(last)[-1]))
    is_ending = _ENDED.fullmatch(sentence) and (sentence.isupper() or " of " in sentence)
    return bool(_ENDED.fullmatch(line) or is_ending)
