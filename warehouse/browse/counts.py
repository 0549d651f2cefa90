"""Each step's outcomes by run, counted in one query over attempts and candidates.

A run's counts change only when it commits, so `commits` shows which of them are still valid.
"""

from __future__ import annotations

from collections.abc import Collection

from warehouse.lake import Lake
from warehouse.query.records import is_in
from warehouse.schema.tables import Row

# Calls, candidates of a gate, and the verdicts of `compare`'s judge, which make no rows of `rejects`.
_JUDGED = """
    SELECT run_id, step, state, reason, final, 1 AS calls, tokens_in, tokens_out, latency_s, created_at
    FROM attempts
    UNION ALL BY NAME
    SELECT run_id, step, state, reason, true AS final, 0 AS calls, created_at FROM candidates
    UNION ALL BY NAME
    SELECT run_id, step, state, NULL::VARCHAR AS reason, true AS final, 0 AS calls, created_at FROM agreements"""


def versions(lake: Lake) -> dict[str, int]:
    """Run → the snapshot of its last commit, of those that committed more than a person's mark."""
    found = lake.rows(
        "SELECT run_id, max(snapshot_id) AS at FROM commits WHERE step NOT LIKE 'marks.%' GROUP BY run_id"
        " ORDER BY min(snapshot_id)"
    )
    return {row["run_id"]: row["at"] for row in found}


def judged(lake: Lake, runs: Collection[str]) -> list[Row]:
    """The counts of these runs by step, state and reason, steps in the order in which they began.

    Returns:
        run_id, step, state, reason (null of what was accepted), times (calls or candidates), lost (those that were
        final), calls, tokens_in, tokens_out, seconds (of calls, which overlap) and started_at. Reasons that differ
        only in their numbers are merged, with '…' in place of the numbers.
    """
    # First by the reasons as they are: few rows are then left whose numbers must be looked for.
    by_reason = (
        "SELECT run_id, step, state, reason, count(*) AS times, count(*) FILTER (final) AS lost, sum(calls) AS calls,"
        " sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out, sum(latency_s) AS seconds,"
        f" min(created_at) AS started_at FROM ({_JUDGED}) WHERE {is_in('run_id', runs)}"
        " GROUP BY run_id, step, state, reason"
    )
    return lake.rows(
        "SELECT run_id, step, state, if(min(reason) = max(reason), min(reason), kind) AS reason,"
        " sum(times)::BIGINT AS times, sum(lost)::BIGINT AS lost, sum(calls)::BIGINT AS calls,"
        " coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in, coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out,"
        " coalesce(sum(seconds), 0) AS seconds, min(started_at) AS started_at"
        f" FROM (SELECT *, regexp_replace(reason, '[0-9]+', '…', 'g') AS kind FROM ({by_reason}))"
        " GROUP BY run_id, step, state, kind ORDER BY min(min(started_at)) OVER (PARTITION BY run_id, step), step,"
        " times DESC, reason"
    )
