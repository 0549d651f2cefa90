"""The sources of instructions: a user's own data, then Self-Instruct, the questions of red-teaming, and those of
methods that declare `requests`: magpie, evolve, personas and your own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from alignery.config.preset import Preset
from alignery.config.schema import Line
from alignery.pipeline.executor import Executor
from alignery.pipeline.finished import FinishedWork
from alignery.pipeline.own_data import OwnData
from alignery.pipeline.source import Ask, Chunks, Gate, Source
from prompts import Library, QuestionType
from tasks.engines import Engine
from tasks.filters.contamination import Contamination
from tasks.filters.pools import LatePool
from tasks.methods.base import New, most_accepted
from tasks.methods.prompts.method import Entry
from tasks.methods.red_team import method as red_team
from tasks.methods.self_instruct import method as self_instruct
from tasks.stage import Method
from tasks.step import Row, Step
from warehouse.query import estimates, status


def gating(line: Line) -> self_instruct.Config:
    """Self-Instruct's limits and similarity threshold apply to all sources; its defaults if it is not run."""
    return line.self_instruct or self_instruct.Config.model_validate({})


def _bounded(config: Any) -> Any:
    """The settings of a source, with rounds no larger than what brings all that is to be accepted if half of it is."""
    most = math.ceil(2 * most_accepted(config.accept) / config.count)
    return config.model_copy(update={"requests_per_round": min(config.requests_per_round, most)})


class Sources:
    """All sources of a line, one after the other; red-teaming's topics are written beside the first of them."""

    def __init__(
        self,
        preset: Preset,
        library: Library,
        finished: FinishedWork,
        executor: Executor,
        engine: Engine,
        contamination: Contamination,
    ) -> None:
        line = preset.line
        self._preset = preset.name
        self._library, self._finished, self._executor, self._engine = library, finished, executor, engine
        self._line, self._contamination = line, contamination
        self.hints: list[Row] = []
        self.types: list[QuestionType] = library.question_types() if line.red_team else []
        self.topics_config = red_team.enough_topics(line.red_team, len(self.types)) if line.red_team else None
        self.bare = line.instances is not None
        self._pool = LatePool(self._pool_texts)
        self._gating = gating(line)
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

    async def __aenter__(self) -> Sources:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._pool.close()

    async def write(self, chunks: Chunks, group: asyncio.TaskGroup) -> None:
        """Put chunks of every source's instructions, and None at the end."""
        for rounds in self.rounds:
            await rounds.open()
        if self.questions and not self.questions.is_written:
            topics = group.create_task(self._write_topics())
        for source in self.all:
            if source is self.questions and not source.is_written:
                self.hints = await topics
            await source.write(chunks, self._line.chunk, group)
        await chunks.put(None)

    @property
    def _is_gated(self) -> bool:
        """Whether anything is compared with existing instructions."""
        return bool(self.rounds) or any(entry.gate for entry in (self._line.prompts.root if self._line.prompts else ()))

    def _own_data(self, entries: Sequence[Entry]) -> OwnData:
        def judge(records: Sequence[Row], gated: bool) -> Sequence[Row]:
            if gated:
                return self_instruct.gate(records, self._pool, self._gating, self._contamination, written=False)
            return [self._only_clean(record) for record in records]

        template = self._library.prompt("aligner/correct").hash
        return OwnData(entries, self._finished, self._executor, judge, self._allowed, template)

    def _only_clean(self, record: Row) -> Row:
        reason = self._contamination.reason(record["text"])
        if reason is None and self._is_gated:
            self._pool.add(record["text"])
        return record | {"state": "rejected" if reason else "accepted", "reason": reason}

    def _instructions(self, config: self_instruct.Config) -> Source:
        step = self.stages["self_instruct.generate"].step

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            return self_instruct.requests(self._library, config, round, accepted, source.topics, bare=self.bare)

        gate = partial(self_instruct.gate, pool=self._pool, config=config, contamination=self._contamination)
        source = self._source("self_instruct", step, config, ask, gate)
        return source

    def _questions(self, config: red_team.Config) -> Source:
        step, config = self.stages["red_team.questions"].step, _bounded(config)

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            return red_team.question_requests(self.types, self.hints, config, round, accepted)

        gate = partial(red_team.gate_questions, pool=self._pool, config=self._gating, contamination=self._contamination)
        return self._source("red_team", step, config, ask, gate)

    def _further(self, method: Method, step: Step) -> Source:
        """The source that a method declares with `requests`."""
        config = self._line.configs[method.name]

        def ask(round: int, accepted: Sequence[Row]) -> list[Row]:
            return method.requests(self._library, config, round, accepted) if method.requests else []

        gate = partial(self_instruct.gate, pool=self._pool, config=self._gating, contamination=self._contamination)
        return self._source(method.name, step, config, ask, gate)

    def _source(self, name: str, step: Step, config: Any, ask: Ask, gate: Gate) -> Source:
        accept, most, lake = config.accept, config.max_candidates, self._executor.lake
        print = step.fingerprint(self._engine)
        if isinstance(accept, New):  # besides those of finished runs
            candidates, accepted = estimates.written(lake, step.table, print, self._preset)
            accept, most = accepted + accept.new, candidates + most
        topics = self.topics.fingerprint(self._engine) if self.topics else None  # hints are made from them
        hints = self.topics_config and self.topics_config.model_dump(mode="json")
        key = self._finished.source_key(name, print, topics, hints, config.requests_per_round)
        finished = self._finished
        return Source(
            name, step, config, accept, most, self._executor, self._engine, finished, key, ask, gate, self._allowed
        )

    def _allowed(self, record: Row) -> bool:
        """Checked again, because an evaluation prompt may have been added after an instruction was accepted."""
        return not self._contamination.reason(record["text"])

    def _pool_texts(self) -> Iterator[str]:
        """What new instructions are compared with: every accepted one of the lake, the seeds, the types' questions."""
        # The seeds are Self-Instruct's examples, and not compared with a user's own data.
        seeds = self._library.seeds() if self.instructions else []
        shown = (seed.instruction if self.bare else seed.whole for seed in seeds)
        questions = (type.question for type in self.types)
        return chain(status.instructions(self._executor.lake), shown, questions)

    async def _write_topics(self) -> list[Row]:
        """Every round's topics with those of the rounds before, balanced into hints for questions."""
        assert self.topics
        assert self.topics_config
        config = self.topics_config
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
