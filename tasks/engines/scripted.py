"""An engine that replies as a test specifies, errors included, and records its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alignery.hashing import digest
from prompts import Message
from tasks.engines.protocol import Completion, EngineDown, RequestRefused, Sampling
from tasks.engines.thoughts import split_thought

Asked = str | list[Message]
Reply = str | Completion | Exception
Script = Sequence[Reply] | Mapping[str, Reply] | Callable[[Asked, Sampling], Reply]
Choices = Sequence[Sequence[float]] | Callable[[Asked, Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Call:
    """One call as it came: `sampling` of a generate, `options` of a choose."""

    prompt: Asked
    sampling: Sampling | None = None
    options: tuple[str, ...] = ()


class ScriptedEngine:
    """Replies from a script.

    Args:
        replies: a sequence, served in turn and from the top again; a mapping, whose first key found in the prompt's
            text decides; or a callable of the prompt and the sampling. A reply that is an exception is raised.
        choices: likewise for `choose`: rows of weights served in turn, or a callable; without it all options are even.
        down_after: from this many calls on (of both kinds) the engine is down.
        latency_s: seconds each call takes.
        identity: defaults to the hash of the replies, or to "scripted" for a callable.
    """

    def __init__(
        self,
        replies: Script,
        *,
        choices: Choices | None = None,
        down_after: int | None = None,
        latency_s: float = 0.0,
        identity: str | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self._replies, self._choices = replies, choices
        self._down_after, self._latency_s = down_after, latency_s
        script = dict(replies) if isinstance(replies, Mapping) else replies
        self._identity = identity or ("scripted" if callable(script) else f"scripted:{digest(repr(script))}")
        self._generated = self._chosen = 0

    @property
    def identity(self) -> str:
        return self._identity

    async def generate(self, prompt: Asked, sampling: Sampling) -> Completion:
        await self._attend(Call(prompt, sampling=sampling))
        reply = self._reply(prompt, sampling)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Completion):  # unchanged: a test may return what no engine should
            return reply
        thought, reply = split_thought(reply)
        tokens = len(text_of(prompt).split()), len(reply.split())
        return Completion(reply, "stop", *tokens, self._latency_s, thought=thought)

    async def choose(self, prompt: Asked, options: Sequence[str]) -> list[float]:
        await self._attend(Call(prompt, options=tuple(options)))
        if self._choices is None:
            weights: Sequence[float] = [1.0] * len(options)
        elif callable(self._choices):
            weights = self._choices(prompt, options)
        else:
            weights = self._choices[self._chosen % len(self._choices)]
            self._chosen += 1
        if len(weights) != len(options):
            raise ValueError(f"choices: got {len(weights)} weights for the options {list(options)}; give one for each")
        return [weight / sum(weights) for weight in weights]

    async def _attend(self, call: Call) -> None:
        self.calls.append(call)
        number = len(self.calls)
        await asyncio.sleep(self._latency_s)
        if self._down_after is not None and number > self._down_after:
            raise EngineDown(f"scripted: down after {self._down_after} calls")

    def _reply(self, prompt: Asked, sampling: Sampling) -> Reply:
        if callable(self._replies):
            return self._replies(prompt, sampling)
        if isinstance(self._replies, Mapping):
            text = text_of(prompt)
            for key, reply in self._replies.items():
                if key in text:
                    return reply
            raise RequestRefused(f"scripted: none of the keys {list(self._replies)} is in the prompt {text!r}")
        reply = self._replies[self._generated % len(self._replies)]
        self._generated += 1
        return reply


def text_of(prompt: Asked) -> str:
    """The prompt's words: a raw text as it is, messages joined by line breaks."""
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
