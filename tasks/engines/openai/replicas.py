"""The servers behind one engine: which is asked next, how many requests each has at once, which are out.

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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tasks.engines.openai.http import RequestError, Suspect, Wire
from tasks.engines.protocol import EngineDown, RequestRefused
from tasks.engines.specs import OpenAISpec

SUSPECT = 3  # failures with no answer between them, from which on a server must prove that it lives

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Replica:
    """One base URL. It is out while it has a nurse: nothing is sent to it but her question."""

    url: str
    wire: Wire
    window: float  # how many requests it may have at once now
    held: int = 0  # places taken: requests on their way, and those that wait before they try again
    failures: int = 0  # in a row
    heard: float = -math.inf  # when it last answered anybody, our own question included
    trouble: RequestError | None = None
    health_probe: asyncio.Task[None] | None = None
    doubt: asyncio.Lock = field(default_factory=asyncio.Lock)


class Replicas:
    """Shared by all requests of an engine, in one event loop.

    Args:
        question: asks a server for so little that one that lives answers; raises what `Wire.send` does.
    """

    def __init__(self, spec: OpenAISpec, question: Callable[[Wire], Awaitable[object]]) -> None:
        self.all = [Replica(url, Wire(url, spec), spec.in_flight) for url in spec.base_url]
        self.answered_at = -math.inf  # when a request was last answered by any of them
        self._spec, self._question = spec, question
        self._queue: deque[tuple[Replica | None, asyncio.Future[Replica]]] = deque()
        self._patience: asyncio.TimerHandle | None = None
        self._fault: EngineDown | None = None  # why nobody is served any more

    async def enter(self, last: Replica | None = None) -> Replica:
        """A place at the least busy replica, in turn; one that has tried before (`last`) goes first, and elsewhere.

        Raises:
            EngineDown: all are out, and have been for `give_up_after_s`.
        """
        self.check()
        if not self._queue and (free := self._free(last)):
            free.held += 1
            return free
        place: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if last else self._queue.append)((last, place))
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

    def leave(self, replica: Replica) -> None:
        replica.held -= 1
        self._serve()

    def answered(self, replica: Replica) -> None:
        replica.window = min(self._spec.in_flight, replica.window + 1 / replica.window)
        self.answered_at = time.monotonic()
        self._lives(replica)

    def refused(self, replica: Replica) -> None:
        """It had too much to do."""
        replica.window = max(1.0, replica.window - 0.5)

    async def confirm_alive(self, replica: Replica) -> bool:
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

    def eject(self, replica: Replica, trouble: RequestError) -> None:
        """Send it nothing before it has answered a question; it is asked again and again, after longer pauses."""
        replica.trouble = trouble
        if replica.health_probe or self._fault:
            return
        logger.warning("%s is out: %s", replica.url, trouble)
        replica.health_probe = asyncio.create_task(self._nurse(replica, trouble.pause_s or self._spec.first_pause_s))
        if all(other.health_probe for other in self.all):
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._spec.give_up_after_s, self._give_up)
            self.give_up_if_all_misconfigured()

    async def _nurse(self, replica: Replica, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s * random.uniform(1.0, 1.25))
            trouble = await self._ask(replica)
            if trouble is None:
                break
            replica.trouble = trouble
            self.give_up_if_all_misconfigured()
            pause_s = min(self._spec.longest_pause_s, pause_s * 2)
        self._lives(replica)

    async def _ask(self, replica: Replica) -> RequestError | None:
        """What is wrong with it, if it cannot answer a small question. To refuse one is to answer."""
        try:
            await self._question(replica.wire)
        except RequestRefused:
            return None
        except RequestError as trouble:
            return trouble
        return None

    def _lives(self, replica: Replica) -> None:
        replica.heard, replica.failures = time.monotonic(), 0
        if replica.health_probe is None:
            return
        if replica.health_probe is not asyncio.current_task():
            replica.health_probe.cancel()
        replica.health_probe = self._fault = None
        if self._patience:
            self._patience.cancel()
        logger.warning("%s is back", replica.url)
        self._serve()

    def _free(self, last: Replica | None) -> Replica | None:
        open_ = [one for one in self.all if one.health_probe is None and one.held < int(one.window)]
        return min(open_, key=lambda one: (one is last, one.held), default=None)

    def _serve(self) -> None:
        """Give the free places to those who wait, in turn."""
        while self._queue:
            last, place = self._queue[0]
            free = None if place.done() else self._free(last)
            if free is None and not place.done():
                return
            self._queue.popleft()
            if free:
                free.held += 1
                place.set_result(free)

    def give_up_if_all_misconfigured(self) -> None:
        """Give up at once where waiting helps nobody: each of them says that address, model or key is wrong."""
        if all(one.health_probe and isinstance(one.trouble, Suspect) for one in self.all):
            self._give_up()

    def _give_up(self) -> None:
        states = "; ".join(f"{one.url} ({one.trouble})" for one in self.all)
        if all(isinstance(one.trouble, Suspect) for one in self.all):
            return self._end(
                f"{states} refuses any request; check base_url, model and the key in the environment variable "
                f"{self._spec.api_key_env}",
                recoverable=False,
            )
        return self._end(
            f"{states} answered nothing for {self._spec.give_up_after_s:g} s (give_up_after_s); start the server again "
            "or mend base_url, and run again: what was answered is kept",
            recoverable=True,
        )

    def _end(self, words: str, recoverable: bool) -> None:
        """Requests that wait, are in flight or come later fail with this, until a server is back."""
        self._fault = EngineDown(words, recoverable=recoverable)
        for replica in self.all:
            replica.wire.cut()
        while self._queue:
            _, place = self._queue.popleft()
            if not place.done():
                place.set_exception(EngineDown(words, recoverable=recoverable))

    async def close(self) -> None:
        self._end("the engine was closed", recoverable=False)
        if self._patience:
            self._patience.cancel()
        nurses = [one.health_probe for one in self.all if one.health_probe]
        for health_probe in nurses:
            health_probe.cancel()
        await asyncio.gather(*nurses, return_exceptions=True)
        for replica in self.all:
            await replica.wire.close()
