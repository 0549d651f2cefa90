"""Runs rows through a graph of stages: all branches at once, each row independently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from tasks.engines import Engine
from tasks.graph import Graph
from tasks.stage import GENERATOR, SOURCE, Stage
from tasks.step import Row, Step


class Executor(Protocol):
    """What a runner needs from an `Executor`."""

    async def apply(self, step: Step, row: Row, engine: Engine) -> list[Row]: ...

    async def gather(self, *work: Coroutine[Any, Any, Any]) -> None: ...


class GraphRunner:
    """Runs rows through a graph, each independently: `await runner.run(row)`."""

    def __init__(self, graph: Graph, executor: Executor, engines: Mapping[str, Engine]) -> None:
        self.graph, self._executor, self._engines = graph, executor, engines
        # By stage, for the plan: rows that `when` turned down; rows that were accepted, and what `then` made of these.
        self.skipped, self.accepted, self.passed_on = Counter[str](), Counter[str](), Counter[str]()

    def engine(self, stage: Stage) -> Engine:
        """The model that a stage calls."""
        return self._engines.get(stage.model, self._engines[GENERATOR])

    async def run(self, row: Row) -> int:
        """Run a row, and the rows made from it, to the end of every branch; returns the number of requests."""
        requests = Counter[str]()
        await self._follow(self._due(SOURCE, row), requests)
        return requests.total()

    async def _follow(self, due: list[tuple[Stage, Row]], requests: Counter[str]) -> None:
        while len(due) == 1:  # a chain, however long, needs neither tasks nor a deep stack
            ((stage, row),) = due
            requests[stage.name] += 1
            results = await self._executor.apply(stage.step, row, self.engine(stage))
            rows = stage.then(row, results)
            self.accepted[stage.name] += len(results) > 0
            self.passed_on[stage.name] += len(results) > 0 and len(rows)
            due = [one for out in rows for one in self._due(stage.name, out)]
        if due:
            await self._executor.gather(*(self._follow([one], requests) for one in due))

    def _due(self, name: str, row: Row) -> list[tuple[Stage, Row]]:
        """The stages that a row of that stage is sent at next, each with the row as it takes it."""
        due, passed = [], [(name, row)]
        while passed:
            name, row = passed.pop()
            for stage in self.graph.successors[name]:
                taken = stage.take(row)
                # The row already has what this would make; only the stages that refine it are run.
                if stage.provides in row.get("given", ()) and stage.name in self.graph.makers:
                    passed.append((stage.name, taken))
                    continue
                if stage.when(taken):
                    due.append((stage, taken))
                    continue
                self.skipped[stage.name] += 1
                if stage.skippable:
                    passed.append((stage.name, taken))
        return due
