"""Text from outside (a model, a server, a file, a library's error): bounded, on one line, and never interpreted."""

from __future__ import annotations

import json
import re

from alignery.secrets import mask

WORDS = 300  # characters of untrusted text in a message or a reason
_READ = 100_000  # characters that are read for that
# A terminal's commands (C0, DEL, C1), what reorders or hides text (bidi controls, tags, separators), half characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def excerpt(text: object, limit: int = WORDS) -> str:
    """Untrusted text as part of a message: secrets masked, one line, printable, at most `limit` characters."""
    words = printable(" ".join(mask(str(text)[:_READ]).split()))
    return words if len(words) <= limit else words[: limit - 1] + "…"


def printable(text: str) -> str:
    """Text without terminal control sequences: they are shown as escapes. Line breaks and tabs stay."""
    return _UNPRINTABLE.sub(_escaped, text)


def printable_json(text: str) -> str:
    """JSON text without terminal control sequences, with the same values."""
    return _UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
