"""The line: the way of a row from a topic to a training example, each row by itself.

Instructions are written round by round (`flows/writing.py`); as soon as they are accepted each walks on alone, answer →
critique ⇄ revision, answer → correction, and the principled answer beside them. So every step overlaps with every
other, and one long answer holds up nobody but its own row. Where instances are asked for, they come first, and only an
instruction that needs no input is answered by itself: the others have their answers in their instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows.factory import Factory
from flows.presets import Alias, Preset
from flows.writing import Chunks, Writing
from prompts import Library, digest
from tasks.engines import Engine
from tasks.filters.contamination import Contamination
from tasks.generate import aligner, constitutional, instances, respond, self_align
from tasks.step import Row, Step


@dataclass
class Line:
    """One refresh of one preset. Build it with the engines by alias, then `await line.walk()`."""

    preset: Preset
    factory: Factory
    engines: Mapping[Alias, Engine]
    held_out: Sequence[str] = ()  # evaluation prompts, which no instruction may repeat
    _walking: set[str] = field(default_factory=set)  # instructions on their way
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        line = self.preset.line
        self.library: Library = self.preset.words.library()
        contamination = Contamination(self.held_out)
        self.writing = Writing(line, self.library, self.factory, self.engines["generator"], contamination)
        self.classify = instances.classify(self.library, line.instances) if line.instances else None
        self.instances = self._instances(contamination)
        self.respond = respond.respond(self.library, line.respond)
        self.principled = self_align.answer(self.library, line.self_align) if line.self_align else None
        self.correct = aligner.correct(self.library, line.aligner) if line.aligner else None
        self.rounds = self._rounds()

    def _instances(self, contamination: Contamination) -> dict[bool, Step]:
        """The steps that write instances, by whether the instruction is a classification task."""
        config = self.preset.line.instances
        if config is None:
            return {}
        return {
            False: instances.instances(self.library, config, "input_first", contamination),
            True: instances.instances(self.library, config, "output_first", contamination),
        }

    def _rounds(self) -> list[tuple[Step, Step]]:
        config = self.preset.line.constitutional
        if config is None:
            return []
        return [
            (constitutional.critique(self.library, config, n), constitutional.revise(self.library, config, n))
            for n in range(1, config.rounds + 1)
        ]

    @property
    def steps(self) -> Iterator[Step]:
        """Every step of this line, in order."""
        yield from self.writing.steps
        yield from (step for step in (self.classify, *self.instances.values()) if step)
        yield self.respond
        yield from (step for pair in self.rounds for step in pair)
        yield from (step for step in (self.principled, self.correct) if step)

    def words(self) -> list[Row]:
        """What this line may say, for the `prompts` table: each prompt, principle, type, seed, rule and exemplar."""
        rows = [{"hash": step.prompt.hash, "id": step.prompt.id, "source": step.prompt.source} for step in self.steps]
        if self.rounds:
            for p in self.library.principles():
                rows.append({"hash": p.critique_hash, "id": f"principle:{p.id}", "source": p.critique})
                rows.append({"hash": p.revision_hash, "id": f"principle:{p.id}:revision", "source": p.revision})
        for type in self.writing.types:
            source = f"{type.name}: {type.hint}"
            rows.append({"hash": digest(source), "id": f"type:{type.name}", "source": source})
        if self.classify:
            for seed in self.library.seeds():
                source = f"{seed.instruction}\nInput: {seed.input}\nOutput: {seed.output}"
                rows.append({"hash": digest(source), "id": f"seed:{seed.topic}", "source": source})
        if self.principled:
            rules, exemplars = self.library.rules()
            said = [(f"rule:{rule.name}", f"{rule.name}: {rule.text}") for rule in rules]
            said += [(f"exemplar:{n}", f"{e.query}\n{e.thought}\n{e.answer}") for n, e in enumerate(exemplars, 1)]
            rows += [{"hash": digest(id, text), "id": id, "source": text} for id, text in said]
        return rows

    async def walk(self) -> str | None:
        """Walk until the target of accepted instructions is reached; if candidates or budget ran out first, say so."""
        chunks: Chunks = asyncio.Queue(maxsize=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writing.write(chunks, group))
            while (chunk := await chunks.get()) is not None:
                while len(self._walking) >= self.rows_in_flight:
                    self._arrived.clear()
                    await self._arrived.wait()
                self._walking.update(row["instruction_id"] for row in chunk)
                group.create_task(self._walk_chunk(chunk))
        if self.factory.spent:
            return f"stopped at its budget: {self.factory.spent}; run the same command again to go on from here"
        short = [rounds.short for rounds in self.writing.rounds if rounds.short]
        return f"stopped short: {'; '.join(short)}" if short else None

    @property
    def accepted(self) -> list[Row]:
        """Every accepted instruction: id, topic, text and question_type."""
        return [row for rounds in self.writing.rounds for row in rounds.accepted]

    @property
    def target(self) -> int:
        """How many accepted instructions there should be."""
        return sum(rounds.config.accept for rounds in self.writing.rounds)

    @property
    def reached(self) -> int:
        """How many of the target there are."""
        return sum(min(len(rounds.accepted), rounds.config.accept) for rounds in self.writing.rounds)

    @property
    def rows_in_flight(self) -> int:
        """Four rows for each request that may be on its way: some wait for the lake, and the last ones fan out."""
        return self.preset.line.rows_in_flight or 4 * self.preset.spec("generator").places

    async def _walk_chunk(self, rows: Sequence[Row]) -> None:
        """Each row of a chunk by itself: the slow ones hold up nobody."""

        async def work() -> None:
            await self.factory.together(*(self._walk_row(row) for row in rows))

        await self.factory.chunk(f"walk × {len(rows)}", work)

    async def _walk_row(self, row: Row) -> None:
        generator, corrector = self.engines["generator"], self.engines["aligner"]

        async def answered() -> None:
            for next_row in await self.factory.advance(self.respond, row, generator):
                await self.factory.together(
                    self._through(next_row, [self.correct] if self.correct else [], corrector),
                    self._through(next_row, [step for pair in self.rounds for step in pair], generator),
                )

        if not self.classify or await self._needs_no_input(self.classify, row):
            await self.factory.together(
                answered(), self._through(row, [self.principled] if self.principled else [], generator)
            )
        self._walking.discard(row["instruction_id"])
        self._arrived.set()

    async def _needs_no_input(self, classify: Step, row: Row) -> bool:
        """Write the instances of a row, and tell by them whether its instruction says all that is needed."""
        generator = self.engines["generator"]
        for next_row in await self.factory.advance(classify, row, generator):
            step = self.instances[next_row["classification"]]
            return instances.stands_alone(await self.factory.advance(step, next_row, generator))
        return False

    async def _through(self, row: Row, steps: Sequence[Step], engine: Engine) -> None:
        """A row through one step after the other, as far as it is accepted."""
        if steps:
            for next_row in await self.factory.advance(steps[0], row, engine):
                await self._through(next_row, steps[1:], engine)


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
