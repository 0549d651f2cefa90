"""Aligner: a model corrects an answer of any model.

Source: Aligner (arXiv 2402.02416), sections 2 and 3. The same: one request of question and answer, the reply is
the corrected answer; answers that were right are kept and come back as copies (the training's identity rows).
Departures:
1. The record names its template by hash, since a trained corrector works only with the prompt it was trained with.
2. A correction that only repeats the question is rejected; so is one that declines, if the preset says so.
3. Any engine may correct; the paper's correctors of training data are GPT-4, Llama-2-70B-chat and people.
4. Answers of further models (`upstreams`) are corrected too; each record names the model's alias.
5. The identity set (Q-A-A) is a view, `qac_warmup`: a fifth of the rows, chosen by a hash of question and answer.
6. No frequency penalty: engines add it up by the tokens that a reply has, and 1.2 for each forbids the copy that the
   request asks for where nothing is wrong.
7. A correction that only says that nothing is wrong is a copy; one that talks about the answer, or goes on with another
   question, is requested again. What is around it (labels, remarks, the question said again) is taken off.
8. Stacked (`stack`), its correction is the answer that all later stages get, and that the gate judges. A correction
   that is lost leaves the answer as it was; the paper has none. Several may follow one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import field_validator

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Shape, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.base import AnswerConfig, replacement
from tasks.methods.respond import method as respond
from tasks.stage import ANSWER, INSTRUCTION, SOURCE, Context, Method, Stage, kept
from tasks.step import Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import aligner as train_aligner

ALIAS = "aligner"
CORRECT = "aligner.correct"


class Config(AnswerConfig):
    """Aligner's settings; "paper" is arXiv 2402.02416."""

    # paper: T 0.3, top_p 0.95, top_k 10, frequency 1.2 (see departure 6), 2,048 tokens
    sampling: Sampling = Sampling(temperature=0.3, top_p=0.95, top_k=10, max_tokens=2048)
    # paper: eight models of four families; ours only the generator
    upstreams: tuple[str, ...] = ()  # aliases of `models`
    # The Aligners whose corrections become the answer, one after another; each as soon as it has a model of its own.
    # paper: one, on any upstream model; ours none, so that corrections are only data
    stack: tuple[str, ...] = ()  # aliases of `models`, "aligner" first

    @field_validator("upstreams")
    @classmethod
    def _once_each(cls, upstreams: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(upstreams)) < len(upstreams) or "generator" in upstreams:
            raise ValueError("name each further model once; the generator's answers are corrected anyway")
        return upstreams

    @field_validator("stack")
    @classmethod
    def _begins_with_the_aligner(cls, stack: tuple[str, ...]) -> tuple[str, ...]:
        if stack and (stack[0] != ALIAS or len(set(stack)) < len(stack) or "generator" in stack):
            raise ValueError(f"got {list(stack)}; begin with {ALIAS!r}, and name each further Aligner's alias once")
        return stack


CORRECTIONS = Table(
    "corrections",
    "Corrections of an answer by an Aligner",
    "correction",
    (
        INSTRUCTION_ID,
        RESPONSE_ID,
        Column.text("template_id", "the correction template"),
        Column.text("text", "the corrected answer"),
        Column.flag("is_copy", "whether it repeats the answer").shown,
        Column.text("target_id", "what a further Aligner corrects: the answer or a correction; else null").optional,
        Column.text("aligner", "alias of the further Aligner, or the squad's member, that wrote it").optional.shown,
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    corrected = Stage(
        CORRECT,
        correct(library, config),
        after="respond.answer",
        model=ALIAS,
        needs=(*INSTRUCTION, "response_id", "response"),
        adds=("correction_id", "correction"),
    )
    found = stack(library, config, [alias for alias in config.stack if alias in context.bound])
    if CORRECT not in (stage.name for stage in found):
        found.append(corrected)
    for alias in config.upstreams:
        name, step = f"aligner.upstream.{alias}", upstream(library, context.configs["respond"], alias)
        found.append(Stage(name, step, after=SOURCE, model=alias, needs=INSTRUCTION, adds=ANSWER))
        found.append(replace(corrected, name=f"aligner.correct.{alias}", step=correct(library, config), after=name))
    return found


def stack(library: Library, config: Config, aliases: Sequence[str]) -> list[Stage]:
    """Aligners one after another: each one's correction becomes the answer."""
    found: list[Stage] = []
    for alias in aliases:
        step = correct(library, config) if alias == ALIAS else correct_further(library, config, alias)
        link = Stage(
            CORRECT if alias == ALIAS else f"{CORRECT}.{alias}",
            replace(step, next_row=next_target),
            after=found[-1].name if found else "respond.answer",
            model=alias,
            provides="answer" if alias == aliases[-1] else None,
            skippable=True,
            then=kept,
            needs=(*INSTRUCTION, *ANSWER),
            in_stack=True,
        )
        found.append(link)
    return found


def next_target(row: Row, record: Row) -> Row:
    """The row with the correction as its target, unless that is a copy."""
    return row if record["is_copy"] else row | {"target_id": record["id"], "target": record["text"]}


def upstream(library: Library, config: respond.Config, alias: str) -> Step:
    """Answers an instruction by a further model, whose answer is only to be corrected; the row gains response."""
    plain = respond.respond(library, config)
    origin = {"kind": "upstream", "upstream": alias}
    return replace(
        plain,
        name="aligner.upstream",
        read=lambda reply, row: [record | origin for record in plain.read(reply, row)],
        config={**plain.config, "upstream": alias},
    )


def correct(library: Library, config: Config) -> Step:
    """Corrects the base answer; the row gains correction_id and correction."""
    prompt = library.prompt("aligner/correct")

    def read(reply: str, row: Row) -> list[Row]:
        text = replacement(reply, row["instruction"], row["response"], config, prompt.fixed)
        return [{"template_id": prompt.hash, "text": text, "is_copy": text == row["response"]}]

    return Step(
        name=CORRECT,
        table="corrections",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id", "response_id"),
        variables=lambda row: {"question": row["instruction"], "answer": row["response"]},
        read=read,
        config=config.reading(),
        next_row=lambda row, record: row | {"correction_id": record["id"], "correction": record["text"]},
    )


def correct_further(library: Library, config: Config, alias: str) -> Step:
    """Corrects the row's target, by an Aligner behind the first one or in a squad."""
    plain = correct(library, config)
    return replace(
        plain,
        parents=("instruction_id", "response_id", "target_id"),
        variables=lambda row: {"question": row["instruction"], "answer": row["target"]},
        read=lambda reply, row: [
            record | {"aligner": alias} for record in plain.read(reply, row | {"response": row["target"]})
        ],
        next_row=next_target,
        config={**plain.config, "aligner": alias},
    )


method = Method(
    "aligner",
    Config,
    stages,
    models=(ALIAS,),
    named_models=lambda config: (*config.upstreams, *config.stack),
    paper="Aligner (arXiv 2402.02416)",
    tables=(CORRECTIONS,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_corrections(
            "qac",
            "question, answer, its correction and the hash of the words it was asked under; unchanged answers are kept",
            ("template_id",),
        ),
        Shape.of_corrections(
            "qac_warmup", "question, answer and the same answer as its correction, to warm an Aligner up on"
        ),
        Shape.of_pairs("corrected", "prompt, chosen (the correction) and rejected (the answer), as messages"),
        Shape.of_messages("corrected_sft", "an instruction and the correction of the model's own answer, as messages"),
    ),
    recipes={"aligner": Recipe(train_aligner.Config, train_aligner.train, answers=False, alias=ALIAS)},
)
