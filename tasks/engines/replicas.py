"""The replicas behind one engine: which is asked next, how many requests each has at once, which are out.

A request goes to the replica with the fewest requests on their way, or to the one that last had a prompt of the same
beginning, for that one has the beginning in its cache, while it is at most `WORTH` of its places busier.

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

SUSPECT = 3  # failures with no answer between them, from which on a replica must prove that it lives
WORTH = 1 / 8  # of a replica's places: by so much it may be busier than another and still be asked for its cache
SHORTEST = 256  # characters of the shortest beginning that is remembered; then 512, 1024 …
REMEMBERED = 1 << 16  # beginnings

logger = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that brought no answer. `pause_s` is what Retry-After asked for, if it was said."""

    def __init__(self, words: str, pause_s: float | None = None) -> None:
        super().__init__(words)
        self.pause_s = pause_s


class Suspect(RequestError):
    """Refused in a way that speaks of the whole replica and not of load: its address, model, key or place."""


class Client(Protocol):
    """By which a replica is asked."""

    def cut(self) -> None:
        """End what is under way now, as if its time were up."""

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
    """What to do where no replica is left: each refuses any request, they are silent, there are none."""

    refusing: str
    silent: str
    none: str = ""


C = TypeVar("C", bound=Client)


@dataclass(eq=False)
class Replica(Generic[C]):
    """One server or process. It is out while it has a health probe: nothing is sent to it but the probe's question."""

    name: str
    client: C
    window: float  # how many requests it may have at once now
    held: int = 0  # places taken: requests on their way, and those that wait before they try again
    failures: int = 0  # in a row
    heard: float = -math.inf  # when it last answered anybody, our own question included
    trouble: RequestError | None = None
    health_probe: asyncio.Task[None] | None = None
    removed: bool = False
    doubt: asyncio.Lock = field(default_factory=asyncio.Lock)


class Replicas(Generic[C]):
    """Shared by all requests of an engine, in one event loop.

    Args:
        question: asks a replica for so little that one that lives answers; raises RequestError where it does not.
    """

    def __init__(self, limits: Limits, question: Callable[[Replica[C]], Awaitable[object]], advice: Advice) -> None:
        self.all: list[Replica[C]] = []
        self.answered_at = -math.inf  # when a request was last answered by any of them
        self._limits, self._question, self._advice = limits, question, advice
        self._queue: deque[tuple[Replica[C] | None, Sequence[int], asyncio.Future[Replica[C]]]] = deque()
        self._last_asked: dict[int, Replica[C]] = {}  # hash of a prompt's beginning → replica, oldest first
        self._patience: asyncio.TimerHandle | None = None
        self._fault: EngineDown | None = None  # why nobody is served any more
        self._leaving: set[Replica[C]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._queue)

    def add(self, name: str, client: C, *, ready: bool = True) -> Replica[C]:
        """One more; one that is not `ready` is asked the question first, and nothing else before it has answered."""
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
        """Send it nothing more. What it has on its way may still be answered; its client is closed after the last."""
        replica.removed = True
        self.all.remove(replica)
        self._last_asked = {key: one for key, one in self._last_asked.items() if one is not replica}
        if replica.health_probe:
            replica.health_probe.cancel()
        self._leaving.add(replica)
        self._close_if_left(replica)
        self.await_one()

    def _close_if_left(self, replica: Replica[C]) -> None:
        if replica in self._leaving and not replica.held:
            self._leaving.discard(replica)
            closing = asyncio.create_task(replica.client.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def await_one(self) -> None:
        """Where none is in, or there are none: count the time from now on until one is."""
        if self._patience is None and self._fault is None and all(one.health_probe for one in self.all):
            self._patience = asyncio.get_running_loop().call_later(self._limits.give_up_after_s, self._give_up)

    async def enter(self, last: Replica[C] | None = None, beginnings: Sequence[int] = ()) -> Replica[C]:
        """A place at a replica, in turn; one that has tried before (`last`) goes first, and elsewhere.

        Args:
            beginnings: of the prompt, as `beginnings` gives them.

        Raises:
            EngineDown: all are out, and have been for `give_up_after_s`.
        """
        self.check()
        if not self._queue and (free := self._free(last, beginnings)):
            free.held += 1
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
        """Raises EngineDown where nobody is served any more."""
        if self._fault:
            raise EngineDown(str(self._fault), recoverable=self._fault.recoverable)

    def leave(self, replica: Replica[C]) -> None:
        replica.held -= 1
        self._close_if_left(replica)
        self._serve()

    def answered(self, replica: Replica[C]) -> None:
        replica.window = min(self._limits.in_flight, replica.window + 1 / replica.window)
        self.answered_at = time.monotonic()
        self._lives(replica)

    def refused(self, replica: Replica[C]) -> None:
        """It had too much to do."""
        replica.window = max(1.0, replica.window - 0.5)

    async def confirm_alive(self, replica: Replica[C]) -> bool:
        """Whether it answers anybody from now on: another request, or our question. One that does not is taken out."""
        now = time.monotonic()
        async with replica.doubt:  # one question, whose answer serves all who doubt
            if replica.heard <= now and replica.health_probe is None:
                trouble = await self._ask(replica)
                if trouble is None:
                    self._lives(replica)
                elif replica.heard <= now:
                    self.eject(replica, trouble)
        return replica.heard > now

    def eject(self, replica: Replica[C], trouble: RequestError) -> None:
        """Send it nothing before it has answered a question; it is asked again and again, after longer pauses."""
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
        """What is wrong with it, if it cannot answer a small question. To refuse one is to answer."""
        try:
            await self._question(replica)
        except RequestRefused:
            return None
        except RequestError as trouble:
            return trouble
        return None

    def _lives(self, replica: Replica[C]) -> None:
        is_new, replica.heard, replica.failures = replica.heard == -math.inf, time.monotonic(), 0
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
        open_ = [one for one in self.all if one.health_probe is None and one.held < int(one.window)]
        chosen = min(open_, key=lambda one: (one is last, one.held), default=None)
        if chosen is None or len(self.all) == 1:
            return chosen
        known = next((self._last_asked[one] for one in reversed(beginnings) if one in self._last_asked), None)
        if known in open_ and known is not last and known.held <= chosen.held + WORTH * known.window:
            chosen = known
        for one in beginnings:
            self._last_asked.pop(one, None)
            self._last_asked[one] = chosen
        while len(self._last_asked) > REMEMBERED:
            del self._last_asked[next(iter(self._last_asked))]
        return chosen

    def _serve(self) -> None:
        """Give the free places to those who wait, in turn."""
        while self._queue:
            last, beginnings, place = self._queue[0]
            free = None if place.done() else self._free(last, beginnings)
            if free is None and not place.done():
                return
            self._queue.popleft()
            if free:
                free.held += 1
                place.set_result(free)

    def give_up_if_all_misconfigured(self) -> None:
        """Give up at once where waiting helps nobody: each of them says that it will answer no request."""
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
    """Hashes of a prompt's beginnings, each twice as long as the one before: what two prompts share is known by half
    its length or more."""
    found, length = [], SHORTEST
    while length <= len(prompt):
        found.append(hash(prompt[:length]))
        length *= 2
    return found
