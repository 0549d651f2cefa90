"""What no reply of any step may be: tokens of a chat template, a placeholder, or nothing that can be seen."""

from __future__ import annotations

import re

from tasks.patterns import lazy_pattern

TEMPLATE = "holds tokens of a chat template"
PLACEHOLDER = "a placeholder"

_TOKEN = r"<[|｜][A-Za-z0-9_▁]{1,40}[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
_TOKENS = lazy_pattern(_TOKEN)
# `</s>` within a text may be markup.
_ENDED = lazy_pattern(rf"(?:\s{{0,9}}(?:{_TOKEN}|</s>|<eos>)){{1,4}}+\s*+\Z")
_PLACEHOLDER = lazy_pattern(r"\W{0,9}\[(?:your|insert|write|enter|add|fill in) [^\[\]\n]{1,80}\]\W{0,9}", re.IGNORECASE)
_INVISIBLE = " \t\r\n\v\f\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def without_end(text: str) -> str:
    """The reply without the tokens that end it, which some servers leave in: `<|im_end|>`, `</s>`."""
    found = _ENDED.search(text)
    return text[: found.start()] if found else text


def is_invisible(text: str) -> bool:
    """Whether there is nothing to see: blanks, and characters without width."""
    return not text.strip(_INVISIBLE)


def leftover(text: str) -> str | None:
    """The reason why a reply is none, or None.

    A token of a chat template begins another turn, whoever is meant to write it, and a text with one would forge a turn
    where it is trained on. "[Your answer here]" is what the model was meant to replace.
    """
    if _TOKENS.search(text):
        return TEMPLATE
    return PLACEHOLDER if _PLACEHOLDER.fullmatch(text) else None
