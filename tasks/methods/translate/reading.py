"""The translation in a reply, and the tests that it and an answer in another language must pass."""

from __future__ import annotations

import re

from tasks.filters.heuristics import loops, words
from tasks.filters.languages import COMMON, language_of
from tasks.filters.targets import LOOP
from tasks.methods.translate.verbatim import changed, prose
from tasks.normalise import plain_answer
from tasks.step import ParseError, Rejected

# "Sure! Here is the translation into German:"
_LABEL = (
    r"(?:(?:sure|certainly|of course)\b[,.!]*\s*)?(?:here(?: is|['’]s) )?(?:the |a |my )?(?:[a-z]{1,20} )?"
    r"translat(?:ion|ed (?:text|version))(?: (?:in|into|to|of) [^:\n]{1,40})?"
)
UNKNOWN = "in no language that can be identified"
SHORT, LONG = "far shorter than its source", "far longer than its source"
_FEW = 8  # words among which the commonest ones of a language may be missing; our choice
_PARTS = re.compile(r"[\n,;]")  # the items of a list lie between these
_TIMES, _LEAST = 5, 3  # how many times the words of the other a text may have; fewer words count as three; our choice


def translation(reply: str, source: str, language: str, label: str, *, quotes: bool) -> str:
    """The translation in a reply.

    Args:
        language: one of `tasks.filters.languages.LANGUAGES`.
        label: the word before a translation in that language, such as "Übersetzung".
        quotes: whether quotations of the source must be unchanged.

    Raises:
        ParseError: there is none.
        Rejected: code, an address or a quotation changed; it is in another language; or it has far more or far fewer
            words than the source, as an answer to it would.
    """
    is_code = not prose(source, quotes=False).strip()  # the fence around all of it is part of the text
    if not (text := reply.strip() if is_code else plain_answer(reply, (_LABEL, re.escape(label)))):
        raise ParseError("nothing after the label")
    if kind := changed(source, text, quotes=quotes):
        raise Rejected(f"{kind} changed")
    if loops(text) and not loops(source):
        raise Rejected(LOOP)
    check_language(text, language, quotes=quotes)
    if text == source and words(plain := prose(text, quotes=quotes)) >= _FEW and language_of(plain) is None:
        raise Rejected(UNKNOWN)  # a long list that was not translated
    before, after = (max(_LEAST, words(prose(one, quotes=quotes))) for one in (source, text))
    if before > _TIMES * after or after > _TIMES * before:
        raise Rejected(SHORT if before > after else LONG)
    return text


def check_language(text: str, language: str, *, quotes: bool = True) -> None:
    """Raises Rejected if a text is in another language, or in none that can be identified.

    A few words without any of the commonest ones pass, such as a name or the items of a list.
    """
    plain = prose(text, quotes=quotes)
    identified = language_of(plain)
    if (language, identified) == ("japanese", "chinese"):  # a few words of Japanese may have no kana
        identified = None
    parts = _PARTS.split(plain) if language in COMMON else [plain]
    if identified is None and max(map(words, parts)) >= _FEW:
        raise Rejected(UNKNOWN)
    if identified not in (language, None):
        raise Rejected(f"in another language: {identified}")
