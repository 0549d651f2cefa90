"""What was turned down in a lake, counted over all runs at once."""

from __future__ import annotations

from warehouse.lake import Lake
from warehouse.schema.tables import Row


def reasons(lake: Lake) -> list[Row]:
    """run_id, step, state, reason, times (calls or candidates) and lost (those that settled their work).

    Reasons that differ in their numbers alone are one, in which '…' stands for the numbers.
    """
    return lake.rows(
        "SELECT run_id, step, state, if(min(reason) = max(reason), min(reason), kind) AS reason, count(*) AS times,"
        " count(*) FILTER (final) AS lost FROM (SELECT run_id, step, state, reason, final,"
        " regexp_replace(reason, '[0-9]+', '…', 'g') AS kind FROM rejects)"
        " GROUP BY run_id, step, state, kind ORDER BY times DESC, step, reason"
    )
