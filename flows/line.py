"""The line: the way of a row from a topic to a training example, walked chunk by chunk.

Instructions are written round by round; as soon as a chunk of them is accepted it walks on by itself,
answer → critique ⇄ revision, answer → correction, and the principled answer beside them, so that
steps overlap and the engine always has work.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import get_args

from flows.factory import Factory, Judge
from flows.presets import Alias, Preset
from prompts import Library, digest
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Engine
from tasks.engines.lazy import open_lazily
from tasks.evaluate import held_out
from tasks.filters import contamination
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.generate import aligner, constitutional, rate, respond, self_align, self_instruct
from tasks.step import Row, Step
from warehouse import look


@dataclass(frozen=True)
class Stage:
    """A step of the line, the place (in `Line.stages`) of the one whose accepted rows it gets, and who is asked."""

    step: Step
    after: int | None = None
    alias: Alias = "generator"


@dataclass
class Line:
    """One refresh of one preset. Build it with the engines by alias, then `await line.walk()`."""

    preset: Preset
    factory: Factory
    engines: Mapping[Alias, Engine]
    held_out: Sequence[str] = ()  # evaluation prompts, which no instruction may repeat
    accepted: list[Row] = field(default_factory=list)
    candidates: int = 0

    def __post_init__(self) -> None:
        line = self.preset.line
        self.library: Library = self.preset.words.library()
        self.contamination = Contamination(self.held_out)
        self.write = self_instruct.generate(self.library, line.self_instruct)
        self.respond = respond.respond(self.library, line.respond)
        self.principled = self_align.answer(self.library, line.self_align) if line.self_align else None
        self.correct = aligner.correct(self.library, line.aligner) if line.aligner else None
        self.rounds = self._rounds()
        self.rate = rate.rate(self.library, line.rate) if line.rate else None
        self.rate_principled = (
            rate.rate(self.library, line.rate, "principled") if line.rate and line.self_align else None
        )

    def _rounds(self) -> list[tuple[Step, Step]]:
        config = self.preset.line.constitutional
        if config is None:
            return []
        return [
            (constitutional.critique(self.library, config, n), constitutional.revise(self.library, config, n))
            for n in range(1, config.rounds + 1)
        ]

    @property
    def stages(self) -> list[Stage]:
        """Every step of this line; one stands after the one that it gets its rows from."""
        found = [Stage(self.write), Stage(self.respond, 0)]
        for step in chain.from_iterable(self.rounds):
            found.append(Stage(step, len(found) - 1))
        if self.rate:
            found.append(Stage(self.rate, len(found) - 1, "judge"))
        if self.principled:
            found.append(Stage(self.principled, 0))
        if self.rate_principled:
            found.append(Stage(self.rate_principled, len(found) - 1, "judge"))
        if self.correct:
            found.append(Stage(self.correct, 1, "aligner"))
        return found

    def words(self) -> list[Row]:
        """What this line may say, for the `prompts` table: each prompt, principle, rule and exemplar."""
        prompts = [stage.step.prompt for stage in self.stages]
        rows = [{"hash": prompt.hash, "id": prompt.id, "source": prompt.source} for prompt in prompts]
        if self.rounds:
            for p in self.library.principles():
                rows.append({"hash": p.critique_hash, "id": f"principle:{p.id}", "source": p.critique})
                rows.append({"hash": p.revision_hash, "id": f"principle:{p.id}:revision", "source": p.revision})
        if self.principled:
            rules, exemplars = self.library.rules()
            said = [(f"rule:{rule.name}", f"{rule.name}: {rule.text}") for rule in rules]
            said += [(f"exemplar:{n}", f"{e.query}\n{e.thought}\n{e.answer}") for n, e in enumerate(exemplars, 1)]
            rows += [{"hash": digest(id, text), "id": id, "source": text} for id, text in said]
        return rows

    async def walk(self) -> str | None:
        """Walk until the target of accepted instructions is reached; if candidates or budget ran out first, say so."""
        line = self.preset.line
        # Four rows for each request that may be on its way: while a chunk waits for its last answer, others are asked.
        busy = max(8, math.ceil(4 * self.preset.spec("generator").places / line.chunk))
        places = asyncio.Semaphore(line.chunks_in_flight or busy)
        async with asyncio.TaskGroup() as group, aclosing(self._instructions()) as chunks:
            async for chunk in chunks:
                await places.acquire()
                walk = group.create_task(self._walk_chunk(chunk))
                walk.add_done_callback(lambda _: places.release())
        config = line.self_instruct
        if self.factory.spent:
            return f"stopped at its budget: {self.factory.spent}; run the same command again to go on from here"
        if len(self.accepted) >= config.accept:
            return None
        return (
            f"stopped short: {len(self.accepted)} of {config.accept} instructions accepted out of {self.candidates} "
            f"candidates; raise line.self_instruct.max_candidates ({config.max_candidates}), or see the view 'rejects'"
        )

    async def _instructions(self) -> AsyncGenerator[list[Row], None]:
        """Chunks of accepted instructions, exactly as many in all as the target says."""
        config, chunk = self.preset.line.self_instruct, self.preset.line.chunk
        judge = self._gate(config)
        yielded = number = 0
        while yielded < config.accept:
            ready = self.accepted[yielded : min(yielded + chunk, config.accept)]
            exhausted = self.candidates >= config.max_candidates or self.factory.spent is not None
            if len(ready) == chunk or (ready and (exhausted or len(self.accepted) >= config.accept)):
                yielded += len(ready)
                yield [self_instruct.instruction_row(record) for record in ready]
            elif exhausted:
                return
            else:
                requests = self_instruct.requests(self.library, config, number, self.accepted)
                records = await self.factory.settle(self.write, requests, self.engines["generator"], judge)
                # Looked at again, for an evaluation prompt may have come after an instruction was accepted.
                self.accepted += [
                    record
                    for record in records
                    if record["state"] == "accepted" and not self.contamination.reason(record["text"])
                ]
                # A round counts as one candidate a request at least, so that a silent model cannot loop for ever.
                self.candidates += max(len(records), len(requests))
                number += 1

    def _gate(self, config: self_instruct.Config) -> Judge:
        seeds = (seed.instruction for seed in self.library.seeds())
        pool = RougePool(chain(look.instructions(self.factory.lake), seeds))
        return lambda records: self_instruct.gate(records, pool, config, self.contamination)

    async def _walk_chunk(self, rows: list[Row]) -> None:
        generator = self.engines["generator"]
        async with asyncio.TaskGroup() as group:
            if self.principled:
                group.create_task(self._walk_principled(self.principled, rows))
            answered = await self.factory.advance(self.respond, rows, generator)
            if self.correct:
                group.create_task(self.factory.advance(self.correct, answered, self.engines["aligner"]))
            for critique, revise in self.rounds:
                answered = await self.factory.advance(critique, answered, generator)
                answered = await self.factory.advance(revise, answered, generator)
            if self.rate:
                await self.factory.advance(self.rate, answered, self.engines["judge"])

    async def _walk_principled(self, step: Step, rows: list[Row]) -> None:
        answered = await self.factory.advance(step, rows, self.engines["generator"])
        if self.rate_principled:
            await self.factory.advance(self.rate_principled, answered, self.engines["judge"])


def held_out_of(preset: Preset) -> list[str]:
    """The evaluation prompts, which no instruction may repeat: the preset's own, and the sets that it names."""
    own = [row["prompt"] for row in held_out.load(preset.evaluate.prompts)] if preset.evaluate else []
    return own + [text for each in preset.line.decontaminate for text in contamination.load(each.path, each.field)]


@asynccontextmanager
async def engines_of(preset: Preset, budget: Budget) -> AsyncIterator[dict[Alias, Engine]]:
    """The preset's engines by alias, under one budget; each is loaded when it is first asked."""
    async with AsyncExitStack() as stack:
        engines: dict[Alias, Engine] = {}
        for alias, spec in preset.models.items():
            engine = await stack.enter_async_context(open_lazily(spec))
            engines[alias] = MeteredEngine(engine, budget, spec.places) if budget.limited else engine
        for alias in get_args(Alias):
            engines.setdefault(alias, engines["generator"])
        yield engines


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first fault of a task group as itself: the others are its echoes."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
