"""The tables of evaluations: answers to held-out prompts, and a judge's verdicts on them."""

from __future__ import annotations

from alignery.declarations import Column, Table

VERDICTS = Table(
    "verdicts",
    "A judge's verdicts on two answers to a held-out prompt, one row for each order they were shown in",
    "verdict",
    (
        Column.text("prompt_id", "the held-out prompt"),
        Column.text("a_id", "one answer (eval_answers.id)"),
        Column.text("b_id", "the other (eval_answers.id)"),
        Column.text("dimension", "what is judged: helpful, harmless, …").shown,
        Column.text("first", "which of them was shown first: a or b").shown,
        Column.text("winner", "a, b or tie").shown,
    ),
    text=None,
)
ANSWERS = Table(
    "eval_answers",
    "Answers to held-out prompts, for evaluation; never exported",
    "held-out answer",
    (
        Column.text("prompt_id", "the held-out prompt"),
        Column.text("suite", "the suite it belongs to"),
        Column.text("prompt", "what was asked"),
        Column.text("text", "the answer"),
    ),
)
