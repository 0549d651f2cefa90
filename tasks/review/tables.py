"""The table of people's marks, and the views over it."""

from __future__ import annotations

from pathlib import Path

from alignery.declarations import Column, Table

VIEWS = Path(__file__).parent / "views"
MARKS = Table(
    "marks",
    "People's marks on records, pairs and attempts: a verdict, a score, an edited text, a note; one row a mark",
    "mark",
    (
        Column.text("instruction_id", "the instruction that what is marked belongs to; null where to none").optional,
        Column.text("target_id", "what is marked; of a pair the one whose id comes first"),
        Column.text("other_id", "the other of a pair; null where one row is marked").optional,
        Column.text("target_table", "the table of target_id"),
        Column.text("dimension", "what is judged (helpful, harmless, …); null for the whole").optional,
        Column.text("marked_by", "the name that the person gave").shown,
        Column.text(
            "verdict", "right, wrong or flag; of a pair first, second, tie or flag; clear takes back all before it"
        ).optional.shown,
        Column("score", "real", "the person's score", "0 to 5", required=False, fact=True),
        Column.text("text", "the text as the person would have it: a correction of what is marked").optional,
        Column.text("note", "the person's own words about it").optional.shown,
        Column.text("shown_left", "which of a pair was shown on the left: first or second").optional,
        Column.text("origin", "where it was made: cli, page, label-studio, argilla, …"),
    ),
)
