"""The metrics of a run: counters, gauges and a histogram, with labels of low cardinality.

Nothing is counted before `watch`: until then each call is one comparison. Exporters (`alignery.monitor.prometheus`,
`alignery.monitor.otel`) read the values when they are scraped or export, so counting never waits for them.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from alignery.untrusted import excerpt

Labels = tuple[str, ...]
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # upper bounds of a histogram's buckets; our choice
REASONS = 100  # reasons of one step; further ones are "other", for a method's reasons are free text; our choice


@dataclass(frozen=True)
class Metric:
    """A metric. `labels` are names, whose values are given with each observation, in this order."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    unit: str = "1"


REQUESTS = Metric(
    "alignery.requests", "counter", "Requests that were answered or failed", ("step", "model", "state"), "{request}"
)
TOKENS = Metric("alignery.tokens", "counter", "Tokens of these requests", ("step", "model", "type"), "{token}")
IN_FLIGHT = Metric(
    "alignery.requests.in_flight",
    "gauge",
    "Rows that wait for a reply, or for a place at the engine",
    ("step",),
    "{row}",
)
REJECTS = Metric("alignery.rejects", "counter", "Rows that were finished without a record", ("step", "reason"), "{row}")
COMMITS = Metric("alignery.commit.duration", "histogram", "Commits, the wait for the lake's lock included", (), "s")
RUNS = Metric("alignery.runs", "counter", "Runs that ended", ("flow", "state"), "{run}")
LAKE_ROWS = Metric("alignery.lake.rows", "gauge", "Rows of a table", ("table",), "{row}")
LAKE_BYTES = Metric("alignery.lake.size", "gauge", "Bytes of a table's data files", ("table",), "By")
ALL = (REQUESTS, TOKENS, IN_FLIGHT, REJECTS, COMMITS, RUNS, LAKE_ROWS, LAKE_BYTES)

Key = tuple[str, Labels]


class Metrics:
    """The values of one process; any thread may change and read them."""

    def __init__(self) -> None:
        self.values: dict[Key, float] = {}
        self.histograms: dict[Key, list[float]] = {}  # a count for each bucket, +Inf's the last, and the sum
        self.observers: list[
            Callable[[Metric, float, Labels], None]
        ] = []  # called with each value that a histogram records
        self._lock = threading.Lock()

    def add(self, metric: Metric, amount: float, *labels: str) -> None:
        key = metric.name, labels
        with self._lock:
            self.values[key] = self.values.get(key, 0.0) + amount

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        with self._lock:
            self.values[metric.name, labels] = value

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        with self._lock:
            counts = self.histograms.setdefault((metric.name, labels), [0.0] * (len(SECONDS) + 2))
            counts[bisect_left(SECONDS, value)] += 1
            counts[-1] += value
        for observer in self.observers:
            observer(metric, value, labels)

    def of(self, metric: Metric) -> list[tuple[Labels, float]]:
        """The values of a counter or a gauge, by labels."""
        with self._lock:
            return [(labels, value) for (name, labels), value in self.values.items() if name == metric.name]

    def snapshot(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        with self._lock:
            return {
                "values": [[name, labels, value] for (name, labels), value in self.values.items()],
                "histograms": [[name, labels, list(counts)] for (name, labels), counts in self.histograms.items()],
            }


_counts: Metrics | None = None  # of this process; None: nothing is exported


def counts() -> Metrics | None:
    """This process's counts; None where nothing is exported."""
    return _counts


def watch() -> Metrics:
    """This process's metrics, which are counted from the first call on."""
    global _counts  # noqa: PLW0603
    _counts = _counts or Metrics()
    return _counts


@contextmanager
def in_flight(step: str) -> Iterator[None]:
    """Count a row of a step as in flight while the block runs."""
    if (counts := _counts) is None:
        yield
        return
    counts.add(IN_FLIGHT, 1, step)
    try:
        yield
    finally:
        counts.add(IN_FLIGHT, -1, step)


def answered(attempts: Sequence[dict[str, Any]]) -> None:
    """Count the attempts for one row (rows of `attempts`); those that replay a known reply are no requests."""
    if (counts := _counts) is None:
        return
    for attempt in attempts:
        step, model = attempt["step"], excerpt(attempt["model"], 120)
        if attempt["replayed_from"] is None:
            counts.add(REQUESTS, 1, step, model, attempt["state"])
            for kind in ("in", "out", "cached"):
                if tokens := attempt[f"tokens_{kind}"]:
                    counts.add(TOKENS, tokens, step, model, kind)
        if attempt["final"] and attempt["state"] != "accepted":
            counts.add(REJECTS, 1, step, _reason(counts, step, attempt))


def _reason(counts: Metrics, step: str, attempt: dict[str, Any]) -> str:
    """A reject reason as a label, without its numbers; a failure's is `failed`, for its text is a server's."""
    if attempt["state"] == "failed":
        return "failed"
    reason = excerpt(re.sub("[0-9]+", "…", attempt["reason"]), 80)
    known = [labels for labels, _ in counts.of(REJECTS) if labels[0] == step]
    return reason if (step, reason) in known or len(known) < REASONS else "other"


@contextmanager
def timed_commit() -> Iterator[None]:
    """Record the duration of a commit that succeeds."""
    began = time.monotonic()
    yield
    if _counts is not None:
        _counts.record(COMMITS, time.monotonic() - began)


def ended(flow: str, state: str) -> None:
    """Count a run that ended."""
    if _counts is not None:
        _counts.add(RUNS, 1, flow, state)
