"""`plan`: ask a few rows of each step, and foretell what the refresh will take.

It walks the line over what the lake has, and where that ends asks five rows a step for real. What was answered is
committed as any refresh would, so the refresh goes on from there. Some dozens of requests need no orchestrator: it runs
without Prefect, and so begins at once. Questions of red-teaming are probed with the topics that are known by then, and
every round of topics is taken to ask as much as the first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.factory import Factory, Judge, StageStopped
from flows.line import Line, engines_of, held_out_of, unwrapped
from flows.presets import Preset, load
from flows.progress import StepProgress
from flows.run import Run, alone
from flows.sections import Alias
from flows.walk import Stage
from flows.writing import Rounds
from prompts import digest
from tasks import prices
from tasks.budget import Budget, BudgetSpent, MeteredEngine
from tasks.engines import Engine
from tasks.plan import Measure, Pace, Station, Unmeasured, Writing, foresee
from tasks.step import Ask, Outcome, Row, Step, attend
from warehouse import Lake, plans

ROWS = 5  # of each step


@dataclass(frozen=True)
class Foresight:
    """A plan: `rows` as the table `plans` has them, and what its probe sent."""

    plan_id: str
    run_id: str | None  # of the probe; None where the very same plan was there
    sent: int
    rows: list[Row]
    message: str | None  # why the target will not be reached


@dataclass
class Seen:
    """What a walk met at one step."""

    pending: int = 0
    settled: int = 0


@dataclass
class Probe(Factory):
    """Walks a line over what the lake has, and asks only a few rows of those steps that it is told to.

    Replies to the very same requests count as settled: they would be read again and not asked for.
    """

    wanted: frozenset[int] = frozenset()  # id() of each step that may be asked
    seen: dict[int, Seen] = field(default_factory=dict)
    skipped: Counter[int] = field(default_factory=Counter)  # by id() of its step, requests of rounds not looked at
    _closed: set[int] = field(default_factory=set)  # id() of each step of which no further round is known
    _one_round: asyncio.Lock = field(default_factory=asyncio.Lock)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def settle(self, step: Step, rows: Sequence[Row], engine: Engine, judge: Judge | None = None) -> list[Row]:
        async with self._one_round:
            if not self.may_ask(step):
                self.skipped[id(step)] += len(rows)
                return []
            records = await super().settle(step, rows, engine, judge)
            if self.seen[id(step)].pending:
                self._closed.add(id(step))  # no further round is known before this one is written
            return records

    def may_ask(self, step: Step) -> bool:
        return id(step) not in self._closed

    async def _records(self, ask: Ask, keep: Callable[[Outcome], None]) -> list[Row]:
        seen = self.seen.setdefault(id(ask.step), Seen())
        found = await self._lookup.find(ask)
        if found.records is not None:
            seen.settled += 1
            return found.records
        again = Outcome(ask.step, ask.fingerprint)
        with suppress(BudgetSpent):
            await attend(replace(ask, engine=self._silent(ask.engine)), found.replies, again)
        is_heard = any(attempt["final"] for attempt in again.attempts)
        if not is_heard and (id(ask.step) not in self.wanted or seen.settled >= ROWS):
            seen.pending += 1
            return []
        seen.settled += 1
        self.progress.expect(ask.step.name, 1)
        # The first one of all alone: how an engine answers one tells what each further request costs.
        async with self._alone:
            if self.tally.sent == 0:
                return await self._asked(ask, found, keep)
        return await self._asked(ask, found, keep)

    def _silent(self, engine: Engine) -> Engine:
        """An engine of the same identity that answers nobody."""
        return MeteredEngine(engine, Budget(max_tokens=0), 1)


async def plan(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> Foresight:
    """Foretell the refresh of a preset, and keep what was foretold.

    Args:
        preset: a shipped preset's name, or the path of a .yaml file.
        home: the folder of the lake.
        wait: if a refresh is at work on this lake, until it is done; else LakeFault names it.
    """
    made = load(preset)
    async with alone(made.place(home), "refresh", wait=wait) as lake:
        return await foretell(made, lake)


async def foretell(preset: Preset, lake: Lake, engines: Mapping[Alias, Engine] | None = None) -> Foresight:
    """The plan itself, asking the preset's own engines unless others are given.

    Raises:
        EngineDown, StageStopped: the probe failed; what was answered is committed.
        PriceError: the price file is wrong.
    """
    with Run(lake, "plan", preset) as run, StepProgress() as progress:
        async with engines_of(preset, Budget()) as opened:
            factory = Probe(lake, run, progress)
            line = Line(preset, factory, engines or opened, held_out_of(preset))
            run.words = line.words()
            prints = [stage.step.fingerprint(line.way.engine(stage)) for stage in line.stages]
            before = plans.measured(lake, prints)
            known = [fingerprint in before and before[fingerprint]["rows"] >= ROWS for fingerprint in prints]
            factory.wanted = _wanted(line.stages, known)
            with unwrapped():
                await line.walk()
        listed = prices.load(preset.prices) if preset.prices else None
        stations = _stations(line, factory, prints, plans.measured(lake, prints), known, listed)
        models = {engine.identity: preset.spec(alias).places for alias, engine in line.engines.items()}
        paces = {model: Pace(places, plans.requests(lake, model)) for model, places in models.items()}
        try:
            rows = foresee(stations, paces, listed)
        except Unmeasured as error:
            raise StageStopped(f"{error}: {_why(factory)}") from error
        return _keep(run, rows, factory.tally.sent, _short(line, stations))


def _writing(rounds: Rounds, skipped: int, written: int, kept: int) -> Writing:
    config = rounds.config
    return Writing(
        wanted=max(0, config.accept - len(rounds.accepted)),
        requests=config.requests_per_round,
        left=config.max_candidates - rounds.candidates + skipped,
        candidates=written,
        kept=kept,
    )


def _keep(run: Run, rows: list[Row], sent: int, message: str | None) -> Foresight:
    """Commit a plan; the very same one again leaves no trace."""
    rows = [{"config_hash": run.preset.hash, "preset": run.preset.name} | row for row in rows]
    there = plans.newest(run.lake, run.preset.hash)
    if plans.same(there, rows):
        return Foresight(there[0]["id"], None, sent, rows, message)
    id = digest(run.id, rows)
    run.start()
    plans.keep(run.lake, [{"id": id} | row for row in rows], run.id)
    run.end("finished", {"plan": id, "sent": sent, "saved": 0}, message)
    return Foresight(id, run.id, sent, rows, message)


def _short(line: Line, stations: Sequence[Station]) -> str | None:
    """Whether the candidates that a writer may still write will not do."""
    told = []
    for rounds, writing in zip(line.writing.rounds, (s.writing for s in stations if s.writing), strict=True):
        likely = writing.left * writing.kept // max(1, writing.candidates)
        if likely < writing.wanted:
            told.append(
                f"{writing.wanted} instructions are missing, and the gate took {writing.kept} of {writing.candidates}, "
                f"so {writing.left} more candidates (line.{rounds.name}.max_candidates) give {likely}"
            )
    return f"the refresh will stop short: {'; '.join(told)}" if told else None


def _why(factory: Probe) -> str:
    refused = [
        f"{step}: {count} × {why}" for step, whys in factory.tally.rejects.items() for why, count in whys.items()
    ]
    return f"the probe's rows were not accepted ({'; '.join(refused) or 'by the gate'}); see the view 'rejects'"


def _wanted(stages: Sequence[Stage], known: Sequence[bool]) -> frozenset[int]:
    """The steps that were not measured, and those before them, whose rows they need; the first one writes."""
    found = set()
    for stage, measured in zip(stages, known, strict=True):
        at = None if measured else stage
        while at is not None:
            found |= {id(at.step), id(stages[0].step)}
            at = at.after
    return frozenset(found)


def _stations(
    line: Line,
    probe: Probe,
    prints: Sequence[str],
    measured: Mapping[str, Row],
    known: Sequence[bool],
    listed: prices.Prices | None,
) -> list[Station]:
    stations: list[Station] = []
    places = {id(stage): place for place, stage in enumerate(line.stages)}
    left = dict(probe.seen)  # what was met at a step counts once, though several stages may share the step
    writers = {id(rounds.step): rounds for rounds in line.writing.rounds}
    first = {id(step) for step in line.writing.steps}  # what writes is asked by nobody before it
    for stage, fingerprint, before in zip(line.stages, prints, known, strict=True):
        at, rounds = id(stage.step), writers.get(id(stage.step))
        seen, found = left.pop(at, Seen()), measured.get(fingerprint)
        # A writer of topics is asked in so many rounds, whatever comes of them; those not looked at are pending too.
        pending = seen.pending + (probe.skipped[at] if at in first and not rounds else 0)
        stations.append(
            Station(
                name=stage.step.name,
                model=line.way.engine(stage).identity,
                after=None if at in first else places[id(stage.after)] if stage.after else 0,
                pending=pending,
                saved=seen.settled,
                measure=_measure(found) if found else None,
                source="lake" if before else "probe",
                price=line.preset.price(stage.alias, listed) if listed else None,
                writing=_writing(rounds, probe.skipped[at], *plans.gated(probe.lake, fingerprint)) if rounds else None,
            )
        )
    return stations


def _measure(found: Row) -> Measure:
    calls, tokens_in, tokens_out = (
        (found[f"{name}_mean"], found[f"{name}_sd"]) for name in ("calls", "tokens_in", "tokens_out")
    )
    return Measure(found["rows"], found["accepted"], calls, tokens_in, tokens_out, found["cached"])
