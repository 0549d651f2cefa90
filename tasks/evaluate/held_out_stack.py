"""A stack's own steps on held-out prompts and on the answers to them, with tables of their own.

Rows made from held-out prompts are never exported, so they are in no table that exports read.
"""

from __future__ import annotations

from dataclasses import replace

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Table
from tasks.methods.aligner.method import CORRECTIONS
from tasks.methods.prompt_optimization import method as prompt_optimization
from tasks.methods.squad.method import INSPECTIONS
from tasks.stage import Stage
from tasks.step import Row

_COLUMNS = {
    INSTRUCTION_ID: Column.text("prompt_id", "the held-out prompt").shown,
    RESPONSE_ID: Column.text("response_id", "the generator's own answer (eval_answers.id)"),
}


def _of_held_out(table: Table) -> Table:
    return replace(
        table,
        name=f"eval_{table.name}",
        comment=f"{table.comment}, to held-out prompts; never exported",
        label=f"held-out {table.label}",
        columns=[_COLUMNS.get(column, column) for column in table.columns],
    )


TABLES = (_of_held_out(CORRECTIONS), _of_held_out(INSPECTIONS))  # of what is made of answers
REWRITTEN = _of_held_out(prompt_optimization.REWRITTEN)


def asked(stage: Stage) -> Stage:
    """The stage as it is asked of rows that `start` makes: `evaluate.correct`, `evaluate.rewrite`."""
    step = stage.step
    name = f"evaluate.{step.name.rpartition('.')[2]}"
    parents = tuple("prompt_id" if name == INSTRUCTION_ID.name else name for name in step.parents)
    return replace(stage, step=replace(step, name=name, table=f"eval_{step.table}", parents=parents))


def prompt_row(prompt: Row) -> Row:
    """The row of a held-out prompt {prompt_id, prompt} in the columns that a rewriter reads."""
    id = prompt["prompt_id"]
    return {"prompt_id": id, "instruction_id": id, "instruction": prompt["prompt"]}


def start(answer: Row) -> Row:
    """The row of an answer {id, prompt_id, prompt, text} as the stages of a stack read it."""
    asked = {"prompt_id": answer["prompt_id"], "instruction_id": answer["prompt_id"], "instruction": answer["prompt"]}
    first = {"response_id": answer["id"], "response": answer["text"]}
    return asked | first | {"target_id": answer["id"], "target": answer["text"]}
