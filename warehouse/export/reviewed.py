"""The rows of a view that people hold right, with their edits in the place of what they edited.

A row is held right where one person at least marked it so (its record, or of a pair the chosen answer against the
other), and nobody marked it wrong, preferred the other, called the two equal or flagged it. An edited row is taken with
the edit, whatever was said of the original, unless somebody flagged it. An edit of an answer that the view does not
have is a row of its own in `sft`, `preferences` (chosen is the edit, rejected the original) or `qac`, on that side of
the split of prompts that the view is. `author` says who wrote the text that is learned; null where a model did.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from alignery.declarations import Shape

ABOUT = "only rows that a person marked right, with people's edits in place"
_ANSWER = "[{{'role': 'assistant', 'content': {0}}}]"
# What an edit changes, by the column that tells a view's form: column → its new SQL.
_CHANGED = {
    "messages": {"messages": f"messages[:-2] || {_ANSWER.format('r.edit')}"},
    "chosen": {"chosen": _ANSWER.format("r.edit"), "rejected": "chosen"},
    "correction": {"correction": "r.edit", "is_copy": "r.edit = answer"},
    "output": {"output": "r.edit"},
}
_QUESTION = "[{'role': 'user', 'content': question}]"
# The edits of answers that a view does not have, as its rows.
_ADDED = {
    "sft": f"{_QUESTION} || {_ANSWER.format('edited')} AS messages, 'edit' AS source",
    "preferences": f"{_QUESTION} AS prompt, {_ANSWER.format('edited')} AS chosen,"
    f" {_ANSWER.format('original')} AS rejected",
    "qac": "question, original AS answer, edited AS correction, false AS is_copy",
}
_ROWS = """(
    SELECT
        v.* {replaced}, r.editor AS author, list_distinct(coalesce(r.names, []) || {pair_names}) AS reviewed_by
    FROM {view} v
    LEFT JOIN (FROM reviews WHERE other_id IS NULL) r ON r.target_id = v.id
    {pairs}
    WHERE coalesce(r.flags, 0) + {flags} = 0 AND (r.edit IS NOT NULL
        OR (coalesce(r.rights, 0) + {wins} > 0 AND coalesce(r.wrongs, 0) + {losses} = 0))
    {added}
)"""
_PAIRS = """LEFT JOIN (FROM reviews WHERE other_id IS NOT NULL) p
        ON p.target_id = least(v.chosen_id, v.rejected_id) AND p.other_id = greatest(v.chosen_id, v.rejected_id)"""
_WON, _LOST = (
    f"coalesce(CASE WHEN v.chosen_id < v.rejected_id THEN p.{mine} ELSE p.{other} END, 0)"
    for mine, other in (("firsts", "seconds"), ("seconds", "firsts"))
)


def reviewed_rows(cursor: duckdb.DuckDBPyConnection, shape: Shape) -> str:
    """The SQL that stands in the place of the shape's view: its columns, and author and reviewed_by beside them."""
    columns = {name for name, *_ in cursor.execute(f"DESCRIBE {shape.view}").fetchall()}
    pair = {"chosen_id", "rejected_id"} <= columns
    return _ROWS.format(
        view=shape.view,
        replaced=_replaced(columns),
        pairs=_PAIRS if pair else "",
        pair_names="coalesce(p.names, [])" if pair else "[]",
        flags="coalesce(p.flags, 0)" if pair else "0",
        wins=_WON if pair else "0",
        losses=f"{_LOST} + coalesce(p.ties, 0)" if pair else "0",
        added=_added(shape.view),
    )


def _replaced(columns: Collection[str]) -> str:
    form = next((form for form in _CHANGED if form in columns), None)
    changes = [
        f"CASE WHEN r.edit IS NULL THEN {column} ELSE {text} END AS {column}"
        for column, text in (_CHANGED[form] if form else {}).items()
        if column in columns
    ]
    return f"REPLACE ({', '.join(changes)})" if changes else ""


def _added(view: str) -> str:
    if view not in _ADDED:
        return ""
    side = "e.target_table <> 'corrections'" if view == "qac" else f"e.side = '{view}'"
    return (
        f"UNION ALL BY NAME SELECT {_ADDED[view]}, e.id, e.instruction_id, e.topic, e.author, e.reviewed_by,"
        f" e.created_at, e.snapshot_id FROM edited e ANTI JOIN {view} v ON v.id = e.target_id WHERE {side}"
    )
