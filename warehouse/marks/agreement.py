"""People's verdicts, and judges' on the same pairs, for the figures of their agreement."""

from __future__ import annotations

from warehouse.lake import Lake
from warehouse.schema.tables import Row


def verdicts(lake: Lake) -> list[Row]:
    """Each person's verdict on each thing, flags included: target_id, other_id, dimension, marked_by, verdict,
    shown_left and target_table, in the order of the ids."""
    return lake.rows(
        "SELECT target_id, other_id, target_table, dimension, marked_by, verdict, shown_left FROM current_marks"
        " WHERE verdict IS NOT NULL ORDER BY target_id, other_id, dimension, marked_by"
    )


def judged(lake: Lake) -> list[Row]:
    """A judge's outcomes on pairs that people gave a verdict on: source, a_id, b_id, dimension, judge, p and winner."""
    return lake.rows(
        "SELECT j.source, j.a_id, j.b_id, j.dimension, j.judge, j.p, j.winner FROM judged_pairs j"
        " SEMI JOIN (SELECT target_id, other_id FROM current_marks WHERE verdict IN ('first', 'second', 'tie')) m"
        " ON m.target_id = least(j.a_id, j.b_id) AND m.other_id = greatest(j.a_id, j.b_id)"
        " WHERE j.winner IS NOT NULL ORDER BY ALL"
    )
