"""Secrets are masked here, and nowhere else: in messages (`mask`) and in what a server answered (`mask_values`).

A secret is the value of an environment variable whose name says so (`…_KEY`, `…_TOKEN`, `…_SECRET`, `…_PASSWORD` …),
the password of a URL in the environment, or what `remember` was given. A short value, or a word such as "EMPTY" or
"postgres", is not treated as a secret: to mask it everywhere would damage text. In a credential's usual place (a URL,
after `Bearer` or `password=`) every value is masked.
"""

from __future__ import annotations

import html
import json
import os
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
_SHORTEST, _SHORTEST_WORD = 8, 16  # characters; a value of letters in one case must be longer
_NAME = re.compile(
    r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|(?:PG)?PASSWORD|PASSWD|CREDENTIALS?|AUTH|AUTH_STRING)$", re.IGNORECASE
)
# These read untrusted text: nothing in them backtracks over a long run, and a password has a bounded length.
_PASSWORD_IN_URL = re.compile(r"(://[^/@\s:]*+:)([^@\s]{1,2048}+)(?=@)")
_CREDENTIAL = re.compile(
    r"(\b(?:bearer|basic|x-api-key|api[-_]key)\b(?:\s*+[:=]\s++|\s++)['\"]?)[\w.~+/=-]{6,}"
    r"|(\bpass(?:word|wd)?\s*=\s*)(?:'[^']*'|\S+)"
    r"|(\b)sk-[\w-]{12,}",
    re.IGNORECASE,
)
_remembered: set[str] = set()


def remember(secret: str | None) -> None:
    """Mask this value from now on, whatever the name of the variable that it came from."""
    if secret:
        _remembered.add(secret)


def secrets() -> frozenset[str]:
    """The values that are masked wherever they occur."""
    named = {value for name, value in os.environ.items() if _NAME.search(name)}
    in_urls = {
        found[2] for value in os.environ.values() if "://" in value for found in _PASSWORD_IN_URL.finditer(value)
    }
    return frozenset(value for value in named | in_urls | _remembered if _is_secret(value))


def mask(text: str) -> str:
    """A message without secrets: known values, and any value in a credential's place."""
    text = _PASSWORD_IN_URL.sub(rf"\1{MASK}", text)
    text = _CREDENTIAL.sub(lambda found: f"{found[1] or found[2] or ''}{MASK}", text)
    return mask_values(text, secrets())


def mask_values(value: Any, known: frozenset[str]) -> Any:
    """A JSON value of a server, or a text, without the known secrets; all else is as it was."""
    if not known:
        return value
    forms = _forms(known)
    shortest = len(forms[-1])

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            # Most text has none, and searching for the few forms one by one is faster than the pattern.
            if len(value) >= shortest:
                for form in forms:
                    if form in value:
                        return _pattern(known).sub(MASK, value)
            return value
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {walk(key): walk(item) for key, item in value.items()}
        return value

    return walk(value)


def _is_secret(value: str) -> bool:
    is_word = value.isalpha() and (value.islower() or value.isupper())
    return len(value) >= (_SHORTEST_WORD if is_word else _SHORTEST)


@lru_cache(maxsize=16)
def _pattern(known: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, _forms(known))))


@lru_cache(maxsize=16)
def _forms(known: frozenset[str]) -> tuple[str, ...]:
    """The longest first: one secret may be a part of another. Written in a URL, JSON or HTML, it is the same secret."""
    forms = {form for value in known for form in (value, unquote(value), json.dumps(value)[1:-1], html.escape(value))}
    forms |= {form for value in known for form in (quote(value), quote(value, safe=""))}
    return tuple(sorted(forms, key=len, reverse=True))
