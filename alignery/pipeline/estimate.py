"""`plan`: ask a few rows of each step, and estimate what the refresh will take.

It runs the stages over what the lake has, and where that ends sends the requests of five rows per step. Their answers
are committed as in any refresh, so the refresh continues from there. Some dozens of requests need no orchestrator: it
runs without Prefect, and so starts at once.

Red-teaming questions are requested by topic, and five requests for topics leave most topics unknown. So their probe
uses the topics that types come with and those of complete rounds, and sends as many of the five requests as these
suffice for. (If they do not fill one request, an incomplete one is sent; it counts as a complete one, and the refresh
does not use it.) All types are assumed to get the same number of topics.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil

from alignery.config.preset import Preset
from alignery.config.schema import Alias
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, Judge, RejectLimitExceeded, group_reasons
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, held_out_of, open_engines, raise_first
from alignery.pipeline.run import Run
from tasks import prices
from tasks.budget import Budget, BudgetSpent, MeteredEngine
from tasks.engines import Engine
from tasks.estimate import StageLoad, StepCost, Throughput, Unmeasured, Writing, estimate
from tasks.stage import Stage, accepted, always
from tasks.step import Outcome, Request, Row, Step, execute
from warehouse import Lake
from warehouse.query import estimates

ROWS = 5  # of each step


@dataclass(frozen=True)
class Estimate:
    """A plan: `rows` as the table `plans` has them, and what its probe sent."""

    plan_id: str
    run_id: str | None  # of the probe; None if the same plan existed already
    sent: int
    rows: list[Row]
    message: str | None  # why the target will not be reached


@dataclass
class Seen:
    """What a walk found at one step."""

    pending: int = 0
    finished: int = 0


@dataclass
class ProbeExecutor(Executor):
    """Runs the stages over what the lake has, and sends only a few rows of the steps to be probed.

    Replies to identical requests count as finished: they would be reused.
    """

    to_probe: frozenset[Step] = frozenset()  # steps that may be asked
    seen: dict[Step, Seen] = field(default_factory=dict)
    skipped: Counter[Step] = field(default_factory=Counter)  # requests of rounds not looked at
    _closed: set[Step] = field(default_factory=set)  # of which no further round is known
    _one_round: asyncio.Lock = field(default_factory=asyncio.Lock)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run_batch(self, step: Step, rows: Sequence[Row], engine: Engine, judge: Judge | None = None) -> list[Row]:
        async with self._one_round:
            if not self.may_ask(step):
                self.skipped[step] += len(rows)
                return []
            records = await super().run_batch(step, rows, engine, judge)
            if self.seen[step].pending:
                self._closed.add(step)  # no further round is known before this one is written
            return records

    def may_ask(self, step: Step) -> bool:
        return step not in self._closed

    async def _records(self, ask: Request, keep: Callable[[Outcome], None]) -> list[Row]:
        seen = self.seen.setdefault(ask.step, Seen())
        found = await self._lookup.find(ask)
        if found.records is not None:
            seen.finished += 1
            return found.records
        again = Outcome(ask.step, ask.fingerprint)
        with suppress(BudgetSpent):
            await execute(replace(ask, engine=self._silent(ask.engine)), found.replies, again)
        is_final = any(attempt["final"] for attempt in again.attempts)
        if not is_final and (ask.step not in self.to_probe or seen.finished >= ROWS):
            seen.pending += 1
            return []
        seen.finished += 1
        self.progress.expect(ask.step.name, 1)
        # The very first one alone: the time of a single request shows what each further one adds.
        async with self._alone:
            if self.tally.sent == 0:
                return await self._asked(ask, found, keep)
        return await self._asked(ask, found, keep)

    def _silent(self, engine: Engine) -> Engine:
        """An engine of the same identity that answers nothing."""
        return MeteredEngine(engine, Budget(max_tokens=0), 1)


async def estimate_refresh(preset: Preset, lake: Lake, engines: Mapping[Alias, Engine] | None = None) -> Estimate:
    """The plan itself, asking the preset's own engines unless others are given.

    Raises:
        EngineDown, RejectLimitExceeded: the probe failed; what was answered is committed.
        PriceError: the price file is wrong.
    """
    with Run(lake, "plan", preset) as run, StepProgress() as progress:
        async with open_engines(preset, Budget(), lake.logs) as opened:
            executor = ProbeExecutor(lake, run, progress)
            line = RefreshPipeline(preset, executor, engines or opened, held_out_of(preset), whole=True)
            run.words = line.words()
            prints = {stage.name: stage.step.fingerprint(line.runner.engine(stage)) for stage in line.stages}
            before = estimates.step_costs(lake, prints.values())
            known = {name for name, print in prints.items() if print in before and before[print]["rows"] >= ROWS}
            executor.to_probe = _to_probe(line, known)
            with raise_first():
                await line.walk()
        listed = prices.load(preset.prices) if preset.prices else None
        loads = _loads(line, executor, prints, estimates.step_costs(lake, prints.values()), known, listed)
        models = {engine.identity: preset.spec(alias).places for alias, engine in line.engines.items()}
        paces = {model: Throughput(places, estimates.requests(lake, model)) for model, places in models.items()}
        try:
            rows = estimate(loads, paces, listed)
        except Unmeasured as error:
            raise RejectLimitExceeded(f"{error}: {_why(executor)}") from error
        return _keep(run, rows, executor.tally.sent, _short(loads))


def _keep(run: Run, rows: list[Row], sent: int, message: str | None) -> Estimate:
    """Commit a plan; an identical one is not stored again."""
    rows = [{"config_hash": run.preset.hash, "preset": run.preset.name} | row for row in rows]
    there = estimates.newest(run.lake, run.preset.hash)
    if estimates.same(there, rows):
        return Estimate(there[0]["id"], None, sent, rows, message)
    id = digest(run.id, rows)
    run.start()
    estimates.keep(run.lake, [{"id": id} | row for row in rows], run.id)
    run.end("finished", {"plan": id, "sent": sent, "saved": 0}, message)
    return Estimate(id, run.id, sent, rows, message)


def _short(loads: Sequence[StageLoad]) -> str | None:
    """Whether the requests that a source has left will not suffice."""
    reasons = []
    for load in loads:
        if not (writing := load.writing):
            continue
        section = load.name.partition(".")[0]
        left, more = writing.left, f"candidates (line.{section}.max_candidates)"
        if (
            writing.hints is not None
            and (hints := writing.hints + sum(_to_come(loads[place]) for place in load.after)) < left
        ):
            left, more = hints, f"pairs of type and topic (line.{section}.topics.per_question, requests_per_type)"
        likely = left * writing.passed // max(1, writing.candidates)
        if likely < writing.missing:
            reasons.append(
                f"{writing.missing} instructions are missing, and the gate took {writing.passed} of "
                f"{writing.candidates}, so {left} more {more} give {likely}"
            )
    return f"the refresh will stop short: {'; '.join(reasons)}" if reasons else None


def _to_come(topics: StageLoad) -> int:
    """Topics that the remaining requests will yield."""
    if not topics.writing or not topics.measure:
        return 0
    return topics.pending * topics.writing.passed // topics.measure.rows


def _why(executor: ProbeExecutor) -> str:
    refused = [
        f"{step}: {count} × {why}"
        for step, whys in executor.tally.rejects.items()
        for why, count in group_reasons(whys).items()
    ]
    return f"the probe's rows were not accepted ({'; '.join(refused) or 'by the gate'}); see the view 'rejects'"


def _to_probe(line: RefreshPipeline, known: Collection[str]) -> frozenset[Step]:
    """The steps that were not measured, and those before them, whose rows they need, from Self-Instruct on."""
    found: dict[str, Stage] = {}
    waiting = [stage for stage in line.stages if stage.name not in known]
    while waiting:
        stage = waiting.pop()
        if stage.name not in found:
            found[stage.name] = stage
            waiting += line.predecessors(stage)
    return frozenset(stage.step for stage in found.values())


def _loads(
    line: RefreshPipeline,
    probe: ProbeExecutor,
    prints: Mapping[str, str],
    measured: Mapping[str, Row],
    known: Collection[str],
    listed: prices.Prices | None,
) -> list[StageLoad]:
    places = {stage.name: place for place, stage in enumerate(line.stages)}
    met = {stage.step: _met(line, probe, stage.step) for stage in line.stages}
    writings = _writings(line, probe, prints, met)
    loads: list[StageLoad] = []
    runner = line.runner
    for stage in line.stages:
        found, seen = measured.get(prints[stage.name]), met[stage.step]
        sent = seen.pending + seen.finished
        loads.append(
            StageLoad(
                name=stage.step.name,
                model=runner.engine(stage).identity,
                after=tuple(places[before.name] for before in line.predecessors(stage)),
                pending=seen.pending,
                saved=seen.finished,
                measure=_measure(found) if found else None,
                source="lake" if stage.name in known else "probe",
                price=line.preset.price(stage.model, listed) if listed else None,
                writing=writings.get(stage.name),
                due=None if stage.when is always else (sent, sent + runner.skipped[stage.name]),
                passed_on=None
                if stage.then is accepted
                else (runner.passed_on[stage.name], runner.accepted[stage.name]),
                skippable=stage.skippable,
            )
        )
    return loads


def _met(line: RefreshPipeline, probe: ProbeExecutor, step: Step) -> Seen:
    """What was met at a step, and what is missing there of topics in all rounds, or of a round of questions."""
    seen = probe.seen.get(step, Seen())
    topics, questions = line.writing.topics, line.writing.questions
    if not topics or not questions or probe.may_ask(topics):
        return seen
    if step is topics:
        return Seen(seen.pending + probe.skipped[step], seen.finished)
    if step is questions.step:
        config = questions.config
        rounds = ceil((seen.finished + seen.pending) / config.requests_per_round)
        whole = min(seen.finished, len(line.writing.hints) // config.count)
        return Seen(rounds * config.requests_per_round - whole, whole)
    return seen


def _writings(
    line: RefreshPipeline, probe: ProbeExecutor, prints: Mapping[str, str], met: Mapping[Step, Seen]
) -> dict[str, Writing]:
    """What each stage that writes has still to write, by its name."""
    judged = {
        stage.step: estimates.gated(probe.lake, stage.step.table, prints[stage.name])
        for stage in line.writing.stages.values()
    }
    found = {}
    for rounds in line.writing.rounds:
        step, config = rounds.step, rounds.config
        found[step] = Writing(
            missing=max(0, rounds.accept - rounds.count),
            requests=config.requests_per_round,
            left=rounds.max_candidates - rounds.candidates + probe.skipped[step],
            candidates=judged[step][0],
            passed=judged[step][1],
        )
    asking, topics, questions = line.writing.topics_config, line.writing.topics, line.writing.questions
    if asking and topics and questions:
        types, (candidates, passed) = line.writing.types, judged[topics]
        found[topics] = Writing(0, len(types) * asking.requests_per_type, 0, candidates, passed)
        hints = len(line.writing.hints)
        if not probe.may_ask(topics):  # all types are assumed to get the same number of topics
            hints = sum(len(type.topics) for type in types) + passed
        hints = max(0, hints - met[questions.step].finished * questions.config.count)
        found[questions.step] = replace(found[questions.step], hints=hints, count=questions.config.count)
    return {stage.name: found[stage.step] for stage in line.writing.stages.values()}


def _measure(found: Row) -> StepCost:
    calls, tokens_in, tokens_out = (
        (found[f"{name}_mean"], found[f"{name}_sd"]) for name in ("calls", "tokens_in", "tokens_out")
    )
    return StepCost(found["rows"], found["accepted"], calls, tokens_in, tokens_out, found["cached"])
