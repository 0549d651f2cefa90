"""The base answer: what the model says unaided. Every other method criticises, revises or corrects it."""

from __future__ import annotations

from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import answer_fault
from tasks.methods.base import AnswerConfig
from tasks.stage import ANSWER, INSTRUCTION, SOURCE, Context, Stage
from tasks.step import Rejected, Row, Step


class Config(AnswerConfig):
    """The base answer's settings."""

    # T 1 and 1,500 tokens: Hugging Face's reproduction of Constitutional AI (llm-swarm)
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1500)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = respond(library, config)
    return [Stage("respond.answer", step, after=SOURCE, provides="answer", needs=INSTRUCTION, adds=ANSWER)]


def respond(library: Library, config: Config) -> Step:
    """Answers an instruction with nothing around it; the row gains response and target."""

    def read(reply: str, row: Row) -> list[Row]:
        if fault := answer_fault(reply, row["instruction"], refusals=config.reject_refusals):
            raise Rejected(fault)
        return [{"kind": "base", "text": reply.strip(), "thought": None, "rules": []}]

    return Step(
        name="respond.answer",
        table="responses",
        prompt=library.prompt("respond/answer"),
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        carry=carry,
        config=config.reading(),
    )


def carry(row: Row, record: Row) -> Row:
    """The row with its base answer, which is also the first text to criticise (the target)."""
    answer = {"response_id": record["id"], "response": record["text"]}
    return row | answer | {"target_id": record["id"], "target": record["text"]}
