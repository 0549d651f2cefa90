"""One source of instructions: rounds of a step, until enough of what it writes is accepted.

Several rounds are in flight at once. Each uses what was accepted some rounds earlier, and they are gated in order, so
that requests and accepted rows do not depend on the order of replies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignery.pipeline.executor import Executor
from alignery.pipeline.finished import FinishedWork
from tasks.accepted import Accepted
from tasks.engines import Engine
from tasks.methods.self_instruct import method as self_instruct
from tasks.stage import NEW
from tasks.step import Row, Step
from warehouse.query import finished
from warehouse.query.finished import Round

Gate = Callable[[Sequence[Row]], Sequence[Row]]
Ask = Callable[[int, Sequence[Row]], list[Row]]
Chunks = asyncio.Queue[list[Row] | None]


@dataclass
class Source:
    """Rounds of one step that writes instructions, until enough are accepted.

    Args:
        name: the key of its settings in a preset.
        accept: how many to accept in all.
        max_candidates: how many may be written for that.
        key: of what is finished of it.
        ask: (round, instructions accepted by then) → its requests; none when nothing is left to request.
        gate: judges the candidates of a round.
        allowed: whether the stages may start from an accepted instruction.
    """

    name: str
    step: Step
    config: Any  # with what a `SourceConfig` has
    accept: int
    max_candidates: int
    executor: Executor
    engine: Engine
    finished: FinishedWork
    key: str
    ask: Callable[[int, Sequence[Row]], list[Row]]
    gate: Gate
    allowed: Callable[[Row], bool]
    accepted: Accepted = field(default_factory=Accepted)  # of finished rounds only if more are requested
    count: int = 0  # accepted in all
    candidates: int = 0
    topics: list[str] = field(default_factory=list)  # of all requests so far
    _counts: list[int] = field(default_factory=lambda: [0])  # accepted after each round, from before the first
    _new: set[str] = field(default_factory=set)  # accepted in this run, and not passed on yet
    _exhausted: bool = False

    is_target_known = True

    async def open(self) -> None:
        """Load the finished rounds."""
        for found in await self.finished.rounds(self.key):
            self._counts.append(self._counts[-1] + found.accepted)
            self.candidates += found.candidates
            self.executor.tally.saved += found.requests
        self.count = self._counts[-1]

    @property
    def is_written(self) -> bool:
        """Whether no more requests are sent."""
        return self.count >= self.accept or self.candidates >= self.max_candidates

    async def write(self, chunks: Chunks, size: int, group: asyncio.TaskGroup) -> None:
        """Put chunks of accepted instructions, exactly as many in all as the target says; of those of finished rounds
        the ones with something left to do."""
        config, asked = self.config, len(self._counts) - 1
        yielded = min(self.count, self.accept)
        if asked:
            async for some in self.finished.unfinished(self.key, asked, self.accept):
                for first in range(0, len(some), size):
                    await chunks.put([self_instruct.instruction_row(row) for row in some[first : first + size]])
            if not self.is_written:
                await asyncio.to_thread(self._load, asked)
        rounds: deque[tuple[asyncio.Task[list[Row]], list[Row]]] = deque()  # in flight, the oldest first
        while yielded < self.accept:
            ready = self.accepted[yielded : min(yielded + size, self.accept)]
            while self._wants(len(rounds)):
                # From what was accepted before the rounds now in flight were sent.
                pool = self.accepted.first(self._counts[max(0, asked + 1 - config.rounds_in_flight)])
                if not (requests := self.ask(asked, pool)):
                    self._exhausted = True
                    break
                self.topics += _topics(requests)
                before = rounds[-1][0] if rounds else None
                rounds.append((group.create_task(self._ask_round(requests, before)), requests))
                asked += 1
            if len(ready) == size or (ready and (not rounds or self.count >= self.accept)):
                yielded += len(ready)
                await chunks.put([self._started(record) for record in ready])
            elif rounds:
                answers, requests = rounds.popleft()
                self._take(await answers, requests)
            else:
                break

    def _started(self, record: Row) -> Row:
        """The row with which the stages start."""
        row = self_instruct.instruction_row(record)
        if row["instruction_id"] not in self._new:
            return row
        self._new.remove(row["instruction_id"])
        return row | {NEW: True}

    def _load(self, rounds: int) -> None:
        """The requests and accepted rows of finished rounds, because later rounds depend on them."""
        lake = self.executor.lake
        self.topics += finished.topics(lake, self.key, rounds)
        for batch in finished.accepted(lake, self.key, rounds):
            self.accepted.extend(batch)

    @property
    def target(self) -> int:
        return self.accept

    @property
    def reached(self) -> int:
        return min(self.count, self.accept)

    @property
    def short(self) -> str | None:
        """What is missing to the target, if anything."""
        if self.count >= self.accept:
            return None
        found = f"{self.count} of {self.accept} {self.name} instructions accepted out of"
        more = f"line.{self.name}.max_candidates ({self.config.max_candidates})"
        if self._exhausted:
            more = (
                f"line.{self.name}.topics.per_question, or its requests_per_type, for every pair of type and topic was "
                "asked for"
            )
        return f"{found} {self.candidates} candidates; raise {more}, or see the view 'rejects'"

    def _wants(self, on_their_way: int) -> bool:
        """Whether one more round is due, even if every request in flight yields all that it asks for."""
        config = self.config
        brought = on_their_way * config.requests_per_round * config.count
        return (
            not self._exhausted
            and on_their_way < config.rounds_in_flight
            and self.executor.may_ask(self.step)
            and self.count + brought < self.accept
            and self.candidates + brought < self.max_candidates
        )

    async def _ask_round(self, requests: list[Row], before: asyncio.Task[list[Row]] | None) -> list[Row]:
        async def judge(records: Sequence[Row]) -> Sequence[Row]:
            if before:  # rounds are gated in their order
                await asyncio.wait([before])
            return await asyncio.to_thread(self.gate, records)

        return await self.executor.run_batch(self.step, requests, self.engine, judge)

    def _take(self, records: Sequence[Row], requests: Sequence[Row]) -> None:
        """Count a round's candidates, and keep those that the stages may start from."""
        admitted = [record for record in records if record["state"] == "accepted" and self.allowed(record)]
        for record in admitted:
            self.accepted.append(record)
        self._new |= {record["id"] for record in admitted if "run_id" not in record}  # the lake fills that in
        # A round counts as one candidate a request at least, so that a model without replies cannot loop for ever.
        candidates = max(len(records), self.config.requests_per_round)
        done, number = Round(len(requests), candidates, len(admitted)), len(self._counts) - 1
        self.finished.finish_round(self.key, number, done, _topics(requests), [record["id"] for record in admitted])
        self.count += len(admitted)
        self.candidates += candidates
        self._counts.append(self.count)


def _topics(requests: Sequence[Row]) -> list[str]:
    """The topics of requests, where these have one each."""
    return [topic for row in requests if isinstance(topic := row.get("topic"), str)]
