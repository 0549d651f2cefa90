"""The replicas behind one engine: load balancing, limits on requests in flight, and health checks.

A request goes to the replica with the fewest requests in flight, or to the one that last had a prompt with the same
prefix, which is then in its cache, if that one is busier by `WORTH` of its places at most.

The number in flight follows 429 as DCTCP follows marks (RFC 8257, section 3.3): each takes half a place away and each
answer gives 1/window back. So a round in which all are refused halves it, one in which 5 % are takes 2.5 %, and a
round without any adds one place (AIMD), up to `in_flight`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tasks.engines.protocol import EngineDown, RequestRefused

SUSPECT = 3  # failures in a row, from which on a replica gets a health check
WORTH = 1 / 8  # of a replica's places: how much busier it may be and still be preferred for its prefix cache
SHORTEST = 256  # characters of the shortest prefix that is remembered; then 512, 1024 …
REMEMBERED = 1 << 16  # prefixes

logger = logging.getLogger(__name__)


class RequestError(Exception):
    """A request without an answer. `pause_s` is the Retry-After header, where there was one."""

    def __init__(self, words: str, pause_s: float | None = None) -> None:
        super().__init__(words)
        self.pause_s = pause_s


class Suspect(RequestError):
    """An error of the whole replica, not of its load: its address, model, key or placement is wrong."""


class Client(Protocol):
    """Sends requests to one replica."""

    def cut(self) -> None:
        """Time out the requests in flight."""

    async def close(self) -> None: ...


class Limits(Protocol):
    """Of an engine's spec."""

    @property
    def in_flight(self) -> int: ...
    @property
    def first_pause_s(self) -> float: ...
    @property
    def longest_pause_s(self) -> float: ...
    @property
    def give_up_after_s(self) -> float: ...


@dataclass(frozen=True)
class Advice:
    """Fixes for the error where no replica is left: each refuses any request, none answers, there are none."""

    refusing: str
    silent: str
    none: str = ""


C = TypeVar("C", bound=Client)


@dataclass(eq=False)
class Replica(Generic[C]):
    """One server or process. While it has a health probe it is out, and gets only the probe's requests."""

    name: str
    client: C
    window: float  # how many requests it may have at once now
    taken: int = 0  # places taken: requests in flight, and those that wait for a retry
    failures: int = 0  # in a row
    answered_at: float = -math.inf  # when it last answered, a health check included
    trouble: RequestError | None = None
    health_probe: asyncio.Task[None] | None = None
    removed: bool = False
    doubt: asyncio.Lock = field(default_factory=asyncio.Lock)


