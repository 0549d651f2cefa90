"""Models side by side: their figures, and two models' answers to the same held-out prompts."""

from __future__ import annotations

import json
from typing import Any

from alignery.untrusted import excerpt
from warehouse.browse.story import BOUND
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query.records import shortened
from warehouse.query.trained_on import models
from warehouse.schema.tables import Row, quoted


def model(lake: Lake, id: str) -> Row:
    """A trained model's row of `trained_on.models`, with its `metrics` and `config` (JSON).

    Raises:
        LakeUsageError: no model has that id.
    """
    for row in models(lake):
        if row["id"] == id:
            (details,) = lake.rows(f"SELECT metrics, config FROM models WHERE id = {quoted(id)} LIMIT 1")
            return row | details
    raise LakeUsageError(f"no model {excerpt(id, 80)!r} was trained here; see /models")


def figures(lake: Lake) -> list[Row]:
    """The newest figure of each model, suite and metric: model, suite, metric, value, count."""
    return lake.rows(
        "SELECT model, suite, metric, value, count FROM evals QUALIFY"
        " row_number() OVER (PARTITION BY model, suite, metric ORDER BY created_at DESC, id) = 1"
        " ORDER BY suite, metric, model"
    )


def answers(lake: Lake, a: str, b: str, after: str = "", limit: int = 20) -> dict[str, Any]:
    """Two models' answers to the same held-out prompts, those that differ first.

    Returns:
        rows: prompt_id, suite, prompt, a, b; next: what to give as `after` for the next ones, None at the end.
    """
    if "eval_answers" not in lake.schema.tables:
        return {"rows": [], "next": None}
    by = (
        "SELECT e.prompt_id, e.suite, e.prompt, e.text FROM eval_answers e JOIN attempts t ON t.id = e.attempt_id"
        " WHERE t.step = 'evaluate.answer' AND t.model = {} QUALIFY"
        " row_number() OVER (PARTITION BY e.prompt_id ORDER BY e.created_at DESC, e.id) = 1"
    )
    texts = ", ".join(
        shortened(column, BOUND) + f" AS {name}"
        for column, name in (("x.prompt", "prompt"), ("x.text", "a"), ("y.text", "b"))
    )
    rows = lake.rows(
        f"SELECT x.prompt_id, x.suite, x.text = y.text AS alike, {texts} FROM ({by.format(quoted(a))}) x"
        f" JOIN ({by.format(quoted(b))}) y ON y.prompt_id = x.prompt_id{_later(after)}"
        f" ORDER BY alike, x.prompt_id LIMIT {limit + 1}"
    )
    last = rows[limit - 1] if len(rows) > limit else None
    more = json.dumps([last["alike"], last["prompt_id"]]) if last else None
    return {"rows": [{k: v for k, v in row.items() if k != "alike"} for row in rows[:limit]], "next": more}


def _later(after: str) -> str:
    """The condition of the answers after the last ones of the page before."""
    if not after:
        return ""
    try:
        alike, id = json.loads(after)
    except (ValueError, TypeError) as error:
        raise LakeUsageError(
            f"after: got {excerpt(after, 60)!r}, expected what the page before gave as next; begin again"
        ) from error
    return f" WHERE (x.text = y.text, x.prompt_id) > ({'true' if alike else 'false'}, {quoted(str(id))})"
