"""Every durable effect of a scenario, and every fault at it: a case is run, the lake opened again, and checked.

Each case has two processes, forked from one that has everything imported: one that the fault strikes, and one that
looks at what it left, runs the phase again, and looks once more.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import scenario
from judge import Verdict, judge
from scenario import PHASES, LakeLocation
from worker import Worker

from alignery import effects
from alignery.errors import AligneryError
from warehouse import Lake, journal, ledger
from warehouse import lake as lakes
from warehouse.database import session as sessions

DIED = 77
FAULTS = ("die", "ENOSPC", "EIO", "lock lost", "reply lost", "power cut")
_SQL = {"begin", "insert", "ledger row", "commit", "merge", "expire", "delete files"}
# Nothing is written there, or a failure to is ignored.
_NO_WRITE = {"begin", "lock released", "journal truncate", "draft removed", "temporary files removed"}
# Of a power cut only the journal is modelled: each of its files has what was synced last.
_AT = {
    "lock lost": {("lock taken", "after"), ("begin", "after"), ("ledger row", "after"), ("commit", "before")},
    "reply lost": {("commit", "after")},
    "power cut": {("journal append", "after"), ("commit", "before"), ("journal removed", "before")},
}


@dataclass(frozen=True)
class Point:
    """Which of the effects of that name in its phase, from 0, and which side of it."""

    phase: str
    name: str
    side: str
    nth: int


Points = dict[str, list[Point]]


def lay(worker: Worker, folder: Path, server: str | None = None, phases: Sequence[str] = tuple(PHASES)) -> Points:
    """Run the scenario once. `<folder>/<phase>` is what each phase begins with; returns the points of each.

    Args:
        server: URL of a Postgres server; without one the lakes are on SQLite.
    """
    points: Points = worker(_lay, folder, server, phases)[1]
    return points


def _lay(folder: Path, server: str | None, phases: Sequence[str]) -> Points:
    found: Points = {}
    life = folder / "life"
    life.mkdir(parents=True)
    if server:
        (life / "server").write_text(server)
        (life / "database").write_text(_database(server))
    for phase in phases:
        if phase == "recover":
            scenario.leave(_place(life), life)
        _copy(life, folder / phase)
        found[phase] = _observed(life, phase)
    return found


def _observed(at: Path, phase: str) -> list[Point]:
    points: list[Point] = []
    counts: Counter[tuple[str, str]] = Counter()
    guard = threading.Lock()

    def hook(name: str, side: str) -> None:
        with guard:
            points.append(Point(phase, name, side, counts[name, side]))
            counts[name, side] += 1

    with effects.observed(hook):
        PHASES[phase](_place(at), at)
    return points


def cases(points: Points, faults: Sequence[str] = FAULTS) -> Iterator[tuple[Point, str]]:
    """The faults that make sense at each point. (To die after an effect is to die before the next.)"""
    for number, point in ((n, point) for some in points.values() for n, point in enumerate(some)):
        for fault in faults:
            if fault in ("ENOSPC", "EIO") and point.name in _NO_WRITE:
                continue
            if fault in _AT and (point.name, point.side) not in _AT[fault]:
                continue
            if fault == "power cut" and point.phase != "refresh":  # the one phase that has a journal
                continue
            if fault == "die" and point.side == "after" and number + 1 < len(points[point.phase]):
                continue
            yield point, fault


def distinct(points: Points, faults: Sequence[str] = FAULTS) -> list[tuple[Point, str]]:
    """One case of each kind: the last point of that phase, name and side."""
    kinds = {(point.phase, point.name, point.side, fault): (point, fault) for point, fault in cases(points, faults)}
    return list(kinds.values())


def strike(
    worker: Worker,
    base: Path,
    point: Point,
    fault: str,
    at: Path,
    *,
    sabotage: str = "",
    examined: Collection[str] = (),
) -> Verdict:
    """One case, in a folder `at` that is gone afterwards; `examined` are the doctor's checks that are made then."""
    _copy(base / point.phase, at)
    try:
        code, _ = worker(_struck, at, point, fault, sabotage)
        verdict: Verdict = worker(_judge, at, point.phase, sabotage, examined)[1]
        verdict.message = (at / "message").read_text() if (at / "message").exists() else ""
        if code not in (0, DIED):
            verdict.wrong.append(f"the process ended with {code}")
        if verdict.message.startswith("traceback"):
            verdict.wrong.append(verdict.message)
        if not (at / "struck").exists():
            verdict.wrong.append("the point was never met")
        return verdict
    finally:
        _remove(at)


