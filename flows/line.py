"""The line: the way of a row from a topic to a training example, each row by itself.

Instructions are written round by round; as soon as they are accepted each walks on alone, answer → critique ⇄
revision, answer → correction, and the principled answer beside them (`flows/walk.py`). So every step overlaps with
every other, and one long answer holds up nobody but its own row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain

from flows.factory import Factory
from flows.presets import ALIASES, Alias, Preset
from flows.walk import Stage, Walk
from prompts import Library
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Engine
from tasks.engines.lazy import open_lazily
from tasks.evaluate import held_out
from tasks.filters import contamination
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.generate import self_instruct
from tasks.step import Row
from warehouse import look

Gate = Callable[[Sequence[Row]], Sequence[Row]]


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
        self._writes = Stage(self.write)
        self.way = Walk(line, self.library, self.factory, self.engines)

    @property
    def stages(self) -> list[Stage]:
        """Every step of this line; one stands after the one that it gets its rows from."""
        return [self._writes, *self.way.stages]

    def words(self) -> list[Row]:
        """What this line may say, for the `prompts` table: each prompt, principle, rule and exemplar."""
        prompt = self.write.prompt
        return [{"hash": prompt.hash, "id": prompt.id, "source": prompt.source}, *self.way.words()]

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
        await self.way.row(row)
        self._walking.discard(row["instruction_id"])
        self._arrived.set()


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
        for alias in ALIASES:
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
