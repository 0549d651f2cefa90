"""Two writers of one lake, each stopped at every durable effect until it may go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import IO
from unittest import mock

from alignery import effects
from warehouse import Lake, journal, ledger
from warehouse.database import session as sessions
from warehouse.errors import LakeFailure
from warehouse.journal import Journal, drop
from warehouse.ledger import Batch

_COUNTS = """
    SELECT work_key, count(*) AS attempts,
        (SELECT count(*) FROM instructions i WHERE i.work_key = a.work_key) AS records
    FROM attempts a WHERE a.work_key LIKE ? GROUP BY work_key
"""
_WAIT_S = 60  # for a thread that should come to a stop: an error, and no measure of anything


class Died(BaseException):
    """The process of a writer ended here."""


class Writer:
    """One run: journals a batch, commits it, and drops its journal. A thread, that stops before each effect."""

    def __init__(self, name: str, lake: Lake, gate: threading.Condition) -> None:
        self.name, self._lake, self._gate = name, lake, gate
        self.at: str | None = None  # the effect that it has reached
        self.passed: str | None = None  # the one before that
        self.working = self.inside = False  # inside: between BEGIN and the end of its transaction
        self.acknowledged = False  # what it was given is in its journal
        self.error: BaseException | None = None
        self._go = self._die = False
        self._file: IO[bytes] | None = None

    def begin(self, batch: Batch) -> None:
        """Start to journal and commit it."""
        self.working, self.acknowledged, self.error, self.passed = True, False, None, None
        self._thread = threading.Thread(target=self._work, args=(batch,), name=self.name)
        self._thread.start()

    def go(self, *, die: bool = False) -> None:
        """Pass the effect that it has reached, or die there."""
        with self._gate:
            self.passed, self.at = None if die else self.at, None
            self._go, self._die = True, die
            self._gate.notify_all()

    def stop(self, effect: str) -> None:
        """Called in its thread before an effect: wait for `go`."""
        with self._gate:
            self.at = effect
            self._gate.notify_all()
            assert self._gate.wait_for(lambda: self._go, _WAIT_S), f"{self.name} never got its turn"
            self._go = False
        if self._die:
            raise Died

    def _work(self, batch: Batch) -> None:
        notes = Journal(self._lake.home, self.name)
        try:
            notes.write(batch)
            self.acknowledged = True
            self._file = notes.turn()
            self._lake.ledger.append_batches([batch], run_id=self.name)
            if self._file:
                drop(self._file)
        except (Died, LakeFailure) as error:
            # What the kernel does for a dead process: its files are closed, and so unlocked.
            for file in (self._file, notes.turn()):
                if file:
                    file.close()
            self.error = error
        except BaseException as error:  # noqa: BLE001  # a bug; the test reports it
            self.error = error
        finally:
            self._file = None
            with self._gate:
                self.working = self.inside = False
                self.at, self._die = None, False
                self._gate.notify_all()


class Pair:
    """Two writers, a third who reads and recovers, and what must hold of them all."""

    def __init__(self, lakes: Sequence[Lake]) -> None:
        *writing, self.lake = lakes
        self.gate = threading.Condition()
        self.writers = [Writer(f"writer{n}", lake, self.gate) for n, lake in enumerate(writing)]
        self.overlaps = 0  # transactions that began while another was open

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While it lasts the writers stop at each effect."""
        with effects.observed(self._hook):
            yield

    def _hook(self, name: str, side: str) -> None:
        mine = next((one for one in self.writers if one.name == threading.current_thread().name), None)
        if mine is None:
            return
        if (name, side) == ("begin", "before"):
            self.overlaps += any(other.inside for other in self.writers if other is not mine)
            mine.inside = True
        elif (name, side) in {("lock released", "before"), ("commit", "after")}:
            mine.inside = False
        if side == "before":
            mine.stop(name)

    def settle(self) -> None:
        """Wait until each writer has reached an effect, is done, or waits for the lock that the other one has."""

        def still() -> bool:
            moving = [one for one in self.writers if one.working and one.at is None]
            # The effect "lock taken" is, on Postgres, to ask for it, and on SQLite to write into its file.
            last = "lock taken" if self.lake.place.on_postgres else "journal append"
            waiting = [one for one in moving if one.passed == last]
            return not moving or (moving == waiting and any(self.holds(one) for one in self.writers))

        with self.gate:
            assert self.gate.wait_for(still, _WAIT_S), [(one.at, one.working) for one in self.writers]

    def holds(self, writer: Writer) -> bool:
        """Whether it is in the block of the lake's lock."""
        within = {"begin", "insert", "ledger row", "commit", "lock released"}
        return writer.at in within | (set() if self.lake.place.on_postgres else {"lock taken"})

    def finish(self) -> None:
        """Let both come to their ends."""
        self.settle()
        while any(one.working for one in self.writers):
            for one in self.writers:
                if one.at:
                    one.go()
                    self.settle()

    def doubled(self, prefix: str) -> list[str]:
        """Keys with more than one final attempt or record; a record without its attempt, or the reverse, counts too."""
        return [row["work_key"] for row in self._rows(prefix) if (row["attempts"], row["records"]) != (1, 1)]

    def readable(self, prefix: str) -> set[str]:
        return {row["work_key"] for row in self._rows(prefix)}

    def _rows(self, prefix: str) -> list[dict[str, object]]:
        return self.lake.rows(_COUNTS, [f"{prefix}%"])


def batch(keys: Sequence[str], run_id: str) -> Batch:
    """What a run was answered for these keys; its calls have ids of their own."""
    common = {"run_id": run_id, "created_at": datetime.now(UTC), "parents": []}
    call = common | {"step": "s", "fingerprint": "f", "inputs": "{}", "prompt_id": "p", "prompt_hash": "h"}
    call |= {"model": "m", "sampling": "{}", "seed": 0, "try_number": 0, "state": "accepted", "final": True}
    call |= {"raw_text": "yes", "finish_reason": "stop", "tokens_in": 1, "tokens_out": 1, "latency_s": 0.0}
    record = common | {"text": "yes", "topic": "t", "origin": "self_instruct", "state": "accepted"}
    calls = [call | {"id": f"{key}-{run_id}", "work_key": key} for key in keys]
    rows = [record | {"id": f"i-{key}", "attempt_id": f"{key}-{run_id}", "work_key": key} for key in keys]
    return Batch("s", "f", {"instructions": rows}, calls)


def _unwritten(journal: Journal, file: int, line: bytes) -> None:
    with effects.JOURNAL_APPEND:
        pass


@contextmanager
def without(what: str, pair: Pair) -> Iterator[None]:
    """Take a safeguard away."""
    if what == "lock":
        with mock.patch.object(sessions, "exclusive", return_value=nullcontext()):
            yield
    elif what == "fence":
        with mock.patch.object(ledger, "_new_attempts", lambda cursor, made, since: made):
            yield
    elif what == "journal":
        with mock.patch.object(journal.Journal, "_append", _unwritten):
            yield
    elif what == "conflict":  # DuckLake then commits again by itself, without a second check of ours
        for writer in pair.writers:
            writer._lake._db.execute("SET GLOBAL ducklake_max_retry_count = 10")
        try:
            yield
        finally:
            for writer in pair.writers:
                writer._lake._db.execute("SET GLOBAL ducklake_max_retry_count = 0")
    else:
        yield
