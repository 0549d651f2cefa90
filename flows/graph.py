"""The graph of stages that a row runs through, and the runner: every branch at once, each row by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from alignery.errors import UsageError
from tasks.engines import Engine
from tasks.stage import GENERATOR, SOURCE, SOURCE_FIELDS, Stage
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
        numbered = [(number, stage) for number, stages in enumerate(methods) for stage in stages]
        self._ports: dict[str, dict[int, list[str]]] = {SOURCE: {-1: [SOURCE]}}  # port → method → its stages
        self.by_name: dict[str, Stage] = {}
        for number, stage in numbered:
            if stage.name in self.by_name:
                raise GraphError(f"stage {stage.name}: there is another of that name; rename one of them")
            self.by_name[stage.name] = stage
            if stage.provides:
                self._ports.setdefault(stage.provides, {}).setdefault(number, []).append(stage.name)
        if clash := [name for name in self.by_name if name in self._ports]:
            raise GraphError(f"stage {clash[0]}: a port has that name; rename one of them")
        self.predecessors = {stage.name: self._before(stage, number) for number, stage in numbered}
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
            raise GraphError(
                f"stage {stage.name}: comes after {stage.after!r}, which no method provides; there are "
                f"{[*self._ports, *self.by_name]}; name one of these, or add the method that provides it"
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


class Executor(Protocol):
    """What a runner needs of a `Factory`."""

    async def advance(self, step: Step, row: Row, engine: Engine) -> list[Row]: ...

    async def together(self, *work: Coroutine[Any, Any, Any]) -> None: ...


class GraphRunner:
    """Runs rows through a graph, each by itself: `await runner.run(row)`."""

    def __init__(self, graph: Graph, executor: Executor, engines: Mapping[str, Engine]) -> None:
        self.graph, self._executor, self._engines = graph, executor, engines
        # By stage, for the plan: rows that `when` turned down; rows that were accepted, and what `then` made of these.
        self.skipped, self.accepted, self.passed_on = Counter[str](), Counter[str](), Counter[str]()

    def engine(self, stage: Stage) -> Engine:
        """The model that a stage calls."""
        return self._engines.get(stage.model, self._engines[GENERATOR])

    async def run(self, row: Row) -> None:
        """Run a row, and all that comes of it, to the end of every branch."""
        await self._follow(self._due(SOURCE, row))

    async def _follow(self, due: list[tuple[Stage, Row]]) -> None:
        while len(due) == 1:  # a chain, however long, needs neither tasks nor a deep stack
            ((stage, row),) = due
            made = await self._executor.advance(stage.step, row, self.engine(stage))
            rows = stage.then(row, made)
            self.accepted[stage.name] += len(made) > 0
            self.passed_on[stage.name] += len(made) > 0 and len(rows)
            due = [one for out in rows for one in self._due(stage.name, out)]
        if due:
            await self._executor.together(*(self._follow([one]) for one in due))

    def _due(self, name: str, row: Row) -> list[tuple[Stage, Row]]:
        """The stages that a row of that stage is sent at next, each with the row as it takes it."""
        due, passed = [], [(name, row)]
        while passed:
            name, row = passed.pop()
            for stage in self.graph.successors[name]:
                taken = stage.take(row)
                if stage.when(taken):
                    due.append((stage, taken))
                    continue
                self.skipped[stage.name] += 1
                if stage.skippable:
                    passed.append((stage.name, taken))
        return due
