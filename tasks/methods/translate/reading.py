"""The translation in a reply, and the tests that it and an answer in another language must pass."""

from __future__ import annotations

import re

from tasks.filters.heuristics import echoes, loops, words
from tasks.filters.languages import COMMON, language_of
from tasks.filters.targets import LOOP
from tasks.methods.translate.verbatim import changed, prose
from tasks.methods.translate.wrapping import has_remark, unwrapped
from tasks.patterns import lazy_pattern
from tasks.step import ParseError, Rejected

REMARK = "a remark about the translation"
UNTRANSLATED = "not translated"
MIXED = "letters of two scripts in one word"
UNKNOWN = "in no language that can be identified"
SHORT, LONG = "far shorter than its source", "far longer than its source"
_FEW = 8  # words among which the commonest ones of a language may be missing; our choice
_PARTS = lazy_pattern(r"[\n,;|•·、，；]")  # the items of a list lie between these
_OTHERS = "\u0400-\u07ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af"  # Greek may be of a unit: µm, Δt
_OTHER = lazy_pattern(f"[{_OTHERS}\u0370-\u03ff]")
_MIXED = lazy_pattern(f"[a-z\u00df-\u024f][{_OTHERS}]|[{_OTHERS}][a-z\u00df-\u024f]", re.IGNORECASE)
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
    if not (text := reply.strip() if is_code else unwrapped(reply, source, language, label)):
        raise ParseError("nothing after the label")
    if kind := changed(source, text, quotes=quotes):
        raise Rejected(f"{kind} changed")
    if is_code:
        return source  # nothing to translate, whatever the reply says around it
    *before, last = text.split("\n\n")
    is_about = label.casefold() in last.casefold() and len(before) > source.strip().count("\n\n")
    if is_about or has_remark(text, source):
        raise ParseError(REMARK)
    if loops(text) and not loops(source):
        raise Rejected(LOOP)
    check_language(text, language, quotes=quotes)
    plain = prose(text, quotes=quotes)
    if echoes(text, source) and words(plain) >= _FEW and language_of(plain) is None:
        raise Rejected(UNTRANSLATED)  # a long list
    had, has = (max(_LEAST, words(prose(one, quotes=quotes))) for one in (source, text))
    if had > _TIMES * has or has > _TIMES * had:
        raise Rejected(SHORT if had > has else LONG)
    return text


def check_language(text: str, language: str, *, quotes: bool = True) -> None:
    """Raises Rejected if a text is in another language, or in none that can be identified.

    A few words without any of the commonest ones pass, such as a name or the items of a list.
    """
    plain = prose(text, quotes=quotes)
    identified = language_of(plain)
    if (language, identified) == ("japanese", "chinese"):  # a few words of Japanese may have no kana
        identified = None
    if language in COMMON and _MIXED.search(plain):
        raise Rejected(MIXED)
    is_list = language in COMMON or _OTHER.search(plain)  # a list of Latin words alone is in none of the others
    parts = _PARTS.split(plain) if is_list else [plain]
    if identified is None and max(map(words, parts)) >= _FEW:
        raise Rejected(UNKNOWN)
    if identified not in (language, None):
        raise Rejected(f"in another language: {identified}")
