"""A refresh that is running, as another process sees it: what it has committed, and what its journal holds beside.

The journal is read and never locked, so that nobody takes a dead run's file for a live one's. What is in flight cannot
be seen from outside; it is the rate of answers times their latency (Little's law).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from warehouse.journal import FOLDER
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row, quoted

WINDOW_S = 15  # of the rates; our choice
_MOST = 32 << 20  # bytes of one journal file that are read
_NONE = {"calls": 0, "accepted": 0, "tokens_in": 0, "tokens_out": 0, "uncommitted": 0}


def running(lake: Lake) -> list[Row]:
    """The refreshes that were started and have not ended, the newest first."""
    return sorted(status.unfinished(lake, "refresh"), key=lambda row: row["created_at"], reverse=True)


def progress(lake: Lake, run_id: str) -> dict[str, Any]:
    """How far a run is.

    Returns:
        steps: step, calls, accepted, tokens_in, tokens_out, uncommitted (calls that are in the journal alone), and,
        where the run was planned, calls_low, calls_foreseen, calls_high; rates over the last seconds: answers_per_s,
        tokens_per_s, in_flight (about); newest_at: when the last answer came.
    """
    steps: dict[str, Row] = {}
    recent = lake.rows(_RECENT.format(run=quoted(run_id)))
    for call in _committed(lake, run_id):
        steps[call.pop("step")] = _NONE | call
    known = {row["id"] for row in recent}
    for call in journalled(lake.place.home, run_id):
        if call["id"] in known:
            continue
        count = steps.setdefault(call["step"], dict(_NONE))
        count["calls"] += 1
        count["uncommitted"] += 1
        count["accepted"] += call["state"] == "accepted"
        for name in ("tokens_in", "tokens_out"):
            count[name] += call[name] or 0
        recent.append(call)
    for row in _foreseen(lake, run_id):
        if row["step"] in steps:
            steps[row["step"]] |= {f"calls_{name}": row[name] for name in ("low", "foreseen", "high")}
    return {"steps": [{"step": step} | count for step, count in steps.items()]} | _rates(recent)


def journalled(home: Path, run_id: str) -> Iterator[Row]:
    """The calls that are in a run's journal: id, step, state, tokens_in, tokens_out, latency_s, created_at."""
    for path in sorted((home / FOLDER).glob(f"{run_id}.*.jsonl")) if run_id.isalnum() else ():
        try:
            with path.open("rb") as file:
                lines = file.read(_MOST).splitlines(keepends=True)
        except FileNotFoundError:
            continue  # it has landed in the meantime
        for line in lines:
            if line.endswith(b"\n"):  # the last one may be on its way
                for call in orjson.loads(line)["attempts"]:
                    yield call | {"created_at": _moment(call["created_at"])}


def _committed(lake: Lake, run_id: str) -> list[Row]:
    return lake.rows(
        "SELECT step, count(*) AS calls, count(*) FILTER (state = 'accepted') AS accepted,"
        " coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in, coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out"
        f" FROM attempts WHERE run_id = {quoted(run_id)} AND replayed_from IS NULL"
        " GROUP BY step ORDER BY min(created_at)"
    )


# A commit may land between two looks: what it holds is then known by its ids.
_RECENT = (
    "SELECT id, step, state, tokens_out, latency_s, created_at FROM attempts WHERE run_id = {run}"
    " AND replayed_from IS NULL ORDER BY created_at DESC LIMIT 5000"
)


def _foreseen(lake: Lake, run_id: str) -> list[Row]:
    return lake.rows(
        "SELECT step, calls_low AS low, calls AS foreseen, calls_high AS high FROM plans WHERE config_hash ="
        f" (SELECT config_hash FROM runs WHERE id = {quoted(run_id)} LIMIT 1)"
        " QUALIFY row_number() OVER (PARTITION BY step ORDER BY created_at DESC) = 1"
    )


def _rates(calls: list[Row]) -> Row:
    if not calls:
        return {"answers_per_s": 0.0, "tokens_per_s": 0.0, "in_flight": 0.0, "newest_at": None}
    newest = max(call["created_at"] for call in calls)
    until = min(newest, datetime.now(UTC))
    late = [call for call in calls if 0 <= (until - call["created_at"]).total_seconds() < WINDOW_S]
    return {
        "answers_per_s": len(late) / WINDOW_S,
        "tokens_per_s": sum(call["tokens_out"] or 0 for call in late) / WINDOW_S,
        "in_flight": sum(call["latency_s"] or 0.0 for call in late) / WINDOW_S,
        "newest_at": newest,
    }


def _moment(said: str | datetime) -> datetime:
    moment = datetime.fromisoformat(said) if isinstance(said, str) else said
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
