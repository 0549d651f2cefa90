"""Every durable effect of a scenario, and every fault at it: a case is run, the lake opened again, and checked.

Each case has two processes, forked from one that has everything imported: one that the fault strikes, and one that
looks at what it left, runs the phase again, and looks once more.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import scenario
from scenario import PHASES, Place, state

from alignery import effects
from alignery.errors import AligneryError
from warehouse import Lake, journal, ledger
from warehouse.doctor import doctor
from warehouse.recovery import recover

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["points", "psycopg", "pandas", "orjson"])
DIED = 77
FAULTS = ("die", "ENOSPC", "EIO", "lock lost", "reply lost")
_SQL = {"begin", "insert", "ledger row", "commit", "merge", "expire", "delete files"}
# Nothing is written there, or a failure to is ignored.
_NO_WRITE = {"begin", "lock released", "journal truncate", "draft removed", "temporary files removed"}
_TORN = """
    SELECT 1 FROM (SELECT snapshot_id, sum(attempts) AS n FROM commits GROUP BY 1) c
    FULL JOIN (SELECT snapshot_id, count(*) AS n FROM attempts GROUP BY 1) a USING (snapshot_id)
    WHERE c.n IS DISTINCT FROM a.n
"""


@dataclass(frozen=True)
class Point:
    """The number of an effect in its phase, from 0, and which side of it."""

    phase: str
    number: int
    name: str
    side: str


@dataclass
class Verdict:
    """What was found after a case. All but `told` must be 0 or empty."""

    lost: int = 0  # answers that were journalled and cannot be read
    doubled: int = 0  # rows that are there twice
    half_seen: int = 0  # commits that are there in part
    asked_again: int = 0  # answers asked for again beyond what was in flight
    wrong: list[str] = field(default_factory=list)  # every other invariant that does not hold, a traceback among them
    told: str = ""  # the sentence that the fault was told in

    @property
    def sound(self) -> bool:
        return not (self.lost or self.doubled or self.half_seen or self.asked_again or self.wrong)


def lay(folder: Path, database: Callable[[], str | None] = lambda: None) -> dict[str, list[Point]]:
    """Run the scenario once. `<folder>/<phase>` is what each phase begins with; returns the points of each."""
    return _in_process(_lay, folder, database())


def _lay(folder: Path, catalog: str | None) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    beside = folder / "life"
    beside.mkdir(parents=True)
    for phase, work in PHASES.items():
        if phase == "recover":
            scenario.leave(_place(beside, catalog), beside)
        shutil.copytree(beside, folder / phase)
        points = found[phase] = []
        guard = threading.Lock()

        def hook(name: str, side: str, points: list[Point] = points, phase: str = phase, guard: Any = guard) -> None:
            with guard:
                points.append(Point(phase, len(points), name, side))

        with effects.observed(hook):
            work(_place(beside, catalog), beside)
    return found


def cases(points: dict[str, list[Point]], faults: Sequence[str] = FAULTS) -> Iterator[tuple[Point, str]]:
    """The faults that make sense at each point."""
    for point in (point for some in points.values() for point in some):
        for fault in faults:
            if fault in ("ENOSPC", "EIO") and point.name in _NO_WRITE:
                continue
            if fault == "lock lost" and (point.name, point.side) not in {
                ("lock taken", "after"), ("begin", "after"), ("ledger row", "after"), ("commit", "before")
            }:  # fmt: skip
                continue
            if fault == "reply lost" and (point.name, point.side) != ("commit", "after"):
                continue
            yield point, fault


def distinct(points: dict[str, list[Point]], faults: Sequence[str] = FAULTS) -> list[tuple[Point, str]]:
    """One case of each kind: the last point of that phase, name and side. To die after an effect is to die before the
    next one, so of these only one is taken."""
    kinds = {(point.phase, point.name, point.side, fault): (point, fault) for point, fault in cases(points, faults)}
    return [case for (_, _, side, fault), case in kinds.items() if fault != "die" or side == "before"]


def strike(base: Path, point: Point, fault: str, at: Path, sabotage: str = "") -> Verdict:
    """One case, in a folder `at` that is gone afterwards."""
    shutil.copytree(base / point.phase, at)
    try:
        code, told = _strike(at, point, fault, sabotage)
        verdict: Verdict = _in_process(_judge, at, point.phase, sabotage)
        verdict.told = told
        if code not in (0, DIED):
            verdict.wrong.append(f"the process ended with {code}")
        if told.startswith("traceback"):
            verdict.wrong.append(told)
        return verdict
    finally:
        shutil.rmtree(at)


def _strike(at: Path, point: Point, fault: str, sabotage: str) -> tuple[int, str]:
    process = PROCESSES.Process(target=_struck, args=(at, point, fault, sabotage))
    process.start()
    process.join()
    told = at / "told"
    return int(process.exitcode or 0), told.read_text() if told.exists() else ""


def _struck(at: Path, point: Point, fault: str, sabotage: str) -> None:
    _sabotage(sabotage)
    count, guard, place = [0], threading.Lock(), _place(at, None)
    inside = [False]

    def hook(name: str, side: str) -> None:
        with guard:
            mine = count[0]
            count[0] += not inside[0]
            if inside[0] or mine != point.number:
                return
            inside[0] = True
        _fault(fault, name, place)
        inside[0] = False

    try:
        with effects.observed(hook):
            PHASES[point.phase](place, at)
    except AligneryError as error:
        (at / "told").write_text(str(error))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is told
        (at / "told").write_text(f"traceback of {type(error).__name__}: {error}")
    os._exit(0)


def _fault(fault: str, name: str, place: Place) -> None:
    if fault == "die":
        os._exit(DIED)
    if fault == "reply lost":
        raise duckdb.IOException("the connection was closed before the reply came")
    if fault == "lock lost":
        (place.home / "lake.lock").unlink(missing_ok=True)
        with Lake.open(place, threads=1) as other:  # who then gets it, and commits
            other.write("runs", [{"id": "intruder", "state": "finished", "flow": "x"}], run_id="intruder", message="x")
        return
    code = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}[fault]
    raise duckdb.IOException(os.strerror(code)) if name in _SQL else OSError(code, os.strerror(code))


def _judge(at: Path, phase: str, sabotage: str) -> Verdict:
    """Open, take in, look; run the phase again, look; open once more, and find nothing changed."""
    _sabotage(sabotage)
    place, found = _place(at, None), Verdict()
    try:
        Lake.open(place, threads=1).close()
        with Lake.open(place, threads=1) as lake:
            recover(lake)
        answered = (at / "answered").read_text().split("\n")[:-1] if (at / "answered").exists() else []
        there = state(place, at)
        # One answer at most was between the engine and the journal.
        found.lost = max(0, len(set(answered) - set(there["replies"])) - 1)
        _whole(place, found)
        PHASES[phase](place, at)
        after = state(place, at)
        sent = Counter((at / "answered").read_text().split("\n")[:-1]) if (at / "answered").exists() else Counter()
        found.asked_again = max(0, sum(sent.values()) - len(sent) - 1)
        _whole(place, found)
        found.wrong += _as_it_should(at, phase, after)
        problems = [one for one in doctor(place, deep=True) if one.state == "problem"]
        # A lake that died in the making leaves the file of its version row, which the doctor takes for another's.
        found.wrong += [f"{one.check}: {one.what}" for one in problems if phase != "make" or one.check != "upkeep"]
        snapshot = _snapshot(place)
        with Lake.open(place, threads=1) as lake:
            recover(lake)
        if _snapshot(place) != snapshot:
            found.wrong.append("a second opening committed something")
    except AligneryError as error:
        found.wrong.append(f"afterwards: {error}")
    return found


def _whole(place: Place, found: Verdict) -> None:
    with Lake.open(place, read_only=True, threads=1) as lake:
        for table in ("attempts", "instructions", "responses", "corrections", "commits"):
            found.doubled += lake.rows(f"SELECT count(*) - count(DISTINCT id) AS n FROM {table}")[0]["n"]
        keys = lake.rows("SELECT count(*) - count(DISTINCT work_key) AS n FROM attempts WHERE final")
        found.doubled += keys[0]["n"]
        found.half_seen += len(lake.rows(_TORN))


def _as_it_should(at: Path, phase: str, after: dict[str, Any]) -> list[str]:
    """What differs from the life that nothing struck."""
    names = list(PHASES)
    due = names[: names.index(phase) + 1]
    wrong = [f"a draft is left: {path}" for path in after["drafts"]]
    if "refresh" in due:
        for table in ("instructions", "corrections"):
            if len(after[table]) != scenario.ROWS:
                wrong.append(f"{table}: {len(after[table])} rows, expected {scenario.ROWS}")
    for name, flow in {"first": "tag", "v1": "publish"}.items():
        if flow in due and name not in after["tags"]:
            wrong.append(f"the tag {name} is gone")
    if "train" in due and not after["model"]:
        wrong.append("the model is gone")
    return wrong


def _snapshot(place: Place) -> int:
    with Lake.open(place, read_only=True, threads=1) as lake:
        return lake.snapshot()


def _place(beside: Path, catalog: str | None) -> Place:
    told = beside / "catalog-url"
    if catalog:
        told.write_text(catalog)
    return Place(beside / "lake", told.read_text() if told.exists() else None)


def _sabotage(what: str) -> None:
    """Take a safeguard away, to see that the checks notice."""
    if what == "journal":
        journal.Journal.write = lambda self, batch: None  # type: ignore[method-assign]
    elif what == "fence":
        ledger._new_attempts = lambda cursor, made: made


def _in_process(work: Callable[..., Any], *given: Any) -> Any:
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_sent, args=(theirs, work, given))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"{work.__name__} ended with {process.exitcode}") from None
    process.join()
    if isinstance(found, BaseException):
        raise found
    return found


def _sent(pipe: Any, work: Callable[..., Any], given: Sequence[Any]) -> None:
    try:
        pipe.send(work(*given))
    except BaseException as error:  # noqa: BLE001  # raised again where the result is waited for
        with suppress(Exception):
            import traceback

            pipe.send(AssertionError("".join(traceback.format_exception(error))))
