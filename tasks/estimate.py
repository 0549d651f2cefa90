"""Estimates a refresh from some of its rows: calls, tokens, minutes and money, each with an interval.

The model, in four sentences. What a step accepts is the input of the next one, and each source writes instructions, in
whole rounds, until the gate has accepted the target, or every hint (a pair of type and topic, for one question) was
used. A piece of work takes what it took on average when measured: calls (including retries), prompt and reply tokens. A
reply of n tokens takes n · (a + c · load) seconds with `load` requests in flight (a: seconds per token of an idle
engine, c: what each further request adds), fitted to the measurements and extrapolated to the engine's limit. The whole
takes as long as its busiest engine works, plus one pass through the line on an idle engine (Brent's bound).

The interval is a prediction interval, by simulation (2,000 draws, a fixed seed): acceptance rates from their beta
posterior (Jeffreys' prior), including the gate's, and binomial counts under these; means from Student's t, widened by
the rows to come; the pace from a bootstrap of the measured requests. Not modelled: that the gate accepts less as its
pool grows, how long a model takes to load, and other work on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.prices import Price, Prices
from tasks.step import Row

LEVEL = 0.9  # probability of the intervals
FIGURES = ("calls", "tokens_in", "tokens_out", "minutes", "money")
TOTAL = "total"
_DRAWS, _FITS = 2000, 200
_ALONE = 0.25  # for a single row, the standard deviation over the mean; our choice
_MILLION = 1e6
Array: TypeAlias = NDArray[np.float64] | np.float64  # draws, or the one value that is likely


@dataclass(frozen=True)
class StepCost:
    """What finished work of a step took: mean and standard deviation by piece of work."""

    rows: int
    accepted: int
    calls: tuple[float, float]
    tokens_in: tuple[float, float]
    tokens_out: tuple[float, float]
    cached: float = 0.0  # share of prompt tokens that the engine had in its cache, 0 to 1


@dataclass(frozen=True)
class StageLoad:
    """A step as a plan sees it. Loads of one name (the rounds of a step) share their measurement."""

    name: str
    model: str
    after: tuple[int, ...]  # the places of the stages whose rows it gets; (0,): what is written; (): it begins
    pending: int  # rows that are known, and not asked yet
    saved: int  # rows that are known and done
    measure: StepCost | None  # None where nothing of it was ever done
    source: str = "probe"  # or "lake"
    price: Price | None = None
    writing: Writing | None = None  # of one that writes; one that comes after another writer gets its hints there
    due: tuple[int, int] | None = None  # rows that were sent, of those that came; None: every row is sent
    passed_on: tuple[int, int] | None = None  # rows that its successors got, of those accepted; None: every one
    skippable: bool = False  # rows that are not sent go on


@dataclass(frozen=True)
class Writing:
    """How many instructions of one writer are missing, and what its gate made of those that it wrote."""

    missing: int  # accepted instructions that are not there yet; of topics none, for their requests are all known
    requests: int  # to a round
    left: int  # candidates that may still be written
    candidates: int  # that the gate judged
    passed: int  # of these
    hints: int | None = None  # that are known and were not asked for yet; None: it needs none
    count: int = 1  # hints to a request


@dataclass(frozen=True)
class Throughput:
    """An engine's speed.

    `requests` are rows of (reply tokens, requests in flight meanwhile, seconds).
    """

    places: int
    requests: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class _Guess:
    """One value of everything that is uncertain, or an array of draws of each."""

    accept: Mapping[str, Array]
    gate: Mapping[str, Array]  # by writer
    due: Mapping[int, Array]  # by place, the share of rows that is sent
    passed_on: Mapping[int, Array]  # by place, the share of accepted rows that goes on
    spread: Mapping[str, Mapping[str, Array]]  # standard errors' worth by which each mean is off
    pace: Mapping[str, tuple[Array, Array]]
    rng: np.random.Generator | None = None  # None: counts are their own means

    def through(self, works: Array, rate: Array) -> Array:
        """How many of the works are accepted."""
        if self.rng is None:
            return works * rate
        return self.rng.binomial(np.rint(works).astype(np.int64), rate).astype(np.float64)


class Unmeasured(ValueError):
    """A step that will be run was never measured, so nothing can be estimated; the message names it."""


def estimate(stages: Sequence[StageLoad], paces: Mapping[str, Throughput], prices: Prices | None = None) -> list[Row]:
    """One row a step and one for the total, as the table `plans` holds them, without whose plan it is.

    Args:
        stages: the steps, each after the one that it gets its rows from; the first one writes, and others may.
        paces: model → how fast it answers.
        prices: the file that the stages' prices are from.

    Raises:
        Unmeasured: rows will come to a step of which nothing is known.
    """
    rng = np.random.default_rng(0)
    point, sampled = _observed(stages, paces), _sampled(stages, paces, rng)
    likely, spread = (_walk(stages, paces, guess) for guess in (point, sampled))
    stated: Row = {"currency": prices and prices.currency, "priced_on": prices and prices.date.isoformat()}
    rows = []
    for name in [*dict.fromkeys(stage.name for stage in stages), TOTAL]:
        own = [stage for stage in stages if name in (stage.name, TOTAL)]
        row: Row = {
            "step": name,
            "model": own[0].model if len({stage.model for stage in own}) == 1 else None,
            "source": "lake" if all(stage.source == "lake" for stage in own) else "probe",
            "rows": sum({s.name: s.measure.rows if s.measure else 0 for s in own}.values()),
            "saved": sum(stage.saved for stage in own),
            "level": LEVEL,
        }
        for figure in FIGURES:
            value, draws = likely[name].get(figure), spread[name].get(figure)
            row |= _interval(figure, value, draws)
        rows.append(row | stated | _prices(own if name != TOTAL else []))
    return rows


def _interval(figure: str, value: Array | None, draws: Array | None) -> Row:
    if value is None or draws is None:
        return {figure: None, f"{figure}_low": None, f"{figure}_high": None}
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    found = {figure: float(value), f"{figure}_low": float(min(low, value)), f"{figure}_high": float(max(high, value))}
    counted = figure in ("calls", "tokens_in", "tokens_out")
    return {name: round(number) if counted else number for name, number in found.items()}


def _prices(own: Sequence[StageLoad]) -> Row:
    price = own[0].price if own else None
    names = ("price_in", "tokens_in"), ("price_out", "tokens_out"), ("price_cached", "tokens_cached")
    return {name: getattr(price, field, None) for name, field in names}


def _observed(stages: Sequence[StageLoad], paces: Mapping[str, Throughput]) -> _Guess:
    """All uncertain values as measured."""
    known = {s.name: s.measure for s in stages if s.measure}
    still = dict.fromkeys(("calls", "tokens_in", "tokens_out"), np.float64(0))
    return _Guess(
        accept={name: np.float64(m.accepted / m.rows) for name, m in known.items()},
        gate={s.name: np.float64(s.writing.passed / max(1, s.writing.candidates)) for s in stages if s.writing},
        due=_shares(s.due for s in stages),
        passed_on=_shares(s.passed_on for s in stages),
        spread=dict.fromkeys(known, still),
        pace={model: fit(_rows(pace)) for model, pace in paces.items()},
    )


def _sampled(stages: Sequence[StageLoad], paces: Mapping[str, Throughput], rng: np.random.Generator) -> _Guess:
    """Draws of all uncertain values, given how little was measured."""
    known = {s.name: s.measure for s in stages if s.measure}
    return _Guess(
        accept={name: rng.beta(m.accepted + 0.5, m.rows - m.accepted + 0.5, _DRAWS) for name, m in known.items()},
        gate={
            s.name: rng.beta(s.writing.passed + 0.5, s.writing.candidates - s.writing.passed + 0.5, _DRAWS)
            for s in stages
            if s.writing
        },
        spread={
            name: {figure: rng.standard_t(max(1, m.rows - 1), _DRAWS) for figure in FIGURES[:3]}
            for name, m in known.items()
        },
        pace={model: _bootstrapped(_rows(pace), rng) for model, pace in paces.items()},
        due=_shares((s.due for s in stages), rng),
        passed_on=_shares((s.passed_on for s in stages), rng),
        rng=rng,
    )


def _shares(counts: Iterable[tuple[int, int] | None], rng: np.random.Generator | None = None) -> dict[int, Array]:
    """By place, the share that (some, of all) are. Where some are none, none are expected: nothing was measured."""
    return {
        place: rng.beta(some + 0.5, every - some + 0.5, _DRAWS) if rng and some else np.float64(some / every)
        for place, (some, every) in enumerate(count or (0, 0) for count in counts)
        if every
    }


def _rows(pace: Throughput) -> NDArray[np.float64]:
    return np.asarray(pace.requests, np.float64).reshape(-1, 3)


def _bootstrapped(requests: NDArray[np.float64], rng: np.random.Generator) -> tuple[Array, Array]:
    if not len(requests):
        return np.zeros(_DRAWS), np.zeros(_DRAWS)
    picks = rng.integers(0, len(requests), (_FITS, len(requests)))
    fits = np.asarray([fit(requests[pick]) for pick in picks])
    chosen = fits[rng.integers(0, _FITS, _DRAWS)]
    return chosen[:, 0], chosen[:, 1]


def fit(requests: NDArray[np.float64]) -> tuple[Array, Array]:
    """The seconds that a token takes, (a, c) of a + c · load, both 0 or more, by least squares.

    Args:
        requests: rows of (reply tokens, load, seconds); without any, a reply takes no time.
    """
    if not len(requests):
        return np.float64(0), np.float64(0)
    tokens, load, seconds = requests.T
    design = np.stack([tokens, tokens * load], axis=1)
    (a, c), *_ = np.linalg.lstsq(design, seconds, rcond=None)
    alone, each = (float(x @ seconds / (x @ x)) for x in design.T)
    if c < 0:
        a, c = alone, 0.0
    elif a < 0:
        a, c = 0.0, each
    return np.float64(a), np.float64(c)


def _walk(stages: Sequence[StageLoad], paces: Mapping[str, Throughput], guess: _Guess) -> dict[str, dict[str, Array]]:
    """Figures by step name, and of all steps under TOTAL."""
    works = _works(stages, guess)
    found: dict[str, dict[str, Array]] = {}
    replies = []
    for stage, count in zip(stages, works, strict=True):
        taken, reply = _taken(stage, count, guess)
        replies.append(reply)
        into = found.setdefault(stage.name, {})
        for figure, value in taken.items():
            into[figure] = into.get(figure, np.float64(0)) + value
    models = {stage.name: stage.model for stage in stages}
    everything: Array = sum((figures["calls"] for figures in found.values()), np.float64(0))
    busy: dict[str, Array] = {}
    for name, figures in found.items():
        a, c = guess.pace[models[name]]
        load = np.clip(everything, 1, paces[models[name]].places)
        figures["minutes"] = figures["tokens_out"] * (a / load + c) / 60
        busy[models[name]] = busy.get(models[name], np.float64(0)) + figures["minutes"]
    whole = {figure: sum(f[figure] for f in found.values()) for figure in FIGURES if figure in found[stages[0].name]}
    way = _way(stages, works, replies, guess)
    return found | {TOTAL: whole | {"minutes": np.maximum.reduce(list(busy.values())) + way}}


def _works(stages: Sequence[StageLoad], guess: _Guess) -> list[Array]:
    """How many rows each stage gets."""
    works: list[Array] = []
    zero: Array = np.zeros_like(guess.pace[stages[0].model][0])
    written = zero
    brought: dict[int, Array] = {}  # by the place of a writer, what its gate accepts
    passed: dict[int, Array] = {}  # by place, rows that go on unsent

    def goes_on(place: int) -> Array:
        taken = guess.through(works[place], guess.accept.get(stages[place].name, zero))
        return passed[place] + (guess.through(taken, guess.passed_on[place]) if place in guess.passed_on else taken)

    for place, stage in enumerate(stages):
        if stage.writing:
            hints = sum((brought[before] for before in stage.after), zero)
            asked, brought[place] = _written(stage, stage.writing, guess, hints)
            written = written + np.minimum(stage.writing.missing, brought[place])
        else:
            came = sum((goes_on(before) if before else written for before in stage.after), zero)
            sent = guess.through(came, guess.due[place]) if place in guess.due else came
            passed[place] = came - sent if stage.skippable else zero
            asked = stage.pending + sent
        works.append(asked)
    return works


def _written(stage: StageLoad, writing: Writing, guess: _Guess, hints: Array) -> tuple[Array, Array]:
    """A writer's requests, given the hints that are still to come, and what its gate accepts of what comes of them."""
    measure = stage.measure
    if writing.missing and not (measure and writing.candidates):
        raise Unmeasured(f"{stage.name}: no request was answered with an instruction")
    if measure is None:
        return stage.pending + np.zeros_like(hints), np.zeros_like(hints)
    gate = guess.gate[stage.name]
    each = writing.candidates / max(1, measure.accepted) * guess.accept[stage.name]
    yielded = np.maximum(each * gate, 1e-9)
    most = np.ceil(writing.left / np.maximum(each * writing.requests, writing.requests))
    further = np.ceil((writing.missing / yielded - stage.pending) / writing.requests)
    asked = stage.pending + np.clip(further, 0, np.maximum(most, 0)) * writing.requests
    if writing.hints is not None:
        asked = np.minimum(asked, np.ceil((writing.hints + hints) / writing.count))
    return asked, guess.through(asked * each, gate)


