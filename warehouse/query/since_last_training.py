"""What a tag adds to the last one that trained a model: the figures on which a retraining is decided."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row


@dataclass(frozen=True)
class TagDelta:
    """What was added between two tags, after the older one's snapshot.

    Args:
        tag: the newer one.
        since: the older one, the last before it that trained a model; None where none did.
        accepted: new rows of `sft` and `preferences`.
        finished, refused: finished work of all steps, and how much of it was not accepted.
        candidates, duplicates: instructions written, and how many of them were near-duplicates.
    """

    tag: str
    since: str | None
    accepted: int
    finished: int
    refused: int
    candidates: int
    duplicates: int

    @property
    def reject_rate(self) -> float:
        """Share of the finished work that was not accepted, 0 to 1."""
        return self.refused / self.finished if self.finished else 0.0

    @property
    def duplicate_rate(self) -> float:
        """Share of the candidates that were near-duplicates, 0 to 1."""
        return self.duplicates / self.candidates if self.candidates else 0.0


def tag_delta(lake: Lake, tag: str | None = None) -> TagDelta:
    """What a published tag added; the newest one when left out.

    Raises:
        LakeUsageError: no such tag is published.
    """
    published = [row for row in status.tags(lake) if row["export_path"]]
    named = [row for row in published if tag in (None, row["name"])]
    if not named:
        known = ", ".join(row["name"] for row in published) or "(none)"
        raise LakeUsageError(f"got the tag {tag or ''!r}, expected a published one: {known}")
    until = named[-1]
    since = _trained(lake, published, until)
    after = since["snapshot_id"] if since else -1
    with Lake.open(lake.place, schema=lake.schema, snapshot=until["snapshot_id"]) as then:
        (counts,) = then.rows(_COUNTS, [after] * 4)
    return TagDelta(until["name"], since["name"] if since else None, **counts)


def _trained(lake: Lake, published: list[Row], until: Row) -> Row | None:
    """The newest tag before this one that trained a model."""
    trained = {row["tag"] for row in status.models(lake)}
    older = [row for row in published if row["name"] in trained and row["snapshot_id"] < until["snapshot_id"]]
    return max(older, key=lambda row: row["snapshot_id"], default=None)


# Answers to held-out prompts are not part of the data.
_COUNTS = """
SELECT
    ((SELECT count(*) FROM sft WHERE snapshot_id > ?) + (SELECT count(*) FROM preferences WHERE snapshot_id > ?))
        AS accepted,
    work.finished, work.refused, written.candidates, written.duplicates
FROM (
    SELECT count(*) AS finished, count(*) FILTER (state <> 'accepted') AS refused
    FROM attempts WHERE final AND NOT starts_with(step, 'evaluate.') AND snapshot_id > ?
) work, (
    SELECT count(*) AS candidates, count(*) FILTER (starts_with(reason, 'near-duplicate')) AS duplicates
    FROM instructions WHERE origin = 'self_instruct' AND snapshot_id > ?
) written
"""
