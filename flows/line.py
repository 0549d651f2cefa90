"""The line: the way of a row from a topic to a training example, each row by itself.

Instructions are written round by round; as soon as they are accepted each walks on alone, answer → critique ⇄
revision, answer → correction, and the principled answer beside them. So every step overlaps with every other, and one
long answer holds up nobody but its own row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import get_args

from flows.factory import Factory
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

Gate = Callable[[Sequence[Row]], Sequence[Row]]


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
    _walking: set[str] = field(default_factory=set)  # instructions on their way
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

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
        chunks: asyncio.Queue[list[Row] | None] = asyncio.Queue(maxsize=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_instructions(chunks, group))
            while (chunk := await chunks.get()) is not None:
                while len(self._walking) >= self.rows_in_flight:
                    self._arrived.clear()
                    await self._arrived.wait()
                self._walking.update(row["instruction_id"] for row in chunk)
                group.create_task(self._walk_chunk(chunk))
        config = self.preset.line.self_instruct
        if self.factory.spent:
            return f"stopped at its budget: {self.factory.spent}; run the same command again to go on from here"
        if len(self.accepted) >= config.accept:
            return None
        return (
            f"stopped short: {len(self.accepted)} of {config.accept} instructions accepted out of {self.candidates} "
            f"candidates; raise line.self_instruct.max_candidates ({config.max_candidates}), or see the view 'rejects'"
        )

    @property
    def rows_in_flight(self) -> int:
        """Four rows for each request that may be on its way: some wait for the lake, and the last ones fan out."""
        return self.preset.line.rows_in_flight or 4 * self.preset.spec("generator").places

    async def _write_instructions(self, chunks: asyncio.Queue[list[Row] | None], group: asyncio.TaskGroup) -> None:
        """Put chunks of accepted instructions, exactly as many in all as the target says, and None at the end."""
        config, chunk = self.preset.line.self_instruct, self.preset.line.chunk
        gate = await asyncio.to_thread(self._gate, config)
        rounds: deque[asyncio.Task[list[Row]]] = deque()  # on their way, the oldest first
        counts = [0]  # accepted after each round, from before the first
        yielded = asked = 0
        while yielded < config.accept:
            ready = self.accepted[yielded : min(yielded + chunk, config.accept)]
            while self._wants(len(rounds)):
                # From what was accepted when the rounds that are on their way now were not yet asked.
                pool = self.accepted[: counts[max(0, asked + 1 - config.rounds_in_flight)]]
                requests = self_instruct.requests(self.library, config, asked, pool)
                before = rounds[-1] if rounds else None
                rounds.append(group.create_task(self._ask_round(requests, gate, before)))
                asked += 1
            if len(ready) == chunk or (ready and (not rounds or len(self.accepted) >= config.accept)):
                yielded += len(ready)
                await chunks.put([self_instruct.instruction_row(record) for record in ready])
            elif rounds:
                records = await rounds.popleft()
                self._take(records, config.requests_per_round)
                counts.append(len(self.accepted))
            else:
                break
        await chunks.put(None)

    def _wants(self, on_their_way: int) -> bool:
        """Whether one more round is due, even if every request on its way brings all that it was asked for."""
        config = self.preset.line.self_instruct
        brought = on_their_way * config.requests_per_round * config.count
        return (
            on_their_way < config.rounds_in_flight
            and self.factory.spent is None
            and len(self.accepted) + brought < config.accept
            and self.candidates + brought < config.max_candidates
        )

    async def _ask_round(self, requests: list[Row], gate: Gate, before: asyncio.Task[list[Row]] | None) -> list[Row]:
        async def judge(records: Sequence[Row]) -> Sequence[Row]:
            if before:  # rounds are gated in their order
                await asyncio.wait([before])
            return await asyncio.to_thread(gate, records)

        return await self.factory.settle(self.write, requests, self.engines["generator"], judge)

    def _take(self, records: Sequence[Row], requests: int) -> None:
        """Count a round's candidates, and keep what may be walked on from."""
        self.accepted += [
            {name: record[name] for name in ("id", "topic", "text")}
            for record in records
            # Looked at again, for an evaluation prompt may have come after an instruction was accepted.
            if record["state"] == "accepted" and not self.contamination.reason(record["text"])
        ]
        # A round counts as one candidate a request at least, so that a silent model cannot loop for ever.
        self.candidates += max(len(records), requests)

    def _gate(self, config: self_instruct.Config) -> Gate:
        seeds = (seed.instruction for seed in self.library.seeds())
        pool = RougePool(chain(look.instructions(self.factory.lake), seeds))
        return lambda records: self_instruct.gate(records, pool, config, self.contamination)

    async def _walk_chunk(self, rows: Sequence[Row]) -> None:
        """Each row of a chunk by itself: the slow ones hold up nobody."""

        async def work() -> None:
            await self.factory.together(*(self._walk_row(row) for row in rows))

        await self.factory.chunk(f"walk × {len(rows)}", work)

    async def _walk_row(self, row: Row) -> None:
        revisions: list[tuple[Step | None, Alias]] = [(step, "generator") for step in chain.from_iterable(self.rounds)]

        async def answered() -> None:
            for next_row in await self.factory.advance(self.respond, row, self.engines["generator"]):
                await self.factory.together(
                    self._through(next_row, [(self.correct, "aligner")]),
                    self._through(next_row, [*revisions, (self.rate, "judge")]),
                )

        await self.factory.together(
            answered(), self._through(row, [(self.principled, "generator"), (self.rate_principled, "judge")])
        )
        self._walking.discard(row["instruction_id"])
        self._arrived.set()

    async def _through(self, row: Row, steps: Sequence[tuple[Step | None, Alias]]) -> None:
        """A row through one step after the other, each with who is asked, as far as it is accepted."""
        for place, (step, alias) in enumerate(steps):
            if step:
                for next_row in await self.factory.advance(step, row, self.engines[alias]):
                    await self._through(next_row, steps[place + 1 :])
                return


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
