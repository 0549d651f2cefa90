"""Any OpenAI-compatible server, or several that serve the same model: patient with servers, exact about rows.

A request that brings no answer is sent again, after what `Retry-After` says or a doubling pause with jitter. Whose
fault it is decides what comes of it:

- 400, 413, 422 and the like speak of the request: `RequestRefused` at once, in the server's words.
- 429 speaks of the server's load: fewer are sent at once (see `replicas`), and the request waits for its turn.
- A connection that is refused speaks of the server: it is out until it answers again, and no request is the worse.
- 5xx, resets, stalls and garbled answers may be either's. After `retries` more tries (one, if it ran out of time) the
  server is asked for one token: if it gives it, the request is refused; if not, it is out, and the request waits for
  it and has one more try.
- 401, 403, 404 and redirects likewise, at the first: a server that refuses the one token too ends the run at once.

With every server out for `give_up_after_s` the engine is down. An answer that was read is never asked for again.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from prompts import Message
from tasks.engines import choices
from tasks.engines.protocol import Completion, EngineDown, Probabilities, RequestRefused, Sampling
from tasks.engines.replicas import SUSPECT, Replica, Replicas
from tasks.engines.spec import OpenAISpec
from tasks.engines.tokens import cut, form, tidy
from tasks.engines.wire import WORDS, Busy, Doubtful, Failed, Slow, Trouble, Unreachable, Wire

REASONS: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}
BUSY_TRIES = 20  # a request that was put off so often while others were answered is too big for the server's limit
CHAT, TEXT = "chat/completions", "completions"

_T = TypeVar("_T")


@dataclass
class _Woes:
    """What one request has been through."""

    since: float = math.inf  # its first trouble
    tries: int = 0
    breaks: int = 0  # tries that did not just take too long
    put_off: int = 0
    last: Replica | None = None


class ServerEngine:
    """Made by `open_server`, in the event loop that it will be used in."""

    def __init__(self, spec: OpenAISpec) -> None:
        self.identity = spec.identity()
        self._spec, self._path = spec, CHAT
        self.replicas = Replicas(spec, self._question)
        self._exact: bool | None = None  # whether it is a vLLM server, which gives any token's log-probability
        self._mute = False  # gives no log-probabilities at all
        self._looking, self._suspects = asyncio.Lock(), asyncio.Lock()

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        (text, told, tokens), latency_s = await self._complete(prompt, _fields(sampling), _reply)
        reason = REASONS.get(str(told))
        if reason is None:
            raise RequestRefused(f"the server ended the reply with finish_reason {told!r}")
        text, found = cut(text, sampling.stop)
        tokens_in, tokens_out, cached = tokens
        return Completion(tidy(text), "stop" if found else reason, tokens_in, tokens_out, latency_s, cached)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        """Probabilities of the options as the reply's beginning, by the best that the server has.

        A vLLM server gives the log-probability of any token, so any options are exact. Another gives those of the 20
        likeliest tokens: exact for options of one token, and one that is not among them counts as 0. Where that cannot
        tell (no log-probabilities, or options of several tokens) `choose_draws` replies are drawn and counted, which
        the result's `draws` says.

        Raises:
            RequestRefused: the server refuses the prompt, or no reply that was drawn begins with an option.
        """
        if await self._is_exact():
            return await self._by_tokens(prompt, options)
        given = None if self._mute else await self._top(prompt)
        if given and (weights := choices.among_top(given, options)):
            return Probabilities.of(weights)
        drawn = await self._by_draws(prompt, options)
        self._mute = given is None  # known only now: a bad prompt is refused in both ways
        return drawn

    async def _top(self, prompt: str | list[Message]) -> list[tuple[str, float]] | None:
        """The likeliest first tokens and their log-probabilities; None where the server has no such thing."""
        asked = (
            {"logprobs": choices.TOP} if isinstance(prompt, str) else {"logprobs": True, "top_logprobs": choices.TOP}
        )
        try:
            top, _ = await self._complete(prompt, asked | {"max_tokens": 1, "temperature": 1.0}, choices.top_of)
            return top
        except RequestRefused:  # of the fields, or of the prompt: then the draws are refused too, and say so
            return None

    async def _by_draws(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        longest = max(map(len, options)) + 1  # in characters, and so in tokens
        draws = [Sampling(1.0, max_tokens=longest, seed=seed) for seed in range(self._spec.choose_draws)]
        replies = await asyncio.gather(*(self.generate(prompt, sampling) for sampling in draws))
        return Probabilities.of(choices.counted([reply.text for reply in replies], options), draws=len(draws))

    async def _by_tokens(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        ids, *option_ids = await asyncio.gather(
            self._tokens(prompt), *(self._tokens(option, add_special_tokens=False) for option in options)
        )
        if not all(option_ids):
            raise RequestRefused(f"one of the options {list(options)} is no token of the model; give words")
        if all(len(option) == 1 for option in option_ids):
            wanted = [option[0] for option in option_ids]
            logs = await self._send(TEXT, *choices.first_token(self._body({"prompt": ids}), wanted))
        else:
            asked = (choices.whole_option(self._body({"prompt": [*ids, *option]}), option) for option in option_ids)
            logs = await asyncio.gather(*(self._send(TEXT, *one) for one in asked))
        top = max(logs)
        return Probabilities.of([math.exp(log - top) for log in logs])

    async def _tokens(self, prompt: str | list[Message], **more: Any) -> list[int]:
        asked = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
        template = {name: value for name, value in self._spec.options.items() if name == "chat_template_kwargs"}
        body = {"model": self._spec.model, **asked, **template, **more}
        return await self._send("/tokenize", body, lambda answer: [int(token) for token in answer["tokens"]])

    async def _is_exact(self) -> bool:
        async with self._looking:
            if self._exact is None:
                try:
                    owners = await self._send(
                        "models", None, lambda answer: [one["owned_by"] for one in answer["data"]]
                    )
                    self._exact = "vllm" in owners
                    if self._exact:
                        await self._tokens("a")
                except RequestRefused:  # no list of models, or a gateway that does not hand on /tokenize
                    self._exact = False
        return self._exact

    async def _complete(
        self, prompt: str | list[Message], fields: dict[str, Any], read: Callable[[dict[str, Any]], _T]
    ) -> tuple[_T, float]:
        self._path, key = (TEXT, "prompt") if isinstance(prompt, str) else (CHAT, "messages")
        return await self._send_timed(self._path, self._body({key: prompt, **fields}), read)

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"model": self._spec.model, **fields, **self._spec.options}

    async def _question(self, wire: Wire) -> None:
        """Ask for one token, never the same twice: a gateway that caches must not answer for a dead model."""
        seed = random.getrandbits(31)
        words, fields = f"Say yes. ({seed})", _fields(Sampling(max_tokens=1, seed=seed))
        asked = {"prompt": words} if self._path == TEXT else {"messages": [{"role": "user", "content": words}]}
        content = json.dumps(self._body(asked | fields) | {"max_tokens": 1}).encode()
        await _ask(wire, self._path, content, self._spec.probe_timeout_s, _reply)

    async def _send(self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], _T]) -> _T:
        found, _ = await self._send_timed(path, body, read)
        return found

    async def _send_timed(
        self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], _T]
    ) -> tuple[_T, float]:
        """What `read` makes of the answer, from whichever server gives one, and the seconds that this one took.

        What it cannot read is no answer.
        """
        content, woes = None if body is None else json.dumps(body).encode(), _Woes()
        while True:
            # One that kills the server takes all others under way with it. So those that broke twice go one at a time:
            # the guilty one then fails without them.
            async with self._suspects if woes.breaks >= 2 else nullcontext():
                replica = await self.replicas.enter(woes.last)
                sent = time.perf_counter()
                try:
                    found = await _ask(replica.wire, path, content, self._spec.timeout_s, read)
                    if path in (CHAT, TEXT):  # another answer does not prove that the model lives
                        self.replicas.answered(replica)
                    return found, time.perf_counter() - sent
                except Trouble as trouble:
                    await self._bear(replica, trouble, woes)
                finally:
                    self.replicas.leave(replica)

    async def _bear(self, replica: Replica, trouble: Trouble, woes: _Woes) -> None:
        """Wait until the request may be sent again; its place stays taken, so that a server in trouble gets less.

        Raises:
            RequestRefused, EngineDown: it may not.
        """
        self.replicas.check()
        now, limit_s = time.monotonic(), self._spec.give_up_after_s
        woes.since, woes.last = min(woes.since, now), replica
        if isinstance(trouble, Busy | Unreachable) and now - max(woes.since, self.replicas.answered_at) >= limit_s:
            raise EngineDown(f"{replica.url} answered nothing for {limit_s:g} s; last: {trouble}", recoverable=True)
        if isinstance(trouble, Unreachable):
            self.replicas.take_out(replica, trouble)
        elif isinstance(trouble, Doubtful):
            if await self.replicas.vouch(replica):
                raise RequestRefused(f"the server answers others and refuses this request with {trouble}")
        elif isinstance(trouble, Busy):
            self.replicas.refused(replica)
            woes.put_off += 1
            if woes.put_off >= BUSY_TRIES and replica.heard > woes.since:
                raise RequestRefused(
                    f"the server answers others and put this off {woes.put_off} times, last: {trouble}"
                )
            await self._rest(replica, trouble, woes.put_off)
        elif await self._is_own_fault(replica, trouble, woes):
            raise RequestRefused(f"the server answers others; this request failed {woes.tries} times, last: {trouble}")
        elif replica.nurse is None:
            await self._rest(replica, trouble, woes.tries)

    async def _rest(self, replica: Replica, trouble: Trouble, number: int) -> None:
        """As long as Retry-After says and a little more, else a pause that doubles, with jitter."""
        told, spec = trouble.pause_s, self._spec
        if told is None:
            longest = min(spec.longest_pause_s, spec.first_pause_s * 2 ** (number - 1))
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))
        elif told <= spec.give_up_after_s:
            await asyncio.sleep(told + random.uniform(0.0, min(1.0, 0.1 * told)))
        else:
            self.replicas.take_out(replica, trouble)

    async def _is_own_fault(self, replica: Replica, trouble: Trouble, woes: _Woes) -> bool:
        # What ran out of time is tried once more and not `retries` times: each try may cost minutes.
        woes.breaks += not isinstance(trouble, Slow)
        woes.tries += max(1, self._spec.retries - woes.tries) if isinstance(trouble, Slow) else 1
        replica.failures += 1
        if woes.tries > self._spec.retries:
            # One more try went to a server that had just shown that it lives.
            return woes.tries > self._spec.retries + 1 or await self.replicas.vouch(replica)
        if replica.failures >= SUSPECT:
            await self.replicas.vouch(replica)
        return False


async def _ask(
    wire: Wire, path: str, content: bytes | None, limit_s: float, read: Callable[[dict[str, Any]], _T]
) -> _T:
    answer = await wire.send(path, content, limit_s)
    try:
        return read(answer)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Failed(f"the answer is not what {path} should give: {str(answer)[:WORDS]}") from error


def _fields(sampling: Sampling) -> dict[str, Any]:
    """The request's fields; what is at its default is left out, as some servers refuse what they do not know."""
    fields: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    said = {
        "top_p": (sampling.top_p, 1.0),
        "top_k": (sampling.top_k, 0),
        "frequency_penalty": (sampling.frequency_penalty, 0.0),
        "presence_penalty": (sampling.presence_penalty, 0.0),
        "stop": (list(sampling.stop), []),
        "seed": (sampling.seed, None),
        "structured_outputs": (form(sampling), None),
    }
    return fields | {name: value for name, (value, default) in said.items() if value != default}


def _reply(answer: dict[str, Any]) -> tuple[str, Any, tuple[int, int, int | None]]:
    """The text, why it ended, and the tokens of prompt and reply, and of the prompt those that were cached."""
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    if not isinstance(text, str | None):
        raise TypeError("the text of a reply is a string or null")
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    return text or "", choice.get("finish_reason"), (*tokens, None if cached is None else int(cached))


@asynccontextmanager
async def open_server(spec: OpenAISpec) -> AsyncIterator[ServerEngine]:
    """An engine over the spec's servers. The key goes into the header only, never into a log or an identity."""
    engine = ServerEngine(spec)
    try:
        yield engine
    finally:
        await engine.replicas.close()
