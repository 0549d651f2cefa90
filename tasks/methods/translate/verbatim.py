"""What a translation must leave unchanged: code, web addresses and quotations; and the words around them."""

from __future__ import annotations

import re
from collections import Counter

# A block may be an item of a list, or in a block quote; one that is not closed reaches to the end.
_BLOCK = re.compile(
    r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}+|~{3,}+)[^`\n]*+\n"
    r".*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"(?<!`)(?:`[^`\n]+`|``[^\n]+?``)(?!`)")
_ADDRESS = re.compile(r"\b(?:https?://|www\.)[\w.~:/?#@!$&*+,;=%|-]+", re.ASCII)
_AFTER = ".,:;!?*_|"  # after an address, these are marks of the sentence
_CODE = {"code block": _BLOCK, "inline code": _INLINE, "web address": _ADDRESS}
# In quotation marks, or in a block quote. A mark after a word or a figure (inches) opens none.
_QUOTED = re.compile(
    r'(?<!\w)"(?=[^\s"])([^"\n]+)(?<!\s)"(?!\w)|“([^“”\n]+)”|„([^„“”\n]+)[“”]|«([^«»\n]+)»|'
    r"»([^«»\n]+)«|「([^「」\n]+)」|^[ \t]*>[ \t]*(\S[^\n]*)$",
    re.MULTILINE,
)


def changed(source: str, translation: str, *, quotes: bool) -> str | None:
    """The kind of passage that differs between a translation and its source ("code block", "quotation"), or None.

    Code and web addresses must be the same, to the letter and in number, in whatever order. A quotation of the source
    must be in the translation as often; its marks may be those of the language, and there may be more quotations.

    Args:
        quotes: whether quotations must stay.
    """
    source, translation = (text.replace("\r\n", "\n") for text in (source, translation))
    for kind, pattern in _CODE.items():
        if _counted(pattern, source) != _counted(pattern, translation):
            return kind
        source, translation = (pattern.sub(" ", text) for text in (source, translation))
    quoted = _counted(_QUOTED, source) if quotes else Counter[str]()
    return "quotation" if any(translation.count(text) < times for text, times in quoted.items()) else None


def prose(text: str, *, quotes: bool) -> str:
    """The words of a text to be translated.

    Args:
        quotes: whether quotations stay, and so are left out.
    """
    text = text.replace("\r\n", "\n")
    for pattern in (*_CODE.values(), *([_QUOTED] if quotes else [])):
        text = pattern.sub(" ", text)
    return text


def _counted(pattern: re.Pattern[str], text: str) -> Counter[str]:
    """What a pattern matches, without blanks around it, and how often; of a quotation the text between its marks."""
    if pattern is _QUOTED:
        return Counter(match[match.lastindex or 0].strip() for match in pattern.finditer(text))
    found = (match[0].strip() for match in pattern.finditer(text))
    return Counter(one.rstrip(_AFTER) if pattern is _ADDRESS else one for one in found)
