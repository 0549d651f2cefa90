"""BPO: an instruction is rewritten so that it is answered better, and a model learns the better answers.

Source: Black-Box Prompt Optimization (arXiv 2311.04155), sections 3 and 4. The same: the rewriter is any model, asked
for one rewrite; answers to rewritten prompts train a model on the original ones; rewrites train a rewriter.
Departures:
1. The rewriter is prompted; the paper's is trained on rewrites that GPT-4 made from good and bad answers.
2. Answers are not compared with those to the original prompt before they are learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignery import (
    INSTRUCTION_ID,
    Column,
    Context,
    Library,
    Method,
    MethodConfig,
    Rejected,
    Row,
    Sampling,
    Shape,
    Stage,
    Step,
    Table,
    recipes,
)


class Config(MethodConfig):
    """BPO's settings; "paper" is arXiv 2311.04155."""

    sampling: Sampling = Sampling(temperature=0.6, top_p=0.9, max_tokens=512)  # paper: the same for its rewriter
    answers: Sampling = Sampling(temperature=0.7, max_tokens=1024)  # our choice


REWRITES = Table(
    "rewrites",
    "Instructions rewritten so that they are answered better",
    "rewrite",
    (
        INSTRUCTION_ID,
        Column.text("text", "the rewritten instruction"),
        Column.flag("changed", "whether it differs from the instruction").shown,
    ),
)
ANSWERS = Table(
    "rewrite_answers",
    "Answers to rewritten instructions",
    "answer to a rewrite",
    (
        INSTRUCTION_ID,
        Column.text("rewrite_id", "the rewrite that is answered (rewrites.id)"),
        Column.text("text", "the answer"),
    ),
)


def rewrite(library: Library, config: Config) -> Step:
    def read(reply: str, row: Row) -> list[Row]:
        text = reply.strip()
        if len(text.split()) > 4 * len(row["instruction"].split()) + 40:
            raise Rejected("much longer than the instruction")
        return [{"text": text, "changed": text != row["instruction"]}]

    return Step(
        "bpo.rewrite",
        REWRITES.name,
        library.prompt("bpo/rewrite"),
        config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        next_row=lambda row, record: row | {"rewrite_id": record["id"], "rewrite": record["text"]},
    )


def answer(library: Library, config: Config) -> Step:
    return Step(
        "bpo.answer",
        ANSWERS.name,
        library.prompt("respond/answer"),
        config.answers,
        parents=("instruction_id", "rewrite_id"),
        variables=lambda row: {"instruction": row["rewrite"]},
        read=lambda reply, row: [{"text": reply.strip()}],
    )


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    asked: dict[str, Any] = {"needs": ("instruction_id", "instruction"), "adds": ("rewrite_id", "rewrite")}
    return [
        Stage("bpo.rewrite", rewrite(library, config), after="instruction", model="rewriter", **asked),
        Stage("bpo.answer", answer(library, config), after="bpo.rewrite", needs=("instruction_id", *asked["adds"])),
    ]


method = Method(
    "bpo",
    Config,
    stages,
    models=("generator", "rewriter"),
    paper="Black-Box Prompt Optimization (arXiv 2311.04155)",
    tables=(REWRITES, ANSWERS),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_messages("bpo", "an instruction and the answer to its rewrite, as messages"),
        Shape.of_messages("bpo_rewriter", "an instruction and its rewrite, as messages"),
    ),
    recipes={
        "bpo": recipes.sft("bpo", epochs=3, learning_rate=2e-5),
        "bpo_rewriter": recipes.sft("bpo_rewriter", answers=False, epochs=3, learning_rate=2e-5),
    },
)
