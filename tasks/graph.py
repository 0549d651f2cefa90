"""The graph of stages that a row runs through: edges, order and checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from alignery.errors import UsageError
from tasks.stage import SOURCE, SOURCE_FIELDS, Stage


class GraphError(UsageError):
    """Stages do not fit together; the message names the stage, what it needs, what exists, and the fix."""


class Graph:
    """The stages of some methods with their edges, checked.

    Args:
        methods: the stages of each method, in the methods' order; those that rewrite prompts before a stack's generator
            answers are left out.

    Raises:
        GraphError: two stages of one name, an unknown port, a cycle, or a field that no predecessor adds.
    """

    def __init__(self, methods: Iterable[Sequence[Stage]]) -> None:
        numbered = [
            (number, stage) for number, stages in enumerate(methods) for stage in stages if not stage.before_answer
        ]
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
        self.makers = set(self._makers())

    def _before(self, stage: Stage, method: int) -> list[str]:
        """The stages whose rows it gets."""
        if stage.after in self.by_name:
            return [stage.after]
        providers = self._ports.get(stage.after or "", {})
        # A method that provides the port which it reads gets what the method before it provides.
        open_to = [number for number in providers if method not in providers or number < method]
        if not open_to:
            raise GraphError(
                f"stage {stage.name}: comes after {stage.after!r}, which no method provides, expected one of "
                f"{[*self._ports, *self.by_name]}; name one of these, or add the method that provides it"
            )
        return providers[max(open_to)]

    def _makers(self) -> Iterator[str]:
        """The stages that make what their port holds; those behind them that provide the same port refine it."""
        above: dict[str, set[str | None]] = {SOURCE: set()}
        for stage in self.stages:
            provided = set[str | None]().union(*(above[name] for name in self.predecessors[stage.name]))
            if stage.provides not in provided:
                yield stage.name
            above[stage.name] = provided | {stage.provides} - {None}

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
