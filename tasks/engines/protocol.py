"""The protocol of engines: the requested sampling, the reply, the two errors, and the two calls."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import ConfigDict

from alignery.errors import AligneryError, UsageError
from prompts import Message


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. `top_k` 0 means off; `temperature` 0 means greedy; `max_tokens` counts new tokens.

    `choices` (one of these texts) or `pattern` (a regular expression, whose `.` takes line breaks too) constrain the
    whole reply. vLLM enforces it, in process and behind a server; the embedded engine has no grammar and replies
    freely. So it saves retries but guarantees nothing: with every engine the step's parser decides whether a reply is
    valid, and the same line runs on all.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 512
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None

    # Read by pydantic where a preset holds a Sampling: a mistyped key is refused.
    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        sound = {
            "temperature": (0 <= self.temperature < float("inf"), "0 or more"),
            "top_p": (0 < self.top_p <= 1, "more than 0, at most 1"),
            "top_k": (self.top_k >= 0, "0 (off) or more"),
            "max_tokens": (self.max_tokens >= 1, "1 or more"),
            "stop": (all(self.stop), "no empty string"),
            "choices": (all(self.choices), "no empty string"),
            "pattern": (self.pattern is None or _compiles(self.pattern), "a regular expression"),
        }
        for name, (is_sound, expected) in sound.items():
            if not is_sound:
                raise ValueError(
                    f"sampling.{name}: got {getattr(self, name)!r}, expected {expected}; correct the setting"
                )
        if self.choices and self.pattern is not None:
            raise ValueError("sampling.pattern: got choices too, expected one of the two; drop one")

    def identity(self) -> dict[str, Any]:
        """Its part of a work key: all but the seed, which is derived from that key.

        Unused constraints are left out, so that keys from before they existed are still valid.
        """
        free = {"seed"} | {name for name in ("choices", "pattern") if not getattr(self, name)}
        # vars and not asdict, which copies deeply: two are made for every request.
        return {name: value for name, value in vars(self).items() if name not in free}


def _compiles(pattern: str) -> bool:
    try:
        return bool(re.compile(pattern)) and pattern != ""
    except re.error:
        return False


@dataclass(frozen=True)
class Completion:
    """One reply.

    `text` excludes the prompt, special tokens, any stop string, and the one space that a reply opens with when the
    prompt ended without one; all else is as the model wrote it. `tokens_out` counts the closing end-of-text token.
    `latency_s` is seconds on its way: from when it had its place (in vLLM's queue, on the wire, in the embedded
    engine's running batch; of several tries the one that was answered) to the reply. Waiting for a place is not in it,
    so that latencies over wall time give the requests in flight. `tokens_cached` of `tokens_in` were read from the
    engine's cache; None where it does not say. `thought` is what a reasoning model wrote before the reply.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    tokens_in: int
    tokens_out: int
    latency_s: float
    tokens_cached: int | None = None
    thought: str | None = None


class Probabilities(list[float]):
    """What `choose` gives: one for each option, in order; they sum to 1.

    `draws` is 0 where they are the model's own, else the number of replies that were drawn and counted. `mass` is the
    probability (0 to 1) that the model says one of the options at all, in any of their spellings; where it is small,
    the model has chosen nothing. None where the engine does not know it. `logs` has the log-probability (at most 0) of
    each option where each has one spelling, as `Verbatim` ones; None where the engine does not know them.
    """

    draws: int = 0
    mass: float | None = None
    logs: list[float] | None = None

    @classmethod
    def of(cls, weights: Sequence[float], draws: int = 0, mass: float | None = None) -> Probabilities:
        whole = math.fsum(weights)
        probabilities = cls(weight / whole for weight in weights)
        probabilities.draws, probabilities.mass = draws, None if mass is None else min(1.0, mass)
        return probabilities

    @classmethod
    def of_spellings(cls, count: int, logs: Sequence[tuple[int, float]]) -> Probabilities:
        """From the log-probability of each spelling, with the place of its option among `count`."""
        top = max(log for _, log in logs)
        weights = [math.fsum(math.exp(log - top) for place, log in logs if place == option) for option in range(count)]
        probabilities = cls.of(weights, mass=math.exp(top) * math.fsum(weights))
        if sorted(place for place, _ in logs) == list(range(count)):
            probabilities.logs = [log for _, log in sorted(logs)]
        return probabilities


class Verbatim(tuple[str, ...]):
    """Options that are scored exactly as written, blanks included, in no other spelling."""


def spellings(options: Sequence[str]) -> list[tuple[int, str]]:
    """Each option with its place, then its other spellings: "yes" may be said as "Yes". A letter has one."""
    given = [(place, option) for place, option in enumerate(options)]
    if isinstance(options, Verbatim):
        return given
    others = [
        (place, spelling)
        for place, option in given
        if len(option.strip()) > 1
        for spelling in dict.fromkeys((option.lower(), _capital(option)))
        if spelling not in options
    ]
    return [*given, *others]


def _capital(option: str) -> str:
    """With a capital first letter, wherever its first word begins."""
    word = option.lstrip()
    return option[: len(option) - len(word)] + word[:1].upper() + word[1:]


class SpecError(UsageError):
    """An engine's spec is wrong (a missing path, a mistyped key): what was got, expected, and the fix."""


class RequestRefused(Exception):
    """This one request cannot be answered (too long, malformed): its row fails, the run goes on."""


class EngineDown(AligneryError):
    """The engine no longer answers: what is finished is committed, and the run fails.

    `recoverable` says that it may be back later: a server that was waited for, not a process that died.
    """

    def __init__(self, message: str, *, recoverable: bool = False) -> None:
        super().__init__(message)
        self.recoverable = recoverable


class Engine(Protocol):
    """The calls of a step to a model. Hundreds of both may be in flight at once."""

    @property
    def identity(self) -> str:
        """Names the model by its weights (or its endpoint and name); part of every work key."""
        ...

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion: ...

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        """Probabilities of the options as the next words, normalised over the options (they sum to 1)."""
        ...
