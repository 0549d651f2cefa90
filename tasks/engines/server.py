"""Any OpenAI-compatible server: pooled connections, bounded in flight, patient with a server that is busy.

429, 5xx and a lost connection wait and try again, as long as `Retry-After` says or with a doubling, jittered pause.
A request gives up after `give_up_after_s`: as `EngineDown` if the server has answered nobody meanwhile; if it has
answered others, a 500 or 502 is this request's own fault (`RequestRefused`), and anything else goes on waiting.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from prompts import Message
from tasks.engines.protocol import Completion, EngineDown, RequestRefused, Sampling
from tasks.engines.spec import OpenAISpec
from tasks.engines.tokens import cut, tidy

REASONS: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}
WAITING = {408, 425, 429, 500, 502, 503, 504, 529}
HOPELESS = {401, 403, 404}
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
TOP = 20  # the most log-probabilities that servers give


class ServerEngine:
    """Made by `open_server`, in the event loop that it will be used in."""

    def __init__(self, spec: OpenAISpec, client: httpx.AsyncClient) -> None:
        self.identity = spec.identity()
        self._spec, self._client = spec, client
        self._slots = asyncio.Semaphore(spec.in_flight)
        self._heard = -math.inf  # when the server last answered anybody

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        asked = time.perf_counter()
        answer = await self._post(prompt, _fields(sampling))
        choice = _first_choice(answer)
        reason = REASONS.get(str(choice.get("finish_reason")))
        if reason is None:
            raise RequestRefused(f"the server ended the reply with finish_reason {choice.get('finish_reason')!r}")
        text = choice.get("text") if isinstance(prompt, str) else (choice.get("message") or {}).get("content")
        text, found = cut(text or "", sampling.stop)
        usage = answer.get("usage") or {}
        tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        return Completion(tidy(text), "stop" if found else reason, *tokens, time.perf_counter() - asked)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        """From the log-probabilities of the first new token; tokens that differ only in blanks count as one option.

        Raises:
            RequestRefused: the server gives no log-probabilities, or not for each option (each must be one token and
                among the 20 likeliest).
        """
        fields: dict[str, Any] = {"max_tokens": 1, "temperature": 1.0}
        fields |= {"logprobs": TOP} if isinstance(prompt, str) else {"logprobs": True, "top_logprobs": TOP}
        given = _logprobs(_first_choice(await self._post(prompt, fields)))
        weights = [
            math.fsum(math.exp(logprob) for token, logprob in given if token.strip() == option.strip())
            for option in options
        ]
        if missing := [option for option, weight in zip(options, weights, strict=True) if weight == 0.0]:
            raise RequestRefused(
                f"the server gives no log-probabilities for {missing}: each option must be one token among the "
                f"{TOP} likeliest, and the server must support logprobs"
            )
        return [weight / math.fsum(weights) for weight in weights]

    async def _post(self, prompt: str | list[Message], fields: dict[str, Any]) -> dict[str, Any]:
        path, key = ("completions", "prompt") if isinstance(prompt, str) else ("chat/completions", "messages")
        body = {"model": self._spec.model, key: prompt, **fields, **self._spec.options}
        async with self._slots:
            began, tries = time.monotonic(), 0
            while True:
                response, trouble = await self._try(path, body)
                if response is not None and response.status_code not in WAITING:
                    return self._read(response)
                self._consider_giving_up(began, response, trouble)
                await asyncio.sleep(min(_pause(response, tries), self._spec.give_up_after_s))
                tries += 1

    async def _try(self, path: str, body: dict[str, Any]) -> tuple[httpx.Response | None, str]:
        try:
            response = await self._client.post(path, json=body)
        except httpx.RequestError as error:
            return None, f"{type(error).__name__}: {error}"
        return response, f"HTTP {response.status_code}: {_message(response)}"

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        status, told = response.status_code, _message(response)
        if status in HOPELESS:
            raise EngineDown(
                f"{self._spec.base_url} answers HTTP {status} ({told}); check base_url, model and the key in the "
                f"environment variable {self._spec.api_key_env}"
            )
        if not response.is_success:
            raise RequestRefused(f"the server refuses the request with HTTP {status}: {told}")
        self._heard = time.monotonic()
        answer = _json(response)
        if answer is None:
            raise RequestRefused(f"the server's reply is not a JSON object: {response.text[:200]!r}")
        return answer

    def _consider_giving_up(self, began: float, response: httpx.Response | None, trouble: str) -> None:
        now, limit = time.monotonic(), self._spec.give_up_after_s
        if now - max(began, self._heard) >= limit:
            told = f"{self._spec.base_url} answered nothing for {limit:g} s; last: {trouble}"
            raise EngineDown(told, recoverable=True)
        if now - began >= limit and response is not None and response.status_code in (500, 502):
            raise RequestRefused(f"the server answers others, but this request failed for {limit:g} s; last: {trouble}")


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
    }
    return fields | {name: value for name, (value, default) in said.items() if value != default}


def _first_choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise RequestRefused(f"the server's reply has no choices; got the fields {sorted(answer)}")
    return choices[0]


def _logprobs(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the first position; chat and completions write them differently."""
    told = choice.get("logprobs") or {}
    if content := told.get("content"):
        return [(entry["token"], entry["logprob"]) for entry in content[0].get("top_logprobs", [])]
    top = told.get("top_logprobs") or [{}]
    return list((top[0] or {}).items())


def _pause(response: httpx.Response | None, tries: int) -> float:
    """Seconds: what Retry-After says (a number or a date), else doubling from 0.5 to 30 with jitter."""
    told = response.headers.get("retry-after") if response is not None else None
    if told is not None and told.strip().replace(".", "", 1).isdigit():
        return float(told)
    if told is not None:
        try:
            return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):  # not a date either: pause as if nothing had been said
            pass
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tries) * random.uniform(0.5, 1.0)


def _json(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = response.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _message(response: httpx.Response) -> str:
    """The server's own words, bounded, and without the key, which a gateway may say again."""
    error = (_json(response) or {}).get("error")
    told = str((error.get("message") if isinstance(error, dict) else error) or response.text)
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    return (told.replace(key, "***") if key else told)[:300]


@asynccontextmanager
async def open_server(spec: OpenAISpec) -> AsyncIterator[ServerEngine]:
    """A client for the server. The key goes into the header only, never into a log or the engine's identity."""
    key = os.environ.get(spec.api_key_env)
    host = urlsplit(spec.base_url).hostname or ""
    async with httpx.AsyncClient(
        base_url=spec.base_url.rstrip("/") + "/",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(spec.timeout_s, connect=min(10.0, spec.timeout_s)),
        limits=httpx.Limits(max_connections=spec.in_flight, max_keepalive_connections=spec.in_flight),
        # A proxy from the environment is for other hosts than this one.
        trust_env=not (host in ("localhost", "::1") or host.startswith("127.")),
    ) as client:
        yield ServerEngine(spec, client)