class Replicas(Generic[C]):
    """Shared by all requests of an engine, in one event loop.

    Args:
        question: the health check, a request so small that any replica that is up answers; raises RequestError.
    """

    def __init__(self, limits: Limits, question: Callable[[Replica[C]], Awaitable[object]], advice: Advice) -> None:
        self.all: list[Replica[C]] = []
        self.answered_at = -math.inf  # when a request was last answered by any of them
        self._limits, self._question, self._advice = limits, question, advice
        self._queue: deque[tuple[Replica[C] | None, Sequence[int], asyncio.Future[Replica[C]]]] = deque()
        self._last_asked: dict[int, Replica[C]] = {}  # hash of a prompt's beginning → replica, oldest first
        self._patience: asyncio.TimerHandle | None = None
        self._fault: EngineDown | None = None  # why all requests fail
        self._leaving: set[Replica[C]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._queue)

    def add(self, name: str, client: C, *, ready: bool = True) -> Replica[C]:
        """Add a replica; one that is not `ready` gets no request before it has passed a health check."""
        replica = Replica(name, client, self._limits.in_flight)
        self.all.append(replica)
        if ready:
            self._recovered()
        else:
            replica.trouble = RequestError("it is not ready yet")
            replica.health_probe = asyncio.create_task(self._probe(replica, 0.0))
            self.await_one()
        return replica

    def remove(self, replica: Replica[C]) -> None:
        """Send it no more requests. Those in flight may still be answered; its client is closed after the last."""
        replica.removed = True
        self.all.remove(replica)
        self._last_asked = {key: one for key, one in self._last_asked.items() if one is not replica}
        if replica.health_probe:
            replica.health_probe.cancel()
        self._leaving.add(replica)
        self._close_if_left(replica)
        self.await_one()

    def _close_if_left(self, replica: Replica[C]) -> None:
        if replica in self._leaving and not replica.taken:
            self._leaving.discard(replica)
            closing = asyncio.create_task(replica.client.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def await_one(self) -> None:
        """Start the timer of `give_up_after_s` where no replica is in; it runs until one is."""
        if self._patience is None and self._fault is None and all(one.health_probe for one in self.all):
            self._patience = asyncio.get_running_loop().call_later(self._limits.give_up_after_s, self._give_up)

    async def enter(self, last: Replica[C] | None = None, beginnings: Sequence[int] = ()) -> Replica[C]:
        """A place at a replica, first come, first served; a retry (after `last`) goes first, to another replica.

        Args:
            beginnings: of the prompt, as `beginnings` gives them.

        Raises:
            EngineDown: all are out, and have been for `give_up_after_s`.
        """
        self.check()
        if not self._queue and (free := self._free(last, beginnings)):
            free.taken += 1
            return free
        place: asyncio.Future[Replica[C]] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if last else self._queue.append)((last, beginnings, place))
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and not place.exception():
                self.leave(place.result())
            raise

    def check(self) -> None:
        """Raises EngineDown where all requests fail."""
        if self._fault:
            raise EngineDown(str(self._fault), recoverable=self._fault.recoverable)

    def leave(self, replica: Replica[C]) -> None:
        replica.taken -= 1
        self._close_if_left(replica)
        self._serve()

    def answered(self, replica: Replica[C]) -> None:
        replica.window = min(self._limits.in_flight, replica.window + 1 / replica.window)
        self.answered_at = time.monotonic()
        self._lives(replica)

    def refused(self, replica: Replica[C]) -> None:
        """It was overloaded."""
        replica.window = max(1.0, replica.window - 0.5)

    async def confirm_alive(self, replica: Replica[C]) -> bool:
        """Whether it answers from now on: another request, or a health check. Without an answer it is taken out."""
        now = time.monotonic()
        async with replica.doubt:  # one health check for all requests that wait here
            if replica.answered_at <= now and replica.health_probe is None:
                trouble = await self._ask(replica)
                if trouble is None:
                    self._lives(replica)
                elif replica.answered_at <= now:
                    self.eject(replica, trouble)
        return replica.answered_at > now

    def eject(self, replica: Replica[C], trouble: RequestError) -> None:
        """Take it out until it passes a health check, which is repeated after longer and longer pauses."""
        replica.trouble = trouble
        if replica.health_probe or replica.removed or self._fault:
            return
        logger.warning("%s is out: %s", replica.name, trouble)
        replica.health_probe = asyncio.create_task(self._probe(replica, trouble.pause_s or self._limits.first_pause_s))
        self.await_one()
        self.give_up_if_all_misconfigured()

    async def _probe(self, replica: Replica[C], pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s * random.uniform(1.0, 1.25))
            trouble = await self._ask(replica)
            if trouble is None:
                break
            if str(trouble) != str(replica.trouble):
                logger.warning("%s is still out: %s", replica.name, trouble)
            replica.trouble = trouble
            self.give_up_if_all_misconfigured()
            pause_s = min(self._limits.longest_pause_s, max(pause_s * 2, self._limits.first_pause_s))
        self._lives(replica)

    async def _ask(self, replica: Replica[C]) -> RequestError | None:
        """The error of a health check; None where it passed. A refusal is an answer."""
        try:
            await self._question(replica)
        except RequestRefused:
            return None
        except RequestError as trouble:
            return trouble
        return None

    def _lives(self, replica: Replica[C]) -> None:
        is_new, replica.answered_at, replica.failures = replica.answered_at == -math.inf, time.monotonic(), 0
        if replica.health_probe is None or replica.removed:
            return
        if replica.health_probe is not asyncio.current_task():
            replica.health_probe.cancel()
        replica.health_probe = None
        logger.log(logging.INFO if is_new else logging.WARNING, "%s is in", replica.name)
        self._recovered()

    def _recovered(self) -> None:
        self._fault = None
        if self._patience:
            self._patience.cancel()
            self._patience = None
        self._serve()

    def _free(self, last: Replica[C] | None, beginnings: Sequence[int]) -> Replica[C] | None:
        open_ = [one for one in self.all if one.health_probe is None and one.taken < int(one.window)]
        chosen = min(open_, key=lambda one: (one is last, one.taken), default=None)
        if chosen is None or len(self.all) == 1:
            return chosen
        known = next((self._last_asked[one] for one in reversed(beginnings) if one in self._last_asked), None)
        if known in open_ and known is not last and known.taken <= chosen.taken + WORTH * known.window:
            chosen = known
        for one in beginnings:
            self._last_asked.pop(one, None)
            self._last_asked[one] = chosen
        while len(self._last_asked) > REMEMBERED:
            del self._last_asked[next(iter(self._last_asked))]
        return chosen

    def _serve(self) -> None:
        """Give the free places to waiting requests, in order."""
        while self._queue:
            last, beginnings, place = self._queue[0]
            free = None if place.done() else self._free(last, beginnings)
            if free is None and not place.done():
                return
            self._queue.popleft()
            if free:
                free.taken += 1
                place.set_result(free)

    def give_up_if_all_misconfigured(self) -> None:
        """Give up at once where waiting cannot help: each of them refuses any request."""
        if self.all and all(one.health_probe and isinstance(one.trouble, Suspect) for one in self.all):
            self._give_up()

    def _give_up(self) -> None:
        states = "; ".join(f"{one.name} ({one.trouble})" for one in self.all)
        after = f"for {self._limits.give_up_after_s:g} s (give_up_after_s)"
        if not self.all:
            return self._end(f"{self._advice.none} {after}", recoverable=True)
        if all(isinstance(one.trouble, Suspect) for one in self.all):
            return self._end(f"{states} refuses any request; {self._advice.refusing}", recoverable=False)
        return self._end(f"{states} answered nothing {after}; {self._advice.silent}", recoverable=True)

    def _end(self, words: str, recoverable: bool) -> None:
        """Requests that wait, are in flight or come later fail with this, until a replica is back."""
        self._fault = EngineDown(words, recoverable=recoverable)
        for replica in (*self.all, *self._leaving):
            replica.client.cut()
        while self._queue:
            _, _, place = self._queue.popleft()
            if not place.done():
                place.set_exception(EngineDown(words, recoverable=recoverable))

    async def close(self) -> None:
        """Fail what is in flight, and close the clients."""
        self._end("the engine was closed", recoverable=False)
        if self._patience:
            self._patience.cancel()
        probes = [one.health_probe for one in self.all if one.health_probe]
        for health_probe in probes:
            health_probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await asyncio.gather(*(one.client.close() for one in (*self.all, *self._leaving)), *self._closing)


def beginnings(prompt: str | bytes) -> list[int]:
    """Hashes of a prompt's prefixes, each twice as long as the one before, so that at least half of a prefix that two
    prompts share is recognised."""
    found, length = [], SHORTEST
    while length <= len(prompt):
        found.append(hash(prompt[:length]))
        length *= 2
    return found
