"""The sources of instructions: a user's own data, then Self-Instruct, then the questions of red-teaming.

Several rounds are on their way at once. Each asks with what was accepted some rounds before, and they are gated in
their order, so that what is asked and what is accepted does not depend on who answers first.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from alignery.config.preset import Preset
from alignery.pipeline.executor import Executor
from alignery.pipeline.own_data import OwnData
from prompts import Library, QuestionType
from tasks.engines import Engine
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.methods.base import New, wanted
from tasks.methods.prompts.method import Entry
from tasks.methods.red_team import method as red_team
from tasks.methods.self_instruct import method as self_instruct
from tasks.stage import Method
from tasks.step import Row, Step
from warehouse.query import estimates, status

Gate = Callable[[Sequence[Row]], Sequence[Row]]
Ask = Callable[[int, Sequence[Row]], list[Row]]
Chunks = asyncio.Queue[list[Row] | None]
_KEPT = ("id", "topic", "text", "question_type")


@dataclass
class Source:
    """Rounds of one step that writes instructions, until enough are accepted.

    Args:
        name: where its settings stand in a preset.
        accept: how many are to be accepted in all.
        max_candidates: how many may be written for that.
        ask: (round, instructions accepted by then) → its requests; none when there is nothing left to ask for.
        gate: judges the candidates of a round.
        allowed: whether an accepted instruction may be walked on from.
    """

    name: str
    step: Step
    config: Any  # with what a `SourceConfig` has
    accept: int
    max_candidates: int
    executor: Executor
    engine: Engine
    ask: Callable[[int, Sequence[Row]], list[Row]]
    gate: Gate
    allowed: Callable[[Row], bool]
    accepted: list[Row] = field(default_factory=list)
    candidates: int = 0
    _exhausted: bool = False

    async def write(self, chunks: Chunks, size: int, group: asyncio.TaskGroup) -> None:
        """Put chunks of accepted instructions, exactly as many in all as the target says."""
        config = self.config
        rounds: deque[asyncio.Task[list[Row]]] = deque()  # on their way, the oldest first
        counts = [0]  # accepted after each round, from before the first
        yielded = asked = 0
        while yielded < self.accept:
            ready = self.accepted[yielded : min(yielded + size, self.accept)]
            while self._wants(len(rounds)):
                # From what was accepted when the rounds that are on their way now were not yet asked.
                pool = self.accepted[: counts[max(0, asked + 1 - config.rounds_in_flight)]]
                if not (requests := self.ask(asked, pool)):
                    self._exhausted = True
                    break
                before = rounds[-1] if rounds else None
                rounds.append(group.create_task(self._ask_round(requests, before)))
                asked += 1
            if len(ready) == size or (ready and (not rounds or len(self.accepted) >= self.accept)):
                yielded += len(ready)
                await chunks.put([self_instruct.instruction_row(record) for record in ready])
            elif rounds:
                self._take(await rounds.popleft())
                counts.append(len(self.accepted))
            else:
                break

    @property
    def target(self) -> int:
        return self.accept

    @property
    def reached(self) -> int:
        return min(len(self.accepted), self.accept)

    @property
    def short(self) -> str | None:
        """What is missing to the target, if anything."""
        if len(self.accepted) >= self.accept:
            return None
        found = f"{len(self.accepted)} of {self.accept} {self.name} instructions accepted out of"
        more = f"line.{self.name}.max_candidates ({self.config.max_candidates})"
        if self._exhausted:
            more = (
                f"line.{self.name}.topics.per_question, or its requests_per_type, for every pair of type and topic was "
                "asked for"
            )
        return f"{found} {self.candidates} candidates; raise {more}, or see the view 'rejects'"

    def _wants(self, on_their_way: int) -> bool:
        """Whether one more round is due, even if every request on its way brings all that it was asked for."""
        config = self.config
        brought = on_their_way * config.requests_per_round * config.count
        return (
            not self._exhausted
            and on_their_way < config.rounds_in_flight
            and self.executor.may_ask(self.step)
            and len(self.accepted) + brought < self.accept
            and self.candidates + brought < self.max_candidates
        )

    async def _ask_round(self, requests: list[Row], before: asyncio.Task[list[Row]] | None) -> list[Row]:
        async def judge(records: Sequence[Row]) -> Sequence[Row]:
            if before:  # rounds are gated in their order
                await asyncio.wait([before])
            return await asyncio.to_thread(self.gate, records)

        return await self.executor.run_batch(self.step, requests, self.engine, judge)

    def _take(self, records: Sequence[Row]) -> None:
        """Count a round's candidates, and keep what may be walked on from."""
        self.accepted += [
            {name: record.get(name) for name in _KEPT}
            for record in records
            if record["state"] == "accepted" and self.allowed(record)
        ]
        # A round counts as one candidate a request at least, so that a silent model cannot loop for ever.
        self.candidates += max(len(records), self.config.requests_per_round)


def _bounded(config: Any) -> Any:
    """The settings of a source, with rounds no larger than what brings all that is to be accepted if half of it is."""
    most = math.ceil(2 * wanted(config.accept) / config.count)
    return config.model_copy(update={"requests_per_round": min(config.requests_per_round, most)})


