"""Marks are written to the lake under its usual lock, in one commit; nothing is overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from alignery.hashing import digest
from alignery.untrusted import excerpt
from tasks.review.mark import Mark, MarkError, left_side
from tasks.step import Row
from warehouse import Lake
from warehouse.marks import queue as queued
from warehouse.marks.things import find
from warehouse.query.records import is_in

STEP = "marks.add"


def add(lake: Lake, mark: Mark) -> str:
    """Commit a mark; returns its id, by which `alignery trace` knows it.

    Raises:
        MarkError: a field of it is wrong, or nothing has the id that it is on.
        LakeFailure: the lake could not be written; nothing was then.
    """
    return add_all(lake, [mark])[0]


def add_all(lake: Lake, marks: Sequence[Mark]) -> list[str]:
    """Commit marks, all or none. One that is in the lake already (same person, same time) is not duplicated.

    Raises:
        MarkError, LakeFailure: as `add`.
    """
    now = datetime.now(UTC)
    checked = [mark.checked() for mark in marks]
    things = find(lake, {id for mark in checked for id in (mark.target_id, mark.other_id) if id})
    rows = [_row(mark, things, now) for mark in checked]
    run = digest("marks", now.isoformat(), os.getpid())
    if rows:
        lake.ledger.append({"marks": rows}, [], run_id=run, step=STEP, fingerprint=digest(STEP))
    return [row["id"] for row in rows]


def _row(mark: Mark, things: dict[str, Row], now: datetime) -> Row:
    parents = [mark.target_id, *([mark.other_id] if mark.other_id else [])]
    if lost := next((id for id in parents if id not in things), None):
        raise MarkError(f"mark on {excerpt(lost, 60)}: no record or attempt has that id; see `alignery show`")
    thing, at = things[mark.target_id], mark.at or now
    content = (mark.verdict, mark.score, mark.text, mark.note)
    return {
        "id": digest(mark.key, *content, at.astimezone(UTC).isoformat()),
        "parents": parents,
        "work_key": mark.key,
        "instruction_id": thing["instruction_id"],
        "target_id": mark.target_id,
        "other_id": mark.other_id,
        "target_table": thing["record_table"],
        "dimension": mark.dimension,
        "marked_by": mark.by,
        "verdict": mark.verdict,
        "score": mark.score,
        "text": mark.text,
        "note": mark.note,
        "shown_left": mark.shown_left,
        "origin": mark.origin,
        "created_at": at,
    }


def queue(
    lake: Lake,
    kind: str = "pairs",
    order: str = "uncertainty",
    count: int = 200,
    *,
    by: str,
    dimension: str | None = None,
    seed: int = 0,
) -> list[Row]:
    """What a person should mark next: see `warehouse.marks.queue.queue`. What they gave a verdict on is left out.

    Returns:
        Its rows, each with `left`: which of a pair, first or second, is to be shown on the left; of a row null.
    """
    found = queued.queue(lake, kind, order, count, by=by, dimension=dimension, seed=seed)
    return [
        row | {"left": left_side(row["target_id"], row["other_id"], by) if row["other_id"] else None} for row in found
    ]


def of(lake: Lake, ids: Sequence[str]) -> list[Row]:
    """Each person's current marks of these records, and of pairs with one of them: rows of the view `current_marks`."""
    return lake.rows(
        f"SELECT * FROM current_marks WHERE {is_in('target_id', ids)} OR {is_in('other_id', ids)}"
        " ORDER BY target_id, other_id, marked_by"
    )
