"""Which model won which prompt by a judge's verdicts, and the stored figures of comparisons, by model name."""

from __future__ import annotations

from pathlib import Path

from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row

# An answer parsed again from an earlier attempt is another row with the same id. A stack's corrected answers are
# rows of `eval_corrections`: stacks are not ranked.
_COMPARED = """
    WITH answered AS (
        SELECT DISTINCT e.id, t.model FROM eval_answers e JOIN attempts t ON t.id = e.attempt_id
    )
    SELECT j.dimension, j.judge, j.prompt_id, a.model AS a, b.model AS b,
        CASE j.winner WHEN 'a' THEN 1.0::DOUBLE WHEN 'b' THEN 0 ELSE 0.5 END AS score
    FROM judged_pairs j JOIN answered a ON a.id = j.a_id JOIN answered b ON b.id = j.b_id
    WHERE j.source = 'verdict' AND j.winner IS NOT NULL AND a.model <> b.model
    ORDER BY ALL"""


def comparisons(lake: Lake) -> list[Row]:
    """Every prompt that a judge compared two models on: dimension, judge, prompt_id, a, b, and score: 1 where a won, 0
    where b did, 0.5 for a tie."""
    named = _names(lake)
    return [
        row | {name: named.get(row[name], row[name][:12]) for name in ("judge", "a", "b")}
        for row in lake.rows(_COMPARED)
    ]


def figures(lake: Lake) -> list[Row]:
    """The figures of `evals`, the oldest first, with the models' names in the place of their identities."""
    named = _names(lake)
    return [row | {"model": named.get(row["model"], row["model"][:12])} for row in status.evals(lake)]


def _names(lake: Lake) -> dict[str, str]:
    """Identity → the last folder of a model that was trained here or evaluated."""
    found = [(row["model"], row["model_path"]) for row in status.evals(lake)]
    found += [(row["id"], row["path"]) for row in status.models(lake)]
    return {id: Path(path).name for id, path in found if path}
