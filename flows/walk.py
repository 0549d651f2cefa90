"""The walk of one instruction: which steps it goes through, in which order, and who is asked.

Where instances are asked for, they come first, and only an instruction that needs no input is answered by itself: the
others have their answers in their instances.

Each branch goes on by itself as far as its rows are accepted: the first answer with its critiques, revisions,
correction and squad, the principled answer, the long one, the answers of other models with their corrections, and two
samples that are compared.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from flows.factory import Factory
from flows.sections import Alias, Line
from prompts import Library, digest
from tasks.engines import Engine
from tasks.filters.contamination import Contamination
from tasks.generate import aligner, constitutional, feedback, instances, rate, respond, self_align, squad, verbose
from tasks.step import Row, Step


@dataclass(frozen=True)
class Stage:
    """A step, who is asked (an alias of the preset's models, which falls to the generator), and the stage before it,
    whose accepted rows it gets; None where those are the instructions."""

    step: Step
    alias: Alias = "generator"
    after: Stage | None = None


@dataclass(frozen=True)
class Post:
    """A squad's member with its two steps, and the squad's settings."""

    member: squad.Member
    config: squad.Config
    inspect: Stage
    correct: Stage


class Walk:
    """Walks instructions, each by itself: `await walk.row(row)`."""

    def __init__(
        self,
        line: Line,
        library: Library,
        factory: Factory,
        engines: Mapping[Alias, Engine],
        contamination: Contamination,
    ) -> None:
        self._line, self._library, self._factory, self._engines = line, library, factory, engines
        self.classify = Stage(instances.classify(library, line.instances)) if line.instances else None
        self.instances = _instances(library, line.instances, self.classify, contamination)
        self.first = Stage(respond.respond(library, line.respond))
        rounds = constitutional.steps(library, line.constitutional) if line.constitutional else []
        self.rounds = _chained(rounds, self.first)
        self.principled = [Stage(self_align.answer(library, line.self_align))] if line.self_align else []
        self.long = [Stage(verbose.answer(library, line.verbose), "verbose")] if line.verbose else []
        self.correct = [Stage(aligner.correct(library, line.aligner), "aligner", self.first)] if line.aligner else []
        self.upstreams = [self._upstream(alias) for alias in (line.aligner.upstreams if line.aligner else ())]
        self.posts = list(_posts(library, line.squad, self.first)) if line.squad else []
        last = self.rounds[-1] if self.rounds else self.first
        self.samples, self.orders = _pairs(library, line.compare, last) if line.compare else ([], {})
        self.rated = [Stage(rate.rate(library, line.rate), "judge", last)] if line.rate else []
        if line.rate and self.principled:
            self.principled.append(Stage(rate.rate(library, line.rate, "principled"), "judge", self.principled[0]))

    def _upstream(self, alias: Alias) -> list[Stage]:
        """Another model's answer, and its correction."""
        answered = Stage(aligner.upstream(self._library, self._line.respond, alias), alias)
        return [answered, *(Stage(stage.step, stage.alias, answered) for stage in self.correct)]

    @property
    def stages(self) -> Iterator[Stage]:
        """Every stage, once."""
        yield from (stage for stage in (self.classify, *self.instances.values()) if stage)
        yield from (self.first, *self.rounds, *self.rated, *self.principled, *self.long, *self.correct)
        yield from chain.from_iterable(self.upstreams)
        yield from chain.from_iterable((post.inspect, post.correct) for post in self.posts)
        yield from chain(self.samples, *self.orders.values())

    def words(self) -> list[Row]:
        """What the walk may say, for the `prompts` table: each prompt, principle, rule and exemplar."""
        prompts = [stage.step.prompt for stage in self.stages]
        rows = [{"hash": prompt.hash, "id": prompt.id, "source": prompt.source} for prompt in prompts]
        for p in self._library.principles() if self.rounds else ():
            rows.append({"hash": p.critique_hash, "id": f"principle:{p.id}", "source": p.critique})
            rows.append({"hash": p.revision_hash, "id": f"principle:{p.id}:revision", "source": p.revision})
        for p in self._library.principles() if self.orders else ():
            rows.append({"hash": p.criterion_hash, "id": f"principle:{p.id}:comparison", "source": p.criterion})
        for seed in self._library.seeds() if self.classify else ():
            source = f"{seed.instruction}\nInput: {seed.input}\nOutput: {seed.output}"
            rows.append({"hash": digest(source), "id": f"seed:{seed.topic}", "source": source})
        if self.principled:
            rules, exemplars = self._library.rules()
            said = [(f"rule:{rule.name}", f"{rule.name}: {rule.text}") for rule in rules]
            said += [(f"exemplar:{n}", f"{e.query}\n{e.thought}\n{e.answer}") for n, e in enumerate(exemplars, 1)]
            rows += [{"hash": digest(id, text), "id": id, "source": text} for id, text in said]
        return rows

    async def row(self, row: Row) -> None:
        """Walk one instruction through every branch."""
        if self.classify and not await self._needs_no_input(self.classify, row):
            return
        branches = [self.principled, self.long, *self.upstreams]
        await self._together(
            self._answered(row),
            self._sampled(row) if self.samples else None,
            *(self._through(row, branch) for branch in branches if branch),
        )

    async def _together(self, *branches: Coroutine[Any, Any, Any] | None) -> None:
        """Those that the preset has, at once; one alone needs no task of its own."""
        work = [branch for branch in branches if branch]
        if len(work) == 1:
            await work[0]
        else:
            await self._factory.together(*work)

    async def _needs_no_input(self, classify: Stage, row: Row) -> bool:
        """Write the instances of a row, and tell by them whether its instruction says all that is needed."""
        for classified in await self._advance(classify, row):
            stage = self.instances[classified["classification"]]
            return instances.stands_alone(await self._advance(stage, classified))
        return False

    async def _answered(self, row: Row) -> None:
        for answered in await self._advance(self.first, row):
            await self._together(
                self._through(answered, self.correct) if self.correct else None,
                self._revised(answered),
                self._mended(answered) if self.posts else None,
            )

    async def _revised(self, row: Row) -> None:
        for last in await self._through(row, self.rounds):
            await self._together(
                self._through(last, self.rated) if self.rated else None,
                self._compared(feedback.revised(last)) if self.rounds and self.orders and not self.samples else None,
            )

    async def _sampled(self, row: Row) -> None:
        for pair in await self._through(row, self.samples):
            await self._compared(pair)

    async def _compared(self, row: Row) -> None:
        """The pair in each order that is asked for; two answers of the same words are no pair."""
        config = self._line.compare
        if config and row["a"].strip() != row["b"].strip():
            orders = feedback.orders(config, row)
            await self._together(*(self._through(row, self.orders[first]) for first in orders))

    async def _mended(self, row: Row) -> None:
        """The squad, one member after the other."""
        rows = [row]
        for post in self.posts:
            rows = [after for before in rows for after in await self._manned(before, post)]

    async def _manned(self, row: Row, post: Post) -> list[Row]:
        """A member corrects what its inspector finds wanting, and that is scored anew; none where a score was lost."""
        scored = await self._scored(row, post)
        if not scored or not squad.is_due(scored[0], post.member, post.config):
            return scored
        corrected = await self._advance(post.correct, scored[0])
        return await self._scored(corrected[0], post) if corrected else scored

    async def _scored(self, row: Row, post: Post) -> list[Row]:
        if squad.score(row, post.member.inspector) is not None:
            return [row]
        return await self._advance(post.inspect, row)

    def engine(self, stage: Stage) -> Engine:
        """Who is asked at a stage."""
        return self._engines.get(stage.alias, self._engines["generator"])

    async def _through(self, row: Row, stages: Sequence[Stage]) -> list[Row]:
        """What becomes of a row in one stage after the other, as far as it is accepted."""
        rows = [row]
        for stage in stages:
            rows = [after for before in rows for after in await self._advance(stage, before)]
        return rows

    async def _advance(self, stage: Stage, row: Row) -> list[Row]:
        return await self._factory.advance(stage.step, row, self.engine(stage))


def _instances(
    library: Library, config: instances.Config | None, classify: Stage | None, contamination: Contamination
) -> dict[bool, Stage]:
    """What writes instances, by whether the instruction is a classification task."""
    if config is None:
        return {}
    input_first, output_first = (
        instances.instances(library, config, form, contamination) for form in ("input_first", "output_first")
    )
    return {False: Stage(input_first, after=classify), True: Stage(output_first, after=classify)}


def _chained(steps: Sequence[Step], first: Stage, alias: Alias = "generator") -> list[Stage]:
    """One stage after the other, the first of them after `first`."""
    stages = [first]
    for step in steps:
        stages.append(Stage(step, alias, stages[-1]))
    return stages[1:]


def _posts(library: Library, config: squad.Config, answered: Stage) -> Iterator[Post]:
    inspectors = {member.inspector for member in config.members}
    inspect = {name: Stage(squad.inspect(library, config, name), "inspector", answered) for name in sorted(inspectors)}
    for member in config.members:
        correct = Stage(squad.correct(library, config, member), member.aligner, inspect[member.inspector])
        yield Post(member, config, inspect[member.inspector], correct)


def _pairs(
    library: Library, config: feedback.Config, revised: Stage
) -> tuple[list[Stage], dict[feedback.Place, list[Stage]]]:
    """The two samples, if they are what is compared, and what each order goes through."""
    places: tuple[feedback.Place, ...] = ("a", "b")
    drawn = places if config.pairs == "samples" else ()
    weighed = {p: [feedback.weigh(library, config, p)] if config.thought_first else [] for p in places}
    samples = [Stage(feedback.sample(library, config, place)) for place in drawn]
    pair = samples[-1] if samples else revised
    orders = {p: _chained([*weighed[p], feedback.compare(library, config, p)], pair, "judge") for p in places}
    return samples, orders
