"""A running refresh, as another process sees it: what it has committed, and what is still in its journal.

The journal is read and never locked, so that no process takes a dead run's file for a live one's. The number of
requests in flight cannot be seen from outside; it is estimated as the rate of answers times their latency (Little's
law).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from warehouse.journal import FOLDER
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.query.time_travel import fetch_rows, read_transaction
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
        steps: step, calls, accepted, tokens_in, tokens_out, uncommitted (calls that are only in the journal), and,
        where the run was planned, calls_low, calls_estimated, calls_high; rates over the last seconds: answers_per_s,
        tokens_per_s, in_flight (about); newest_at: when the last answer came.
    """
    # The journal first: what is no longer in its files is then in the lake's snapshot, and what is in both is
    # recognised by its id.
    waiting = list(journalled(lake.place.home, run_id))
    with read_transaction(lake) as cursor:
        known = _known(cursor, run_id, waiting)
        committed = fetch_rows(cursor, _COMMITTED.format(run=quoted(run_id)))
        waiting = [call for call in waiting if call["id"] not in known]
        newest = max((row["newest_at"] for row in (*committed, *_newest(waiting))), default=None)
        late = fetch_rows(cursor, _LATE.format(run=quoted(run_id), until=_literal(newest))) if newest else []
        estimated = fetch_rows(cursor, _ESTIMATED.format(run=quoted(run_id)))
    steps: dict[str, Row] = {row["step"]: _NONE | row for row in committed}
    for call in waiting:
        count = steps.setdefault(call["step"], _NONE | {"step": call["step"]})
        count["calls"] += 1
        count["uncommitted"] += 1
        count["accepted"] += call["state"] == "accepted"
        for name in ("tokens_in", "tokens_out"):
            count[name] += call[name] or 0
    for row in estimated:
        if row["step"] in steps:
            steps[row["step"]] |= {f"calls_{name}": row[name] for name in ("low", "estimated", "high")}
    listed = [{name: value for name, value in step.items() if name != "newest_at"} for step in steps.values()]
    return {"steps": listed} | _rates(late, waiting, newest)


def journalled(home: Path, run_id: str) -> Iterator[Row]:
    """The calls that are in a run's journal: id, step, state, tokens_in, tokens_out, latency_s, created_at."""
    for path in sorted((home / FOLDER).glob(f"{run_id}.*.jsonl")) if run_id.isalnum() else ():
        try:
            with path.open("rb") as file:
                lines = file.read(_MOST).splitlines(keepends=True)
        except FileNotFoundError:
            continue  # committed in the meantime
        for line in lines:
            if line.endswith(b"\n"):  # the last one may be incomplete
                for call in orjson.loads(line)["attempts"]:
                    yield call | {"created_at": _moment(call["created_at"])}


_COMMITTED = (
    "SELECT step, count(*) AS calls, count(*) FILTER (state = 'accepted') AS accepted,"
    " coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in, coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out,"
    " max(created_at) AS newest_at FROM attempts WHERE run_id = {run} AND replayed_from IS NULL"
    " GROUP BY step ORDER BY min(created_at)"
)
_LATE = (
    "SELECT count(*) AS answers, coalesce(sum(tokens_out), 0)::BIGINT AS tokens, coalesce(sum(latency_s), 0) AS seconds"
    " FROM attempts WHERE run_id = {run} AND replayed_from IS NULL"
    f" AND created_at > {{until}} - to_seconds({WINDOW_S}) AND created_at <= {{until}}"
)
_ESTIMATED = (
    "SELECT step, calls_low AS low, calls AS estimated, calls_high AS high FROM plans WHERE config_hash ="
    " (SELECT config_hash FROM runs WHERE id = {run} LIMIT 1)"
    " QUALIFY row_number() OVER (PARTITION BY step ORDER BY created_at DESC) = 1"
)


def _known(cursor: duckdb.DuckDBPyConnection, run_id: str, waiting: Sequence[Row]) -> set[str]:
    """The ids of a run's calls in the lake that are as new as those in the journal."""
    if not waiting:
        return set()
    since = _literal(min(call["created_at"] for call in waiting))
    query = f"SELECT id FROM attempts WHERE run_id = {quoted(run_id)} AND created_at >= {since}"
    return {row["id"] for row in fetch_rows(cursor, query)}


def _newest(waiting: Sequence[Row]) -> list[Row]:
    return [{"newest_at": max(call["created_at"] for call in waiting)}] if waiting else []


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ {quoted(moment.isoformat())}"


def _rates(late: Sequence[Row], waiting: Sequence[Row], newest: datetime | None) -> Row:
    """The rates over the seconds before the newest answer: of what is committed, and of what is in the journal."""
    if newest is None:
        return {"answers_per_s": 0.0, "tokens_per_s": 0.0, "in_flight": 0.0, "newest_at": None}
    new = [call for call in waiting if (newest - call["created_at"]).total_seconds() < WINDOW_S]
    sums = {
        "answers_per_s": len(new) + sum(row["answers"] for row in late),
        "tokens_per_s": sum(call["tokens_out"] or 0 for call in new) + sum(row["tokens"] for row in late),
        "in_flight": sum(call["latency_s"] or 0.0 for call in new) + sum(row["seconds"] for row in late),
    }
    return {name: value / WINDOW_S for name, value in sums.items()} | {"newest_at": newest}


def _moment(timestamp: str | datetime) -> datetime:
    moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
