"""The refresh pipeline: sources yield instructions, and each runs through the graph of stages independently.

Instructions are written round by round (`alignery/pipeline/sources.py`); as soon as one is accepted it runs,
independently of others, through the graph of stages that the preset's methods declare (`alignery/pipeline/graph.py`).
So all steps overlap, and a long answer delays only its own row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignery.config.preset import Preset
from alignery.config.schema import Alias
from alignery.pipeline.executor import Executor
from alignery.pipeline.finished import FinishedWork
from alignery.pipeline.graph import GraphRunner
from alignery.pipeline.source import Chunks
from alignery.pipeline.sources import Sources, gating
from prompts import Library
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Engine
from tasks.engines.lazy import open_lazily
from tasks.evaluate.suites.rows import all_prompts
from tasks.filters import contamination
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.graph import Graph
from tasks.stage import SOURCE, Stage
from tasks.step import Row
from warehouse.export.selection import Selection


@dataclass
class RefreshPipeline:
    """One refresh of one preset. Build it with the engines by alias, then `await line.walk()`."""

    preset: Preset
    executor: Executor
    engines: Mapping[Alias, Engine]
    held_out: Sequence[str] = ()  # evaluation prompts, which no instruction may repeat
    whole: bool = False  # run what is finished too, and record nothing
    _walking: set[str] = field(default_factory=set)  # instructions in progress
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        library = self.preset.library()
        held_out = contamination_of(self.preset, self.held_out)
        self.library: Library = library
        self.graph = Graph(self.preset.stages(library, held_out, source=False))
        self.runner = GraphRunner(self.graph, self.executor, self.engines)
        stages = [self._place(stage) for stage in self.graph.stages]
        self.finished = FinishedWork(self.preset, self.executor, stages, self.held_out, not self.whole)
        self.writing = Sources(self.preset, library, self.finished, self.executor, self.engines["generator"], held_out)
        self._writing = frozenset(stage.step.name for stage in self.writing.stages.values())

    def _place(self, stage: Stage) -> tuple[Any, ...]:
        """What determines a stage's requests, besides its method's settings and code."""
        return stage.name, stage.after, stage.provides, stage.step.fingerprint(self.runner.engine(stage))

    @property
    def stages(self) -> list[Stage]:
        """The steps that write instructions, Self-Instruct first, and every stage after them."""
        return [*self.writing.stages.values(), *self.graph.stages]

    def predecessors(self, stage: Stage) -> list[Stage]:
        """The stages whose rows it gets; where these are instructions, the one that writes the first of them."""
        writers = self.writing.stages
        if stage.name in writers:
            return [writers[stage.after]] if stage.after else []
        names = self.graph.predecessors[stage.name]
        first = list(writers.values())[:1]
        return [stage for name in names for stage in (first if name == SOURCE else [self.graph.by_name[name]])]

    def words(self) -> list[Row]:
        """All texts that this line may send, for the `prompts` table: prompts, principles, seeds and so on."""
        return [row for stage in self.stages for row in stage.prompt_rows()]

    async def walk(self) -> str | None:
        """Run until the target of accepted instructions is reached; else return why (candidates or budget ran out)."""
        chunks: Chunks = asyncio.Queue(maxsize=1)
        async with self.writing, asyncio.TaskGroup() as group:
            group.create_task(self.writing.write(chunks, group))
            while (chunk := await chunks.get()) is not None:
                while len(self._walking) >= self.rows_in_flight:
                    self._arrived.clear()
                    await self._arrived.wait()
                self._walking.update(row["instruction_id"] for row in chunk)
                self._show_target()
                group.create_task(self._walk_chunk(chunk))
        await self.executor.flush()
        if self.executor.spent:
            return f"stopped at its budget: {self.executor.spent}; run the same command again to go on from here"
        short = [source.short for source in self.writing.all if source.short]
        return f"stopped short: {'; '.join(short)}" if short else None

    def _show_target(self) -> None:
        if not self.whole:  # a plan runs some rows of each step
            is_final = all(source.is_target_known for source in self.writing.all)
            self.executor.progress.target(self.target, self.reached, is_final, self._writing)

    @property
    def target(self) -> int:
        """How many accepted instructions there should be."""
        return sum(source.target for source in self.writing.all)

    @property
    def reached(self) -> int:
        """How many of the target there are."""
        return sum(source.reached for source in self.writing.all)

    @property
    def rows_in_flight(self) -> int:
        """Four rows for each request that may be in flight: some wait for the lake, and the last ones fan out."""
        return self.preset.line.rows_in_flight or 4 * self.preset.spec("generator").places

    async def _walk_chunk(self, rows: Sequence[Row]) -> None:
        """Run each row of a chunk independently: a slow one delays no other."""

        async def work() -> None:
            await self.executor.gather(*(self._walk_row(row) for row in rows))

        await self.executor.chunk(f"walk × {len(rows)}", work)

    async def _walk_row(self, row: Row) -> None:
        requests = await self.runner.run(row)
        self.finished.finish(row, requests)
        self.executor.progress.walked(requests)
        self._walking.discard(row["instruction_id"])
        self._arrived.set()


def held_out_of(preset: Preset) -> list[str]:
    """The evaluation prompts, which no instruction may repeat: the preset's own, and the sets that it names."""
    config = preset.evaluate
    own = [row["prompt"] for row in all_prompts(config.prompts, config.suites)] if config else []
    return own + [text for each in preset.line.decontaminate for text in contamination.load(each.path, each.field)]


def contamination_of(preset: Preset, texts: Sequence[str]) -> Contamination:
    """Detects texts too close to these evaluation prompts: copies, and in the gate near-duplicates."""
    return Contamination(texts, near=max(contamination.COPY, gating(preset.line).rouge_l))


def clean(preset: Preset) -> Selection:
    """All rows but those whose prompts are in evaluation sets or near to one in them: a set may have been named after
    they were accepted. The card then says how near the splits are to each other."""
    texts = held_out_of(preset)
    found = contamination_of(preset, texts)
    leaked = (lambda text: found.reason(text) is not None) if texts else None
    return Selection(leaked=leaked, nearest=lambda tested, trained: RougePool(tested).covered(trained))


@asynccontextmanager
async def open_engines(preset: Preset, budget: Budget, logs: Path) -> AsyncIterator[dict[Alias, Engine]]:
    """The preset's engines by alias, under one budget; each is loaded when it is first asked.

    Args:
        logs: the folder for what their libraries print.
    """
    async with AsyncExitStack() as stack:
        engines: dict[Alias, Engine] = {}
        for alias, spec in preset.models.items():
            engine = await stack.enter_async_context(open_lazily(spec, logs))
            engines[alias] = MeteredEngine(engine, budget, spec.places) if budget.limited else engine
        for alias in preset.registry.aliases:
            engines.setdefault(alias, engines["generator"])
        yield engines


@contextmanager
def raise_first() -> Iterator[None]:
    """Raise only the first error of a task group: the others follow from it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__
