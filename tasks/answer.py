"""Turns an engine's reply into an attempt. A reply that does not fit the table `attempts` fails only its row.

The engine may be any, also a user's own: counts too large for a column, lone surrogates, endless texts.
"""

from __future__ import annotations

from typing import Any

from tasks.engines import Completion

LONGEST, LONGEST_WORD = 4 << 20, 64  # characters of a reply, of a finish reason; our choice
MOST = 2**31 - 1  # tokens: what the columns hold
_COUNTS = ("tokens_in", "tokens_out", "tokens_cached")
_BEYOND = 1e18  # no count and no time is that large
_KEPT = 1000  # characters of a text that does not fit


def fields_of(completion: Completion) -> tuple[dict[str, Any], str | None]:
    """A reply as fields of its attempt, and why it cannot be stored unchanged (then what does not fit is null)."""
    if not isinstance(completion, Completion):
        return {}, f"the engine gave {type(completion).__name__}, expected a Completion; fix the engine"
    fields: dict[str, Any] = {
        "raw_text": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens_in": completion.tokens_in,
        "tokens_out": completion.tokens_out,
        "tokens_cached": completion.tokens_cached,
        "latency_s": completion.latency_s,
        "thought": _kept_thought(completion.thought),
    }
    wrong = {name: why for name in _COUNTS if (why := _count(fields[name], optional=name == "tokens_cached"))}
    if why := _text(completion.text, LONGEST):
        wrong["raw_text"] = why
    if why := _text(completion.finish_reason, LONGEST_WORD):
        wrong["finish_reason"] = why
    if why := _seconds(completion.latency_s):
        wrong["latency_s"] = why
    if not wrong:
        return fields, None
    # Without a finish reason no later run parses it again as a reply.
    fields |= dict.fromkeys((*wrong, "finish_reason"))
    if isinstance(completion.text, str):
        text = completion.text if "raw_text" not in wrong else completion.text[:_KEPT]
        fields["raw_text"] = text.encode("utf-8", "backslashreplace").decode()
    faults = "; ".join(f"{name}: {why}" for name, why in wrong.items())
    return fields, f"the reply cannot be kept: {faults}; fix the engine or its server"


def _kept_thought(thought: Any) -> str | None:
    """A thought as its column holds it; nothing is parsed from it, so an invalid one does not fail its row."""
    return thought[:LONGEST].encode("utf-8", "backslashreplace").decode() if isinstance(thought, str) else None


def countable(count: Any) -> int:
    """A count of tokens as a budget adds it up: 0 if it is invalid."""
    return count if _count(count) is None else 0


def _count(value: Any, *, optional: bool = False) -> str | None:
    if value is None and optional:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return None
    return f"got {_shown(value)}, expected a whole number from 0 to {MOST}"


def _seconds(value: Any) -> str | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and -_BEYOND < value < _BEYOND):
        return None
    return f"got {_shown(value)}, expected finite seconds"


def _shown(value: Any) -> str:
    """A number, or what it is instead; one of thousands of digits has no text."""
    is_short = isinstance(value, float) or (isinstance(value, int) and -_BEYOND < value < _BEYOND)
    return repr(value) if is_short else type(value).__name__


def _text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str):
        return f"got {type(value).__name__}, expected text"
    if len(value) > longest:
        return f"got {len(value):,} characters, expected at most {longest:,}"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "got half a character (a lone surrogate), expected text"
    return None
