"""The base answer: what the model answers without help. Other methods criticise, revise or correct it."""

from __future__ import annotations

from pathlib import Path

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import answer_fault
from tasks.filters.replies import goes_on
from tasks.filters.targets import TURN
from tasks.methods.base import AnswerConfig, check_own, own_runs
from tasks.stage import ANSWER, INSTRUCTION, SOURCE, Context, Method, Stage
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import sft

BASE_SFT = "base_sft"


class Config(AnswerConfig):
    """The base answer's settings."""

    # T 1 and 1,500 tokens: Hugging Face's reproduction of Constitutional AI (llm-swarm)
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1500)


RESPONSES = Table(
    "responses",
    "Answers: base answers, principled ones with the thought that led to them, and those of other methods",
    "answer",
    (
        INSTRUCTION_ID,
        Column.text(
            "kind",
            "base, principled, verbose, sample (one of two to compare), or upstream (another model's, to be corrected)",
        ).shown,
        Column.text("text", "the answer, thought pruned"),
        Column.text("thought", "the internal thought; never trained on").optional,
        Column.texts("rules", "names of the rules that the thought cites").optional,
        Column.flag(
            "complete", "false where it was cut short, which trains nobody; null before version 3"
        ).optional.shown,
        Column.text("upstream", "alias of the model that wrote it, where it is another one's").optional.shown,
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = respond(library, config)
    return [Stage("respond.answer", step, after=SOURCE, provides="answer", needs=INSTRUCTION, adds=ANSWER)]


def respond(library: Library, config: Config) -> Step:
    """Answers an instruction with nothing around it; the row gains response and target."""
    prompt = library.prompt("respond/answer")
    own = own_runs(prompt)

    def read(reply: str, row: Row) -> list[Row]:
        if fault := answer_fault(reply, row["instruction"], refusals=config.reject_refusals):
            raise Rejected(fault)
        if goes_on(reply, row["instruction"], ""):
            raise ParseError(TURN)
        check_own(reply, row["instruction"], own)
        return [{"kind": "base", "text": reply.strip(), "thought": None, "rules": []}]

    return Step(
        name="respond.answer",
        table="responses",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        next_row=next_row,
        config=config.reading(),
    )


def next_row(row: Row, record: Row) -> Row:
    """The row with its base answer, which is also the first text to criticise (the target)."""
    answer = {"response_id": record["id"], "response": record["text"]}
    return row | answer | {"target_id": record["id"], "target": record["text"]}


method = Method(
    "respond",
    Config,
    stages,
    always=True,
    paper="the base answer",
    tables=(RESPONSES,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_messages("sft", "an instruction and the answer to learn, as messages"),
        Shape.of_messages(BASE_SFT, "an instruction and the model's own answer, as messages"),
        Shape(
            "alpaca",
            "the rows of sft as instruction, input (empty: an instruction says all of it) and output",
            ("instruction", "input", "output"),
            prompt="messages[1].content",
            answer="output",
            view="sft",
            select="messages[1].content AS instruction, '' AS input, messages[2].content AS output",
            hidden=("messages",),
        ),
        Shape(
            "sharegpt",
            "the rows of sft as conversations, turns from human and gpt",
            ("conversations",),
            prompt="messages[1].content",
            answer="conversations[2].value",
            view="sft",
            select="list_transform(messages, lambda turn: {'from': CASE turn.role WHEN 'user' THEN 'human'"
            " WHEN 'assistant' THEN 'gpt' ELSE turn.role END, 'value': turn.content}) AS conversations",
            hidden=("messages",),
        ),
    ),
    recipes={"sft": Recipe(sft.Config, sft.train)},
)
