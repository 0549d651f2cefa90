"""Any OpenAI-compatible server, or several that serve the same model: patient with servers, exact about rows.

A request without an answer is sent again, after the time in `Retry-After` or a doubling pause with jitter. What happens
depends on the cause:

- 400, 413, 422 and the like are about the request: `RequestRefused` at once, with the server's message.
- 429 is about the server's load: fewer are sent at once (see `replicas`), and the request waits for its turn.
- A refused connection is about the server: it is out until it answers again, and requests are not affected.
- 5xx, resets, stalls and garbled responses may be either. After `retries` more tries (one, if it ran out of time) the
  server is asked for one token: if it answers, the request is refused; if not, it is out, and the request waits for it
  and has one more try.
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
from typing import Any, TypeVar

from alignery.untrusted import excerpt
from prompts import Message
from tasks.engines.openai import chat, option_probs
from tasks.engines.openai.http import Busy, Failed, TimedOut, Unreachable, Wire, key_of
from tasks.engines.openai.watching import follow
from tasks.engines.protocol import Completion, EngineDown, Probabilities, RequestRefused, Sampling, spellings
from tasks.engines.replicas import SUSPECT, Advice, Replica, Replicas, RequestError, Suspect, beginnings
from tasks.engines.specs import OpenAISpec
from tasks.engines.thoughts import split_thought
from tasks.engines.tokenization import cut, tidy, without_system

BUSY_TRIES = 20  # a request put off that often while others are answered is too big for the server's limit
CHAT, TEXT = "chat/completions", "completions"

_T = TypeVar("_T")


@dataclass
class RetryState:
    """Retry state of one request."""

    since: float = math.inf  # its first trouble
    tries: int = 0
    breaks: int = 0  # tries that did not time out
    put_off: int = 0
    last: Replica[Wire] | None = None


class ServerEngine:
    """Made by `open_server`, in the event loop that it will be used in."""

    def __init__(self, spec: OpenAISpec) -> None:
        self.identity = spec.identity()
        self._spec, self._path = spec, CHAT
        self.replicas: Replicas[Wire] = Replicas(spec, self._question, _advice(spec))
        for url in spec.base_url:
            self.replicas.add(url, Wire(url, spec))
        self._owner: str | None = None  # the kind of server, from its list of models; "" if unknown
        self._exact: bool | None = None  # whether it is a vLLM server, which gives any token's log-probability
        self._spellings: dict[tuple[tuple[int, str], ...], list[tuple[int, list[int]]]] = {}
        self._mute = False  # gives no log-probabilities at all
        self._asking: asyncio.Event | None = None  # set once the request for the kind of server is answered, or failed
        self._looking, self._suspects = asyncio.Lock(), asyncio.Lock()

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        path = self._take_path(prompt)
        owner = await self._whose() if self._owner is None else self._owner
        body = self._body(prompt, chat.fields(sampling, owner))
        reply, latency_s = await self._send_timed(path, body, chat.reply)
        thought, text = split_thought(reply.text)
        text, found = cut(text, sampling.stop)
        tokens_in, tokens_out, cached = reply.tokens
        reason = "stop" if found else reply.finish_reason
        return Completion(tidy(text), reason, tokens_in, tokens_out, latency_s, cached, reply.thought or thought)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        """Probabilities of the options as the reply's beginning, by the best method that the server offers.

        A vLLM server gives the log-probability of any token, so any options are exact. Another gives those of the 20
        likeliest tokens: exact for options of one token, and one that is not among them counts as 0. Where that cannot
        tell (no log-probabilities, or options of several tokens) `choose_draws` replies are drawn and counted, which
        the result's `draws` says.

        Raises:
            RequestRefused: the server refuses the prompt, or no reply that was drawn begins with an option.
        """
        self._take_path(prompt)
        if await self._is_exact():
            return await self._by_tokens(prompt, options)
        given = None if self._mute else await self._top(prompt)
        if given and (weights := option_probs.among_top(given, options)):
            return Probabilities.of(weights, mass=math.fsum(weights))
        probabilities = await self._by_draws(prompt, options)
        self._mute = given is None  # known only now: a bad prompt is refused in both ways
        return probabilities

    async def _top(self, prompt: str | list[Message]) -> list[tuple[str, float]] | None:
        """The likeliest first tokens and their log-probabilities; None if the server does not give them."""
        asked = (
            {"logprobs": option_probs.TOP}
            if isinstance(prompt, str)
            else {"logprobs": True, "top_logprobs": option_probs.TOP}
        )
        try:
            body = self._body(prompt, asked | {"max_tokens": 1, "temperature": 1.0}, most=1)
            return await self._send(self._take_path(prompt), body, option_probs.top_of)
        except RequestRefused:  # of the fields, or of the prompt: then the draws are refused too, and say so
            return None

    async def _by_draws(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        longest = max(map(len, options)) + 1  # in characters, and so in tokens
        draws = [Sampling(1.0, max_tokens=longest, seed=seed) for seed in range(self._spec.choose_draws)]
        replies = await asyncio.gather(*(self.generate(prompt, sampling) for sampling in draws))
        counts = option_probs.counted([reply.text for reply in replies], options)
        return Probabilities.of(counts, draws=len(draws), mass=math.fsum(counts) / len(draws))

    async def _by_tokens(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        ids, spelled = await asyncio.gather(self._tokens(prompt), self._spelled(options))
        option_ids = [tokens for _, tokens in spelled]
        if all(len(option) == 1 for option in option_ids):
            first_tokens = [option[0] for option in option_ids]
            logs = await self._send(TEXT, *option_probs.first_token(self._body(ids, {}), first_tokens))
        else:
            asked = (option_probs.whole_option(self._body([*ids, *option], {}), option) for option in option_ids)
            logs = await asyncio.gather(*(self._send(TEXT, *one) for one in asked))
        return Probabilities.of_spellings(
            len(options), [(place, log) for (place, _), log in zip(spelled, logs, strict=True)]
        )

    async def _spelled(self, options: Sequence[str]) -> list[tuple[int, list[int]]]:
        """The tokens of every spelling, with the place of its option; they are asked for once."""
        texts = spellings(options)
        if (known := self._spellings.get(key := tuple(texts))) is None:
            found = await asyncio.gather(*(self._tokens(text, add_special_tokens=False) for _, text in texts))
            if not all(found[: len(options)]):
                raise RequestRefused(f"one of the options {list(options)} is no token of the model; give words")
            distinct = {tuple(ids): place for (place, _), ids in reversed(list(zip(texts, found, strict=True))) if ids}
            known = self._spellings[key] = [(place, list(ids)) for ids, place in distinct.items()]
        return known

    async def _tokens(self, prompt: str | list[Message], **more: Any) -> list[int]:
        asked = self._asked(prompt)
        template = {name: value for name, value in self._spec.options.items() if name == "chat_template_kwargs"}
        body = {"model": self._spec.model, **asked, **template, **more}
        return await self._send("/tokenize", body, lambda answer: [int(token) for token in answer["tokens"]])

    async def _is_exact(self) -> bool:
        async with self._looking:
            if self._exact is None:
                self._exact = await self._whose() == "vllm"
                if self._exact:
                    try:
                        await self._tokens("a")
                    except RequestRefused:  # a gateway that does not forward /tokenize
                        self._exact = False
        return self._exact

    async def _whose(self) -> str:
        """The kind of server: the first of `chat.OFF` that owns one of its models. It is requested once.

        One request asks, and the others wait for its answer together: with a lock, each would cost a round of the
        event loop. If it fails, another asks.
        """
        while self._owner is None:
            if self._asking:
                await self._asking.wait()
                continue
            self._asking = asyncio.Event()
            try:
                self._owner = await self._ask_whose()
            finally:
                self._asking.set()
                self._asking = None
        return self._owner

    async def _ask_whose(self) -> str:
        try:
            owners = await self._send("models", None, _owners)
        except RequestRefused:  # no list of models
            return ""
        return next((owner for owner in chat.OFF if owner in owners), "")

    def _take_path(self, prompt: str | list[Message]) -> str:
        """The endpoint for a prompt; it is used for health checks from now on."""
        self._path = TEXT if isinstance(prompt, str) else CHAT
        return self._path

    def _body(
        self, prompt: str | list[Message] | list[int], fields: dict[str, Any], most: int | None = None
    ) -> dict[str, Any]:
        spec = self._spec
        return chat.body(spec.model, self._asked(prompt) | fields, spec.options, spec.max_tokens_field, most)

    def _asked(self, prompt: str | list[Message] | list[int]) -> dict[str, Any]:
        if isinstance(prompt, str) or not (prompt and isinstance(prompt[0], dict)):
            return {"prompt": prompt}
        turns: list[Message] = prompt
        return chat.turns(turns if self._spec.system_role else without_system(turns), self._owner or "")

    async def _question(self, replica: Replica[Wire]) -> None:
        """Ask for one token, never the same twice: a gateway that caches must not answer for a dead model."""
        seed = random.getrandbits(31)
        words, fields = f"Say yes. ({seed})", chat.fields(Sampling(max_tokens=1, seed=seed))
        asked: str | list[Message] = words if self._path == TEXT else [{"role": "user", "content": words}]
        content = json.dumps(self._body(asked, fields, most=1)).encode()
        await _ask(replica.client, self._path, content, self._spec.probe_timeout_s, chat.reply)

    async def _send(self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], _T]) -> _T:
        found, _ = await self._send_timed(path, body, read)
        return found

    async def _send_timed(
        self, path: str, body: dict[str, Any] | None, read: Callable[[dict[str, Any]], _T]
    ) -> tuple[_T, float]:
        """What `read` makes of the answer, from whichever server gives one, and the seconds that this one took.

        What it cannot read is no answer.
        """
        content, retry = None if body is None else json.dumps(body).encode(), RetryState()
        begins = beginnings(content) if content and len(self.replicas.all) > 1 else ()
        while True:
            # One that kills the server takes all others in flight with it. So those that broke twice go one at a time:
            # the one at fault then fails without them.
            async with self._suspects if retry.breaks >= 2 else nullcontext():
                replica = await self.replicas.enter(retry.last, begins)
                sent = time.perf_counter()
                try:
                    found = await _ask(replica.client, path, content, self._spec.timeout_s, read)
                    if path in (CHAT, TEXT):  # another answer does not prove that the model lives
                        self.replicas.answered(replica)
                    return found, time.perf_counter() - sent
                except RequestError as trouble:
                    await self._bear(replica, trouble, retry)
                except RequestRefused as refusal:
                    if fix := chat.advice(body or {}, str(refusal)):
                        raise RequestRefused(f"{refusal}{fix}") from refusal
                    raise
                finally:
                    self.replicas.leave(replica)

    async def _bear(self, replica: Replica[Wire], trouble: RequestError, retry: RetryState) -> None:
        """Wait until the request may be sent again; its place stays taken, so that a server in trouble gets less.

        Raises:
            RequestRefused, EngineDown: it may not.
        """
        self.replicas.check()
        now, limit_s = time.monotonic(), self._spec.give_up_after_s
        retry.since, retry.last = min(retry.since, now), replica
        if replica.removed:
            return
        if isinstance(trouble, Busy | Unreachable) and now - max(retry.since, self.replicas.answered_at) >= limit_s:
            raise EngineDown(f"{replica.name} answered nothing for {limit_s:g} s; last: {trouble}", recoverable=True)
        if isinstance(trouble, Unreachable):
            self.replicas.eject(replica, trouble)
        elif isinstance(trouble, Suspect):
            retry.tries += 1
            # One that is out and back again after each try does answer others.
            if await self.replicas.confirm_alive(replica) or retry.tries > self._spec.retries + 1:
                raise RequestRefused(f"the server answers others and refuses this request with {trouble}")
        elif isinstance(trouble, Busy):
            self.replicas.refused(replica)
            retry.put_off += 1
            if retry.put_off >= BUSY_TRIES and replica.answered_at > retry.since:
                raise RequestRefused(
                    f"the server answers others and put this off {retry.put_off} times, last: {trouble}"
                )
            await self._rest(replica, trouble, retry.put_off)
        elif await self._is_own_fault(replica, trouble, retry):
            raise RequestRefused(f"the server answers others; this request failed {retry.tries} times, last: {trouble}")
        elif replica.health_probe is None:
            await self._rest(replica, trouble, retry.tries)

    async def _rest(self, replica: Replica[Wire], trouble: RequestError, number: int) -> None:
        """The time in Retry-After and a little more, else a pause that doubles, with jitter."""
        pause_s, spec = trouble.pause_s, self._spec
        if pause_s is None:
            longest = min(spec.longest_pause_s, spec.first_pause_s * 2 ** (number - 1))
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))
        elif pause_s <= spec.give_up_after_s:
            await asyncio.sleep(pause_s + random.uniform(0.0, min(1.0, 0.1 * pause_s)))
        else:
            self.replicas.eject(replica, trouble)

    async def _is_own_fault(self, replica: Replica[Wire], trouble: RequestError, retry: RetryState) -> bool:
        # What ran out of time is tried once more and not `retries` times: each try may cost minutes.
        retry.breaks += not isinstance(trouble, TimedOut)
        retry.tries += max(1, self._spec.retries - retry.tries) if isinstance(trouble, TimedOut) else 1
        replica.failures += 1
        if retry.tries > self._spec.retries:
            # One more try went to a server that had just passed a health check.
            return retry.tries > self._spec.retries + 1 or await self.replicas.confirm_alive(replica)
        if replica.failures >= SUSPECT:
            await self.replicas.confirm_alive(replica)
        return False


def _advice(spec: OpenAISpec) -> Advice:
    place = "servers" if spec.servers else "base_url"
    return Advice(
        f"check {place}, model and the key in the environment variable {spec.api_key_env}",
        f"start the server again or correct {place}, and run again: what was answered is kept",
        f"no file in {excerpt(spec.servers.watch)} has held a server's address" if spec.servers else "",
    )


async def _ask(
    wire: Wire, path: str, content: bytes | None, limit_s: float, read: Callable[[dict[str, Any]], _T]
) -> _T:
    answer = await wire.send(path, content, limit_s)
    try:
        return read(answer)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Failed(f"the answer is not what {path} should give: {excerpt(answer.get('error') or answer)}") from error


def _owners(answer: dict[str, Any]) -> list[Any]:
    """The owners of the models in a list; anything else that a server returns is not an error."""
    models = answer.get("data")
    return [one.get("owned_by") for one in models if isinstance(one, dict)] if isinstance(models, list) else []


@asynccontextmanager
async def open_server(spec: OpenAISpec) -> AsyncIterator[ServerEngine]:
    """An engine over the spec's servers. The key goes into the header only, never into a log or an identity."""
    key_of(spec.api_key_env)
    engine = ServerEngine(spec)
    watching = asyncio.create_task(follow(spec, engine.replicas)) if spec.servers else None
    try:
        yield engine
    finally:
        if watching:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await engine.replicas.close()
