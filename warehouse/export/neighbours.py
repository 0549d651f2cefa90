"""How many test prompts have a near-duplicate in training, which limits what a score on the test split is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from warehouse.lake import Lake
from warehouse.schema.tables import Row

# (test prompts, training prompts) → how alike each test prompt and its nearest training prompt are, 0 to 1.
Nearest = Callable[[Sequence[str], Iterable[str]], Sequence[float]]
NEAR = 0.7  # Self-Instruct's threshold of a near-duplicate
_TESTED = 200  # test prompts at most, drawn by hash; our choice
_BATCH = 8192


def near_share(pinned: Lake, side: str, nearest: Nearest | None) -> Row | None:
    """Of the accepted instructions in the test split, how many were compared, and how many are near.

    Args:
        pinned: a lake open at the export's snapshot.
        side: the SQL of whether an instruction's `text` is in the test split.
        nearest: None if nothing is compared.

    Returns:
        {tested, near}; None where there is nothing to compare.
    """
    if nearest is None:
        return None
    tested = pinned.rows(
        f"SELECT DISTINCT text, md5_number_lower(text) AS place FROM instructions WHERE state = 'accepted' AND {side}"
        f" ORDER BY place LIMIT {_TESTED}"
    )
    if not tested:
        return None
    found = nearest([row["text"] for row in tested], _training(pinned, side))
    return {"tested": len(tested), "near": sum(one > NEAR for one in found)}


def _training(pinned: Lake, side: str) -> Iterator[str]:
    with pinned.query(f"SELECT text FROM instructions WHERE state = 'accepted' AND NOT {side}") as cursor:
        for batch in cursor.to_arrow_reader(_BATCH):
            yield from batch.column(0).to_pylist()