def _taken(stage: StageLoad, works: Array, guess: _Guess) -> tuple[dict[str, Array], Array]:
    """Calls, tokens and money of that much work; and the tokens of one reply."""
    measure = stage.measure
    if measure is None:
        if np.any(works > 0):
            raise Unmeasured(f"{stage.name}: nothing of it was answered yet")
        zero = np.zeros_like(works)
        return dict.fromkeys(FIGURES[:3] + FIGURES[4:] if stage.price else FIGURES[:3], zero), zero
    taken = {}
    for figure in FIGURES[:3]:
        mean, deviation = getattr(measure, figure)
        if measure.rows == 1 and figure != "calls":
            deviation = mean * _ALONE
        error = deviation * np.sqrt(1 / measure.rows + 1 / np.maximum(works, 1))
        taken[figure] = works * np.maximum(0, mean + error * guess.spread[stage.name][figure])
    if price := stage.price:
        cached = price.tokens_in if price.tokens_cached is None else price.tokens_cached
        each_in = (1 - measure.cached) * price.tokens_in + measure.cached * cached
        taken["money"] = (taken["tokens_in"] * each_in + taken["tokens_out"] * price.tokens_out) / _MILLION
    return taken, taken["tokens_out"] / np.maximum(works, 1)


def _way(stages: Sequence[StageLoad], works: Sequence[Array], replies: Sequence[Array], guess: _Guess) -> Array:
    """Minutes of the longest way through the line on an idle engine: rounds wait for each other, steps too."""
    ends: list[Array] = []
    for stage, work, reply in zip(stages, works, replies, strict=True):
        a, c = guess.pace[stage.model]
        seconds = np.where(work > 0, reply * (a + c), 0.0)
        if stage.writing:
            seconds = seconds * np.ceil(work / stage.writing.requests)
        before = [ends[place] for place in stage.after]
        ends.append(seconds + np.maximum.reduce(before) if before else seconds)
    return np.maximum.reduce(ends) / 60


def compared(planned: Mapping[str, Any], took: Mapping[str, Any]) -> str:
    """A plan's calls and minutes next to what was used, as a clause."""
    return (
        f"planned {planned['calls']:,} calls, {planned['minutes']:.3g} min; "
        f"took {took['calls']:,.0f}, {took['minutes']:.3g} min"
    )
