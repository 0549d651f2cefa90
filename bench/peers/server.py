"""The server of the peers' bench: latencies and refusals by a prompt's own marks, and a count of all it saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bench.engines.mock_server import MODELS, MockServer, completion, response
from bench.peers.load import is_bad, latency_s, place_of, reply

Place = tuple[int, int]  # row and step
REFUSED = response(b'{"error": {"message": "the prompt holds a word that I refuse", "code": 400}}', "400 Bad Request")
GREETING = response(completion("yes"))


@dataclass
class Counts:
    """What was asked by row and step, what was answered, and what was on its way meanwhile."""

    seen: Counter[Place] = field(default_factory=Counter)
    answered: Counter[Place] = field(default_factory=Counter)
    in_flight: int = 0
    first: float = 0.0  # when the first request came, and when the last answer went, as time.time()
    last: float = 0.0
    area: float = 0.0  # seconds × requests in flight
    asked_again: int = 0  # requests that had been answered before they came

    def came(self, place: Place) -> None:
        self._weigh()
        self.first = self.first or self.last
        self.seen[place] += 1
        self.asked_again += self.answered[place] > 0
        self.in_flight += 1

    def went(self, place: Place, delivered: bool) -> None:
        self._weigh()
        self.answered[place] += delivered
        self.in_flight -= 1

    def again(self) -> None:
        """A second process is about to start: time and load are counted from its first request on."""
        self.first = self.area = 0.0

    def _weigh(self) -> None:
        now = time.time()
        self.area += self.in_flight * (now - self.last) if self.in_flight else 0.0
        self.last = now

    def figures(self) -> bytes:
        busy_s = self.last - self.first
        figures = {
            "seen": self.seen.total(),
            "answered": self.answered.total(),
            "rows": len({row for row, _ in self.seen}),
            "asked_again": self.asked_again,
            "first": self.first,
            "last": self.last,
            "in_flight": self.area / busy_s if busy_s else 0.0,
        }
        return json.dumps(figures).encode()


@dataclass(frozen=True)
class Weather:
    """How the server behaves. `constant_s` of None is the heavy tail; `scale` multiplies every latency."""

    constant_s: float | None = None
    scale: float = 1.0
    some_bad: bool = False

    def latency_s(self, place: Place) -> float:
        return self.scale * (latency_s(*place) if self.constant_s is None else self.constant_s)


@dataclass
class Counting(MockServer):
    """A connection to it; GET /counts returns the counts to the runner, and /again restarts the clock."""

    weather: Weather
    counts: Counts

    def asked(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/again":
            self.counts.again()
        if head.startswith(b"GET"):
            self.answer(MODELS if path.startswith(b"/v1") else response(self.counts.figures()))
            return
        messages = json.loads(body)["messages"]
        place = place_of("\n".join(str(message["content"]) for message in messages))
        if place is None:  # a peer's own question, such as whether the model is there
            self.answer(GREETING)
            return
        self.counts.came(place)
        refused = self.weather.some_bad and is_bad(place[0])
        answer = REFUSED if refused else response(completion(reply(*place)))
        asyncio.get_running_loop().call_later(self.weather.latency_s(place), self._reply, place, answer)

    def _reply(self, place: Place, answer: bytes) -> None:
        self.counts.went(place, self.answer(answer))


def connections(weather: Weather) -> Callable[[], MockServer]:
    """What makes a connection, all of them counted together."""
    return partial(Counting, weather, Counts())