class Sources:
    """All sources of a line, one after the other; red-teaming's topics are written beside the first of them."""

    def __init__(
        self, preset: Preset, library: Library, executor: Executor, engine: Engine, contamination: Contamination
    ) -> None:
        line = preset.line
        self._library, self._executor, self._engine = library, executor, engine
        self._line, self._contamination = line, contamination
        self._asked: list[str] = []  # topics of the requests of Self-Instruct so far
        self.hints: list[Row] = []
        self.types: list[QuestionType] = library.question_types() if line.red_team else []
        self.topics_config = red_team.enough_topics(line.red_team, len(self.types)) if line.red_team else None
        self.bare = line.instances is not None
        self._pool = RougePool()
        # What Self-Instruct refuses, and how near is too near, holds for all; its defaults, where it is not run.
        self._gating = line.self_instruct or self_instruct.Config.model_validate({})
        written = preset.stages(library, source=True)
        self.stages = {stage.name: stage for stages in written for stage in stages}
        self.topics = self.stages["red_team.topics"].step if line.red_team else None
        self.own = self._own_data(line.prompts.root) if line.prompts else None
        self.instructions = self._instructions(line.self_instruct) if line.self_instruct else None
        self.questions = self._questions(line.red_team) if line.red_team else None
        run = [method for method in line.methods.sources if method.name in line.configs]
        further = [
            self._further(method, stages[0].step)
            for method, stages in zip(run, written, strict=True)
            if method.requests
        ]
        self.rounds = [rounds for rounds in (self.instructions, self.questions, *further) if rounds]  # by models
        self.all: list[Source | OwnData] = [*([self.own] if self.own else []), *self.rounds]

    async def write(self, chunks: Chunks, group: asyncio.TaskGroup) -> None:
        """Put chunks of what every source brings, and None at the end."""
        topics = group.create_task(self._write_topics())
        if self._is_gated:
            await asyncio.to_thread(self._fill_pool)
        for source in self.all:
            if source is self.questions:
                self.hints = await topics
            await source.write(chunks, self._line.chunk, group)
        await topics
        await chunks.put(None)

    @property
    def _is_gated(self) -> bool:
        """Whether anything is compared with what is there."""
        return bool(self.rounds) or any(entry.gate for entry in (self._line.prompts.root if self._line.prompts else ()))

    def _own_data(self, entries: Sequence[Entry]) -> OwnData:
        def judge(records: Sequence[Row], gated: bool) -> Sequence[Row]:
            if gated:
                return self_instruct.gate(records, self._pool, self._gating, self._contamination)
            return [self._only_clean(record) for record in records]

        template = self._library.prompt("aligner/correct").hash
        return OwnData(entries, self._executor, judge, self._allowed, template)

    def _only_clean(self, record: Row) -> Row:
        reason = self._contamination.reason(record["text"])
        if reason is None and self._is_gated:
            self._pool.add(record["text"])
        return record | {"state": "rejected" if reason else "accepted", "reason": reason}

    def _instructions(self, config: self_instruct.Config) -> Source:
        step, config = self.stages["self_instruct.generate"].step, _bounded(config)

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            rows = self_instruct.requests(self._library, config, round, accepted, self._asked, bare=self.bare)
            self._asked += [row["topic"] for row in rows]
            return rows

        gate = partial(self_instruct.gate, pool=self._pool, config=config, contamination=self._contamination)
        return self._source("self_instruct", step, config, ask, gate)

    def _questions(self, config: red_team.Config) -> Source:
        step, config = self.stages["red_team.questions"].step, _bounded(config)

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            return red_team.question_requests(self.types, self.hints, config, round, accepted)

        gate = partial(red_team.gate_questions, pool=self._pool, config=self._gating, contamination=self._contamination)
        return self._source("red_team", step, config, ask, gate)

    def _further(self, method: Method, step: Step) -> Source:
        """The source that a method from outside declares."""
        config = _bounded(self._line.configs[method.name])

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            return method.requests(self._library, config, round, accepted) if method.requests else []

        gate = partial(self_instruct.gate, pool=self._pool, config=self._gating, contamination=self._contamination)
        return self._source(method.name, step, config, ask, gate)

    def _source(self, name: str, step: Step, config: Any, ask: Ask, gate: Gate) -> Source:
        accept, most = config.accept, config.max_candidates
        if isinstance(accept, New):  # beside what the runs that finished have brought
            candidates, kept = estimates.written(self._executor.lake, step.table, step.fingerprint(self._engine))
            accept, most = kept + accept.new, candidates + most
        return Source(name, step, config, accept, most, self._executor, self._engine, ask, gate, self._allowed)

    def _allowed(self, record: Row) -> bool:
        """Looked at again, for an evaluation prompt may have come after an instruction was accepted."""
        return not self._contamination.reason(record["text"])

    def _fill_pool(self) -> None:
        # The seeds are Self-Instruct's examples, and near to nothing of a user's own.
        seeds = self._library.seeds() if self.instructions else []
        shown = (seed.instruction if self.bare else seed.whole for seed in seeds)
        questions = (type.question for type in self.types)
        for text in chain(status.instructions(self._executor.lake), shown, questions):
            self._pool.add(text)

    async def _write_topics(self) -> list[Row]:
        """Every round's topics with those of the rounds before, balanced into hints for questions."""
        if not (self._line.red_team and self.topics and (config := self.topics_config)):
            return []
        known: red_team.Known = {type.name: list(type.topics) for type in self.types}
        for round in range(config.rounds):

            async def judge(records: Sequence[Row], known: red_team.Known = known) -> Sequence[Row]:
                return red_team.gate_topics(records, known, config)

            requests = red_team.topic_requests(self.types, config, round, known)
            records = await self._executor.run_batch(self.topics, requests, self._engine, judge)
            if self._executor.may_ask(self.topics):  # hints from a part of a round would not stay in their places
                known = red_team.joined(known, records)
        hints = red_team.balanced(known)
        if self._executor.may_ask(self.topics):
            return hints
        # More are to come, and would be in the last request too.
        size = self._line.red_team.count
        return hints[: max(1, len(hints) // size) * size]