def _struck(at: Path, point: Point, fault: str, sabotage: str) -> None:
    synced = _power(at) if fault == "power cut" else {}
    _without(sabotage)
    guard, count, place = threading.Lock(), [0], _place(at)

    def hook(name: str, side: str) -> None:
        with guard:
            if (name, side) != (point.name, point.side) or (at / "struck").exists():
                return
            count[0] += 1
            if count[0] <= point.nth:
                return
            (at / "struck").touch()
        _fault(fault, name, place, synced)

    try:
        with effects.observed(hook):
            PHASES[point.phase](place, at)
    except AligneryError as error:
        (at / "message").write_text(str(error))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported
        (at / "message").write_text(f"traceback of {type(error).__name__}: {error}")


def _fault(fault: str, name: str, place: LakeLocation, synced: dict[str, int]) -> None:
    if fault == "power cut":
        for path in (place.home / journal.FOLDER).glob("*.jsonl"):
            os.truncate(path, synced.get(str(path), 0))
    if fault in ("die", "power cut"):
        os._exit(DIED)
    if fault == "reply lost":
        raise duckdb.IOException("the connection was closed before the reply came")
    if fault == "lock lost":
        _intrude(place)
        return
    code = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}[fault]
    if name == "lock taken" and place.on_postgres:
        import psycopg

        raise psycopg.OperationalError(os.strerror(code))
    raise duckdb.IOException(os.strerror(code)) if name in _SQL else OSError(code, os.strerror(code))


def _intrude(place: LakeLocation) -> None:
    """Take the lock from its holder, and commit."""
    if place.on_postgres:
        import psycopg

        with psycopg.connect(place.catalog or "", autocommit=True) as session:
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    else:
        (place.home / "lake.lock").unlink(missing_ok=True)
    with Lake.open(place, threads=1) as other:
        other.ledger.write(
            "runs", [{"id": "intruder", "state": "finished", "flow": "x"}], run_id="intruder", message="x"
        )


def _power(at: Path) -> dict[str, int]:
    """Path → bytes that outlive a power cut, kept up to date by each real call of fsync."""
    os.environ[journal.FSYNC] = "1"
    synced: dict[str, int] = {}
    sync = os.fsync

    def noting(file: int) -> None:
        sync(file)
        synced[os.readlink(f"/proc/self/fd/{file}")] = os.fstat(file).st_size

    os.fsync = noting  # type: ignore[assignment]
    return synced


def _judge(at: Path, phase: str, sabotage: str, examined: Collection[str]) -> Verdict:
    _without(sabotage)
    return judge(at, phase, _place(at), examined)


def _without(what: str) -> None:
    """Take a safeguard away, to see that the checks notice."""
    if what == "journal":
        journal.Journal.write = lambda self, batch: None  # type: ignore[method-assign]
    elif what == "fence":
        ledger._new_attempts = lambda cursor, made, since: made
    elif what == "fsync":
        os.fsync = lambda file: None  # type: ignore[assignment]
    elif what == "lock":
        lakes.exclusive = sessions.exclusive = lambda *given: nullcontext()  # type: ignore[assignment]


def _place(at: Path) -> LakeLocation:
    server, database = at / "server", at / "database"
    return LakeLocation(at / "lake", f"{server.read_text()}/{database.read_text()}" if server.exists() else None)


def _copy(source: Path, to: Path) -> None:
    """A folder with its lake, whose Postgres catalog is a database of its own."""
    shutil.copytree(source, to)
    if (to / "server").exists():
        database = _database((to / "server").read_text(), (source / "database").read_text())
        (to / "database").write_text(database)


def _remove(at: Path) -> None:
    if (at / "server").exists():
        _ask((at / "server").read_text(), f'DROP DATABASE "{(at / "database").read_text()}" WITH (FORCE)')
    shutil.rmtree(at)


def _database(server: str, template: str = "template1") -> str:
    name = f"crash_{uuid4().hex[:12]}"
    _ask(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    return name


def _ask(server: str, statement: Any) -> None:
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute(statement)
