"""The graph of stages that a row runs through, and the runner: every branch at once, each row by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from alignery.errors import UsageError
from flows.sections import Alias, Line
from prompts import Library
from tasks.engines import Engine
from tasks.filters.contamination import Contamination
from tasks.generate.methods import METHODS, WRITERS
from tasks.stage import GENERATOR, SOURCE, SOURCE_FIELDS, Context, Method, Stage
from tasks.step import Row, Step


class GraphError(UsageError):
    """Stages do not fit together; the message names the stage, what it wants, what there is, and the fix."""


class Graph:
    """The stages of some methods with their edges, checked.

    Args:
        methods: the stages of each method, in the methods' order.

    Raises:
        GraphError: two stages of one name, a port that nobody provides, a cycle, or a field that no predecessor adds.
    """

    def __init__(self, methods: Iterable[Sequence[Stage]]) -> None:
        declared = [(number, stage) for number, stages in enumerate(methods) for stage in stages]
        self._ports: dict[str, dict[int, list[str]]] = {SOURCE: {-1: [SOURCE]}}  # port → method → its stages
        self.by_name: dict[str, Stage] = {}
        for number, stage in declared:
            if stage.name == SOURCE or stage.name in self.by_name:
                raise GraphError(f"stage {stage.name}: there is another of that name; rename one of them")
            self.by_name[stage.name] = stage
            if stage.provides:
                self._ports.setdefault(stage.provides, {}).setdefault(number, []).append(stage.name)
        self.predecessors = {stage.name: self._before(stage, number) for number, stage in declared}
        self.stages = [self.by_name[name] for name in self._order()]
        self.successors: dict[str, list[Stage]] = {name: [] for name in (SOURCE, *self.by_name)}
        for stage in self.stages:
            for name in self.predecessors[stage.name]:
                self.successors[name].append(stage)
        self._check_fields()

    def _before(self, stage: Stage, method: int) -> list[str]:
        """The stages whose rows it gets."""
        if stage.after in self.by_name:
            return [stage.after]
        providers = self._ports.get(stage.after or "", {})
        # A method that provides the port which it reads gets what the method before it provides.
        open_to = [number for number in providers if method not in providers or number < method]
        if not open_to:
            known = [*self._ports, *self.by_name]
            raise GraphError(
                f"stage {stage.name}: comes after {stage.after!r}, which no method provides; there are {known}; "
                "name one of these, or add the method that provides it"
            )
        return providers[max(open_to)]

    def _order(self) -> list[str]:
        """Every stage after its predecessors, and else as they were declared."""
        try:
            TopologicalSorter(self.predecessors).prepare()
        except CycleError as error:
            cycle = " → ".join(reversed(error.args[1]))
            raise GraphError(f"stage {error.args[1][0]}: comes after itself ({cycle}); change one `after`") from error
        found: dict[str, None] = {}
        waiting = list(reversed(self.predecessors))
        while waiting:
            before = [name for name in self.predecessors[waiting[-1]] if name != SOURCE and name not in found]
            if before:
                waiting += reversed(before)
            else:
                found[waiting.pop()] = None
        return list(found)

    def _check_fields(self) -> None:
        fields = {SOURCE: set(SOURCE_FIELDS)}
        for stage in self.stages:
            before = self.predecessors[stage.name]
            given = set.intersection(*(fields[name] for name in before))
            if missing := [name for name in stage.needs if name not in given]:
                raise GraphError(
                    f"stage {stage.name}: needs the field {missing[0]!r}, and rows after {' and '.join(before)} have "
                    f"{sorted(given)}; put it after a stage that adds it"
                )
            # A row that was passed on has none of what the stage would have added.
            fields[stage.name] = given if stage.skippable else given | set(stage.adds)


def writers(line: Line, library: Library) -> list[Stage]:
    """The stages that write the instructions of a preset, the first one first. Raises PromptError as `build` does."""
    return [stage for stages in _declared(WRITERS, line, library, Contamination([])) for stage in stages]


def build(line: Line, library: Library, contamination: Contamination | None = None) -> Graph:
    """The graph of a preset's methods; to build it is to check that their words are there.

    Raises:
        GraphError, PromptError: what does not fit, or is not there.
    """
    return Graph(_declared(METHODS, line, library, contamination or Contamination([])))


def _declared(
    methods: Sequence[Method], line: Line, library: Library, contamination: Contamination
) -> Iterator[Sequence[Stage]]:
    names = [method.name for method in (*WRITERS, *METHODS)]
    configs = {name: config for name in names if (config := getattr(line, name)) is not None}
    context = Context(configs, contamination)
    for method in methods:
        if method.name in configs:
            yield method.stages(library, configs[method.name], context)


class Executor(Protocol):
    """What a runner needs of a `Factory`."""

    async def advance(self, step: Step, row: Row, engine: Engine) -> list[Row]: ...

    async def together(self, *work: Coroutine[Any, Any, Any]) -> None: ...


class GraphRunner:
    """Runs rows through a graph, each by itself: `await runner.run(row)`."""

    def __init__(self, graph: Graph, executor: Executor, engines: Mapping[Alias, Engine]) -> None:
        self.graph, self._executor, self._engines = graph, executor, engines
        self.skipped: Counter[str] = Counter()  # by stage, rows that its `when` turned down

    def engine(self, stage: Stage) -> Engine:
        """The model that a stage calls."""
        return self._engines.get(stage.model, self._engines[GENERATOR])

    async def run(self, row: Row) -> None:
        """Run a row, and all that comes of it, to the end of every branch."""
        await self._follow(list(self._due(SOURCE, row)))

    async def _follow(self, due: list[tuple[Stage, Row]]) -> None:
        while len(due) == 1:  # a chain, however long, needs neither tasks nor a deep stack
            ((stage, row),) = due
            made = await self._executor.advance(stage.step, row, self.engine(stage))
            due = [one for out in stage.then(row, made) for one in self._due(stage.name, out)]
        if due:
            await self._executor.together(*(self._follow([one]) for one in due))

    def _due(self, name: str, row: Row) -> Iterator[tuple[Stage, Row]]:
        """The stages that a row of that stage is sent at next, each with the row as it takes it."""
        for stage in self.graph.successors[name]:
            taken = stage.take(row)
            if stage.when(taken):
                yield stage, taken
                continue
            self.skipped[stage.name] += 1
            if stage.skippable:
                yield from self._due(stage.name, taken)
