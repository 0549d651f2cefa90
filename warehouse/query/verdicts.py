"""Which model won which prompt by a judge's verdicts, and what was stored of such comparisons, by the models' names."""

from __future__ import annotations

from pathlib import Path

from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row

# A prompt is won where both orders say so, and else a tie; a pair of which one order was not read is left out. Answers
# and verdicts that were read again from an attempt of before are other rows of the same id. A stack's corrected answers
# are rows of `eval_corrections`: stacks are not ranked.
_COMPARED = """
    WITH answered AS (
        SELECT DISTINCT e.id, t.model FROM eval_answers e JOIN attempts t ON t.id = e.attempt_id
    ), said AS (
        SELECT v.dimension, t.model AS judge, v.prompt_id, v.a_id, v.b_id,
            count(DISTINCT v.first) AS orders, min(v.winner) AS one, max(v.winner) AS other
        FROM verdicts v JOIN attempts t ON t.id = v.attempt_id GROUP BY ALL
    )
    SELECT s.dimension, s.judge, s.prompt_id, a.model AS a, b.model AS b,
        CASE WHEN one <> other OR one = 'tie' THEN 0.5::DOUBLE WHEN one = 'a' THEN 1 ELSE 0 END AS score
    FROM said s JOIN answered a ON a.id = s.a_id JOIN answered b ON b.id = s.b_id
    WHERE orders = 2 AND a.model <> b.model
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
