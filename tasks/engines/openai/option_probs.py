"""Probabilities of options, from what a server offers: any token's log-probability, the likeliest, or replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tasks.engines.protocol import RequestRefused, spellings

_DRESS = "*_`\"'([“‘# "  # what may precede an option in a reply
TOP = 20  # the most log-probabilities that servers give
LEAST, ROUNDING = -9999.0, 0.01  # of a log-probability: the least that counts, and how much over 0 is rounding

Asked = tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]


def top_of(answer: dict[str, Any]) -> list[tuple[str, float]] | None:
    """(token, log-probability) of the first position; chat and completions write them differently."""
    logprobs = answer["choices"][0].get("logprobs") or {}
    if content := logprobs.get("content"):
        return [(_token(entry["token"]), log_of(entry["logprob"])) for entry in content[0]["top_logprobs"]] or None
    top = logprobs.get("top_logprobs") or [None]
    return [(token, log_of(log)) for token, log in (top[0] or {}).items()] or None


def log_of(value: Any) -> float:
    """A log-probability, at least -9999, which some servers use if there is none. Raises ValueError if invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= ROUNDING:  # NaN is not, either
        raise ValueError(f"got the log-probability {value!r}, expected a number of at most 0")
    return max(float(value), LEAST)


def _token(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a token is a string")
    return value


def among_top(given: Sequence[tuple[str, float]], options: Sequence[str]) -> list[float] | None:
    """Weights of the options among the likeliest tokens; None if these do not determine them.

    Tokens that differ only in blanks, or in a capital, count as one. A missing option counts as 0, because it is less
    likely than the last that is listed; but a token that is its beginning may be the first of several that write it.
    """
    tokens = [(token.strip(), log) for token, log in given]
    spelled = [{text.strip() for place, text in spellings(options) if place == one} for one in range(len(options))]
    weights = [math.fsum(math.exp(log) for token, log in tokens if token in texts) for texts in spelled]
    for option, weight in zip(options, weights, strict=True):
        if not weight and any(token and option.strip().startswith(token) for token, _ in tokens):
            return None
    return weights if any(weights) else None


def counted(replies: Sequence[str], options: Sequence[str]) -> list[float]:
    """How many replies begin with each option, as a word of its own; the longest option that fits counts.

    Raises:
        RequestRefused: none does.
    """
    words = [option.strip() for option in options]
    spelled = [(place, text.strip()) for place, text in spellings(options)]
    counts = [0.0] * len(words)
    for reply in (reply.strip().lstrip(_DRESS) for reply in replies):
        fits = [one for one in spelled if reply.startswith(one[1]) and not reply[len(one[1]) :][:1].isalnum()]
        if fits:
            counts[max(fits, key=lambda one: len(one[1]))[0]] += 1
    if not any(counts):
        raise RequestRefused(
            f"the server gives no log-probabilities, and none of {len(replies)} replies begins with one of {words}; "
            "ask for an option by name, or use a server with logprobs"
        )
    return counts


def first_token(body: dict[str, Any], tokens: Sequence[int]) -> Asked:
    """A vLLM request for the log-probabilities of these first tokens, and how its answer is read."""

    def read(answer: dict[str, Any]) -> list[float]:
        first = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        return [log_of(first[f"token_id:{token}"]) for token in tokens]

    asked = {"logprob_token_ids": sorted(set(tokens)), "logprobs": 1, "return_tokens_as_token_ids": True}
    return body | {"max_tokens": 1, "temperature": 1.0} | asked, read


def whole_option(body: dict[str, Any], option: Sequence[int]) -> Asked:
    """A vLLM request for the log-probability of a prompt's last tokens, which are the option, and how it is read."""

    def read(answer: dict[str, Any]) -> float:
        places = answer["choices"][0]["prompt_logprobs"][-len(option) :]
        return math.fsum(log_of(place[str(token)]["logprob"]) for place, token in zip(places, option, strict=True))

    return body | {"max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0}, read
