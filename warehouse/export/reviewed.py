"""The rows of a view that people marked right, with their edits in place of the originals.

A row counts as right if at least one person marked it so (its record, or of a pair the chosen answer, alone or against
the other), and no one marked it wrong, preferred the other, called the two equal or flagged it. An edited row is taken
with the edit, whatever the marks of the original, unless it was flagged. An edit of an answer that the view does not
have is a new row in `sft`, `preferences` (chosen is the edit, rejected the original) or `qac`, on the view's side of
the split of prompts. `author` is the person who wrote the text that is learned; null for a model.

With a weight only rows that are marked wrong or flagged are left out, and the column `weight` is the number of times
that a row counts in training: `weight` for rows marked right, 1 for all others.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from alignery.declarations import Shape
from warehouse.errors import LakeUsageError

ABOUT = "only rows that a person marked right, with people's edits in place"
WEIGHED = "what people hold wrong is left out, their edits are in place, and what they hold right has a weight of {}"
WEIGHT = "weight"  # the column of a weighted export
_ANSWER = "[{{'role': 'assistant', 'content': {0}}}]"
_QUESTION = "[{'role': 'user', 'content': question}]"
# The edits of answers that a view does not have, as its rows.
_ADDED = {
    "sft": f"{_QUESTION} || {_ANSWER.format('edited')} AS messages, 'edit' AS source",
    "preferences": f"{_QUESTION} AS prompt, {_ANSWER.format('edited')} AS chosen,"
    f" {_ANSWER.format('original')} AS rejected",
    "qac": "question, original AS answer, edited AS correction, false AS is_copy",
}
_ROWS = """(
    SELECT v.* {replaced}, {editor} AS author, list_distinct({names}) AS reviewed_by{weight}
    FROM {source}{view} v
    LEFT JOIN (FROM {source}reviews WHERE other_id IS NULL) r ON r.target_id = v.id
    {pairs}
    WHERE {flags} = 0 AND {taken}
    {added}
)"""
# Of a pair that a user provided `id` is neither answer's, so the chosen one has marks of its own.
_PAIRS = """LEFT JOIN (FROM {source}reviews WHERE other_id IS NULL) c
        ON c.target_id = v.chosen_id AND c.target_id <> v.id
    LEFT JOIN (FROM {source}reviews WHERE other_id IS NOT NULL) p
        ON p.target_id = least(v.chosen_id, v.rejected_id) AND p.other_id = greatest(v.chosen_id, v.rejected_id)"""
_WON, _LOST = (
    f"coalesce(CASE WHEN v.chosen_id < v.rejected_id THEN p.{mine} ELSE p.{other} END, 0)"
    for mine, other in (("firsts", "seconds"), ("seconds", "firsts"))
)


def reviewed_rows(cursor: duckdb.DuckDBPyConnection, shape: Shape, weight: int | None = None, source: str = "") -> str:
    """The SQL that replaces the shape's view: its columns, and author and reviewed_by as well.

    Args:
        weight: of rows that are held right; then the others are taken too, and the column `weight` is there.
        source: the schema that the views are asked of, with its dot; the search path's own if left out.

    Raises:
        LakeUsageError: a weight for a view whose rows hold several answers each.
    """
    columns = {name for name, *_ in cursor.execute(f"DESCRIBE {source}{shape.view}").fetchall()}
    pair = {"chosen_id", "rejected_id"} <= columns
    edit = "coalesce(r.edit, c.edit)" if pair else "r.edit"
    changed = _changed(columns, edit)
    if weight is not None and not changed:
        raise LakeUsageError(
            f"publish.marks.weight: got {weight}, but a row of {shape.name} is no single answer or pair that people "
            "mark; leave that view out, or drop the weight"
        )
    rights, wrongs = _sum("rights", pair, _WON), _sum("wrongs", pair, _LOST, "coalesce(p.ties, 0)")
    is_right = f"({edit} IS NOT NULL OR ({rights} > 0 AND {wrongs} = 0))"
    return _ROWS.format(
        source=source,
        view=shape.view,
        replaced=_replaced(columns, changed, edit),
        editor="CASE WHEN r.edit IS NULL THEN c.editor ELSE r.editor END" if pair else "r.editor",
        names=" || ".join(f"coalesce({of}.names, [])" for of in ("r", *("cp" if pair else ""))),
        weight="" if weight is None else f", CASE WHEN {is_right} THEN {weight} ELSE 1 END::DOUBLE AS {WEIGHT}",
        pairs=_PAIRS.format(source=source) if pair else "",
        flags=_sum("flags", pair, "coalesce(p.flags, 0)"),
        taken=is_right if weight is None else f"({edit} IS NOT NULL OR {wrongs} = 0)",
        added=_added(shape.view, pair, weight, source),
    )


def _sum(column: str, pair: bool, *of_pair: str) -> str:
    """How many people gave that verdict on a row; for a pair also on its chosen answer, and against the other."""
    counts = [f"coalesce({of}.{column}, 0)" for of in ("r", *("c" if pair else ""))]
    return f"({' + '.join([*counts, *(of_pair if pair else ())])})"


def _changed(columns: Collection[str], edit: str) -> dict[str, str]:
    """What an edit changes, by the column that tells the view's form: column → its new SQL."""
    answer = _ANSWER.format(edit)
    forms = {
        "messages": {"messages": f"messages[:-2] || {answer}"},
        "chosen": {"chosen": answer, "rejected": "chosen"},
        "correction": {"correction": edit, "is_copy": f"{edit} = answer"},
        "output": {"output": edit},
    }
    return next((changes for form, changes in forms.items() if form in columns), {})


def _replaced(columns: Collection[str], changed: dict[str, str], edit: str) -> str:
    changes = [
        f"CASE WHEN {edit} IS NULL THEN {column} ELSE {text} END AS {column}"
        for column, text in changed.items()
        if column in columns
    ]
    return f"REPLACE ({', '.join(changes)})" if changes else ""


def _added(view: str, pair: bool, weight: int | None, source: str) -> str:
    if view not in _ADDED:
        return ""
    side = "e.target_table <> 'corrections'" if view == "qac" else f"e.side = '{view}'"
    there = f"(SELECT id FROM {source}{view}" + (f" UNION ALL SELECT chosen_id FROM {source}{view})" if pair else ")")
    return (
        f"UNION ALL BY NAME SELECT {_ADDED[view]}, e.id, e.instruction_id, e.topic, e.author, e.reviewed_by,"
        f" e.created_at, e.snapshot_id{'' if weight is None else f', {weight}::DOUBLE AS {WEIGHT}'}"
        f" FROM {source}edited e ANTI JOIN {there} v ON v.id = e.target_id WHERE {side}"
    )
