"""What is looked at after a case: the lake is opened, the phase run again, and the lake opened once more."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import scenario
from scenario import PHASES, state

from alignery.errors import AligneryError
from warehouse import Lake, LakeLocation
from warehouse.health import checks
from warehouse.health.doctor import doctor
from warehouse.recovery import recover

TABLES = ("attempts", "instructions", "responses", "corrections", "commits", "runs")
QUICK = ("upkeep", "journal")  # what else the doctor would find, `_look` counts, or no phase makes
_DOUBLED = " UNION ALL ".join(
    [f"SELECT count(*) - count(DISTINCT id) AS n FROM {table}" for table in TABLES[:-1]]
    + ["SELECT count(*) - count(DISTINCT work_key) FROM attempts WHERE final"]
)
_HELD = " UNION ALL ".join(
    ["SELECT snapshot_id, 1 AS attempts, 0 AS records FROM attempts"]
    + [f"SELECT snapshot_id, 0, 1 FROM {table}" for table in TABLES[1:4]]
    + ["SELECT snapshot_id, -attempts, -records FROM commits"]
)
_TORN = (
    f"SELECT count(*) AS n FROM (SELECT 1 FROM ({_HELD}) GROUP BY snapshot_id"
    " HAVING sum(attempts) <> 0 OR sum(records) <> 0)"
)


@dataclass
class Verdict:
    """What was found after a case. All but `message` must be 0 or empty."""

    lost: int = 0  # answers that were given and journalled, and cannot be read
    duplicated: int = 0  # rows that are there twice
    partial: int = 0  # commits that are there in part
    asked_again: int = 0  # answers asked for again beyond what was in flight
    problems: list[str] = field(default_factory=list)  # of the doctor
    wrong: list[str] = field(default_factory=list)  # every other invariant that does not hold, a traceback among them
    message: str = ""  # the message of the fault

    @property
    def sound(self) -> bool:
        return not (self.lost or self.duplicated or self.partial or self.asked_again or self.problems or self.wrong)


def judge(at: Path, phase: str, place: LakeLocation, examined: Collection[str]) -> Verdict:
    """What a case has left; `examined` are the checks of the doctor that are made."""
    found = Verdict()
    try:
        there = _look(place, at, found)
        # One answer at most was between the engine and the journal.
        found.lost = max(0, len(set(_answered(at)) - set(there["replies"])) - 1)
        PHASES[phase](place, at)
        before = _snapshot(place)
        after = _look(place, at, found)
        if _snapshot(place) != before:
            found.wrong.append("a second opening committed something")
        sent = Counter(_answered(at))
        found.asked_again = max(0, sum(sent.values()) - len(sent) - 1)
        found.wrong += _as_it_should(phase, after)
        if examined:
            for name in checks.CHECKS.keys() - examined:
                del checks.CHECKS[name]
            found.problems = [f"{one.check}: {one.what}" for one in doctor(place, deep=True) if one.state == "problem"]
    except AligneryError as error:
        found.wrong.append(f"afterwards: {error}")
    return found


def _look(place: LakeLocation, at: Path, found: Verdict) -> dict[str, Any]:
    """Open the lake, commit what is left, and count what is not whole."""
    with Lake.open(place, threads=1) as lake:
        recover(lake)
        found.duplicated += sum(row["n"] for row in lake.rows(_DOUBLED))
        found.partial += lake.rows(_TORN)[0]["n"]
        return state(lake, at)


def _answered(at: Path) -> list[str]:
    return (at / "answered").read_text().split("\n")[:-1] if (at / "answered").exists() else []


def _as_it_should(phase: str, after: dict[str, Any]) -> list[str]:
    """What differs from the life that nothing struck."""
    names = list(PHASES)
    due = names[: names.index(phase) + 1]
    wrong = [f"a draft is left: {path}" for path in after["drafts"]]
    if "refresh" in due:
        for table in ("instructions", "corrections"):
            if after[table] != scenario.ROWS:
                wrong.append(f"{table}: {after[table]} rows, expected {scenario.ROWS}")
    for name, flow in {"first": "tag", "v1": "publish"}.items():
        if flow in due and name not in after["tags"]:
            wrong.append(f"the tag {name} is gone")
    if "train" in due and not after["model"]:
        wrong.append("the model is gone")
    return wrong


def _snapshot(place: LakeLocation) -> int:
    """The newest, as the catalog itself has it."""
    query = "SELECT max(snapshot_id) FROM ducklake_snapshot"
    if place.on_postgres:
        import psycopg

        with psycopg.connect(place.catalog or "") as session:
            (found,) = session.execute(query).fetchone() or (0,)
    else:
        with closing(sqlite3.connect(place.file)) as db:
            (found,) = db.execute(query).fetchone()
    return int(found)
