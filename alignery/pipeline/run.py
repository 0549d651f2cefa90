"""A run in the lake: the only one of its kind, recorded with its first rows, so that a run without work leaves none."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from alignery.config.preset import Preset
from alignery.hashing import digest
from alignery.monitor import exporters, metrics, otel, webhooks
from tasks.step import Row
from warehouse import Lake, LakeFailure, LakeLocation, recovery
from warehouse.database.lock import exclusive, of_preset
from warehouse.query import status
from warehouse.schema.lake_schema import LakeSchema

# The lock of the running flow of the loop: generating and training compete for one GPU.
WORK = "work"
UNREPORTED = ("plan", "tag")  # a person runs these at the command line; no webhook is sent when they end


@asynccontextmanager
async def exclusive_run(
    place: LakeLocation, flow: str, *, preset: str | None = None, wait: bool = True, schema: LakeSchema | None = None
) -> AsyncIterator[Lake]:
    """The lake, open for a flow that is the only one of its kind in it, whatever the host; with `preset`, the only one
    of its kind for the preset of that name.

    Answers that a killed run did not commit are committed first. Two runs of one preset at once would send the same
    requests twice, because each would find the same work pending.

    Raises:
        LakeFailure: another holds its place and `wait` is false; the message says who.
    """
    with ExitStack() as stack:
        # The cores are the engine's, or the trainer's; what a flow reads and commits is small, and more threads of
        # DuckDB's would only compete with them.
        name = flow if preset is None else of_preset(flow, preset)
        lake = stack.enter_context(Lake.open(place, schema=schema, threads=1))
        # In a thread, because the other one may take hours, and Ctrl-C must work meanwhile.
        await asyncio.to_thread(stack.enter_context, exclusive(lake.place, name, f"alignery {flow}", wait=wait))
        await asyncio.to_thread(recovery.recover, lake)
        await asyncio.to_thread(mark_dead_runs_failed, lake, flow, preset)
        yield lake


def mark_dead_runs_failed(lake: Lake, flow: str, preset: str | None = None) -> None:
    """Record runs that a dead process left started as failed; we hold the flow's lock, so the process is dead."""
    for row in status.unfinished(lake, flow):
        if preset is not None and row["preset"] != preset:
            continue
        dead = {**row, "state": "failed", "message": "its process died", "created_at": datetime.now(UTC)}
        lake.ledger.write("runs", [dead], run_id=row["id"], message=f"{flow}: failed")


@dataclass
class Run:
    """One run of a flow. `start` may be called by several threads; the first one writes."""

    lake: Lake
    flow: str
    preset: Preset
    words: Sequence[Row] = ()  # rows of the `prompts` table: what this run may say
    id: str = ""
    started: bool = False
    ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _outcome: tuple[str, Mapping[str, Any]] | None = None  # of a run that wrote something: how it ended, its totals
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        # The process is part of it, so that two runs begun in one microsecond differ.
        self.id = digest(self.flow, self.preset.hash, datetime.now(UTC).isoformat(), os.getpid())

    def __enter__(self) -> Run:
        exporters.start()
        self._stack.enter_context(otel.span(f"alignery.{self.flow}", is_run=True, run_id=self.id))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """Record a run that an error ends as failed, and send how it ended to metrics and webhooks."""
        try:
            if error is not None and not self.ended:
                self.end("failed", {}, f"{type(error).__name__}: {error}"[:1000])
            elif error is None:
                measure(self.lake)
        finally:
            self._stack.__exit__(kind, error, trace)
            self._report(error)

    def start(self) -> None:
        with self._lock:
            if not self.started:
                self._write("started", {}, None, prompts=self.words)
                self.started = True

    def add_prompts(self, words: Sequence[Row]) -> None:
        """Further rows of the `prompts` table, for requests that are yet to be sent: once it has begun, at once."""
        with self._lock:
            if not self.started:
                self.words = list({row["hash"]: row for row in (*self.words, *words)}.values())
                return
        self.lake.ledger.write("prompts", words, run_id=self.id, message=f"{self.flow}: prompts")

    def end(self, state: str, totals: Mapping[str, Any], message: str | None = None) -> None:
        """Record how it ended (`finished`, `short` or `failed`), if it ever wrote anything."""
        if self.started:
            self._write(state, totals, message)
            self._outcome = state, totals
        self.ended = True

    def finished(self, totals: Mapping[str, Any]) -> dict[str, Sequence[Row]]:
        """The rows that record it as finished, for the commit of what it did: both are committed or neither."""
        self.ended, self._outcome = True, ("finished", totals)
        return {"prompts": self.words, "runs": [self._row("finished", totals, None)]}

    def decided(self, id: str, event: webhooks.Event, **facts: Any) -> None:
        """Send a recorded decision to the preset's webhooks."""
        about = {"flow": self.flow, "preset": self.preset.name, "run_id": self.id}
        webhooks.notify(self.preset.notify, event, id, {**about, "decision": id, **facts})

    def _report(self, error: BaseException | None) -> None:
        about = {"flow": self.flow, "preset": self.preset.name, "run_id": self.id}
        state, totals = ("failed", {}) if error else self._outcome or ("", {})
        if state:
            metrics.ended(self.flow, state)
        exporters.write()
        if isinstance(error, Exception):  # else it was stopped by hand
            webhooks.failed(self.preset.notify, self.id, error, about)
        elif not error and self._outcome and self.flow not in UNREPORTED:
            counts = {name: value for name, value in totals.items() if isinstance(value, int | float)}
            webhooks.notify(self.preset.notify, "finished", self.id, {**about, "state": state, "counts": counts})

    def _write(self, state: str, totals: Mapping[str, Any], message: str | None, **beside: Sequence[Row]) -> None:
        rows = {**beside, "runs": [self._row(state, totals, message)]}
        self.lake.ledger.write_tables(rows, run_id=self.id, message=f"{self.flow}: {state}")

    def _row(self, state: str, totals: Mapping[str, Any], message: str | None) -> Row:
        return {
            "id": self.id,
            "state": state,
            "flow": self.flow,
            "preset": self.preset.name,
            "config": json.dumps(self.preset.recorded()),
            "config_hash": self.preset.hash,
            "code_version": version("alignery"),
            "totals": json.dumps(totals),
            "message": message,
            "created_at": datetime.now(UTC),
        }


def measure(lake: Lake) -> None:
    """Where metrics are exported, count the lake's rows and bytes: from the catalog, no data file is read.

    If it cannot be read now, the figures stay unchanged: a successful run must not fail because of them.
    """
    if counts := metrics.counts():
        with suppress(LakeFailure):
            for row in status.sizes(lake):
                counts.put(metrics.LAKE_ROWS, row["rows"], row["table"])
                counts.put(metrics.LAKE_BYTES, row["bytes"], row["table"])
