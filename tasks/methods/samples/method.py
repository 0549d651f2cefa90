"""Samples: several answers to each instruction, from one or several models, to be scored and ranked.

Sources: UltraFeedback (arXiv 2310.01377) and Tülu 3 (2411.15124), four answers a prompt, from several models; RAFT
(2304.06767), K answers of one model, of which the best is learnt. The same: K answers are drawn at T 1 and all are kept
with the model that wrote them. Departures:
1. Every model answers K times. The sources draw four of a pool of models and ask each once: name four, with k 1.
2. RRHF (2304.05302) draws by diverse beams; here all are independent draws with seeds of their own.
3. An answer that is empty, an echo or cut short is a rejected attempt, and no sample with a low score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import Field, field_validator

from alignery.declarations import INSTRUCTION_ID, Column, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.base import AnswerConfig
from tasks.methods.respond import method as respond
from tasks.stage import GENERATOR, INSTRUCTION, SOURCE, Context, Method, Stage
from tasks.step import Step

SAMPLE = ("sample_id", "sample")


class Config(AnswerConfig):
    """What is drawn."""

    k: int = Field(4, ge=1, le=32)  # of each model; UltraFeedback 4 in all; RAFT 8, 16, 32
    models: tuple[str, ...] = Field((GENERATOR,), min_length=1)  # aliases of `models`
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1500)  # T 1: RAFT (or .85); 1,500: as the base answer

    @field_validator("models")
    @classmethod
    def _once_each(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [alias for alias in models if models.count(alias) > 1]:
            raise ValueError(f"got {twice[0]} twice; name each alias once, and draw more of it by k")
        return models


SAMPLES = Table(
    "samples",
    "Answers of which one instruction has several, drawn to be scored",
    "sample",
    (
        INSTRUCTION_ID,
        Column.integer("number", "its number among those of the same model", "from 1").shown,
        Column.text("model", "alias of the model that wrote it; the attempt has its identity").shown,
        Column.text("text", "the answer"),
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """Each sample has a stage of its own; what scores them comes after the port `sample`."""
    return [
        Stage(
            f"samples.sample.{alias}.{number}",
            sample(library, config, alias, number),
            after=SOURCE,
            model=alias,
            provides="sample",
            needs=INSTRUCTION,
            adds=SAMPLE,
        )
        for alias in config.models
        for number in range(1, config.k + 1)
    ]


def sample(library: Library, config: Config, alias: str, number: int) -> Step:
    """Draws one of the answers; the row gains sample_id and sample."""
    plain = respond.respond(library, respond.Config(**config.model_dump(include={*respond.Config.model_fields})))
    return replace(
        plain,
        name="samples.sample",
        table="samples",
        read=lambda reply, row: [
            {"number": number, "model": alias, "text": record["text"]} for record in plain.read(reply, row)
        ],
        key_fields=lambda row: {"model": alias, "sample": number},
        sample_key=lambda row: f"{alias}.{number}",
        next_row=lambda row, record: row | {"sample_id": record["id"], "sample": record["text"]},
    )


def named_models(config: Config) -> Iterable[str]:
    return config.models


method = Method(
    "samples",
    Config,
    stages,
    named_models=named_models,
    paper="UltraFeedback (arXiv 2310.01377), RAFT (2304.06767)",
    tables=(SAMPLES,),
)
