"""Self-chat: a model plays the person and the assistant in turn, from an instruction as the person's first message.

Source: Baize (arXiv 2304.01196), section 3.1 and its code (collect_v2). The same: a seed begins the dialogue, and is
named by its id; the roles take turns, the person first; T 1 and top_p 0.95; a last turn without an answer is dropped.
Departures:
1. Every turn is a request of its own, so that one bad reply costs a turn and not the dialogue. The first version of
   the paper has one request write all of it.
2. Seeds are accepted instructions of any source; the paper's are titles from Quora, Stack Overflow and MedQuAD.
3. The person's turn may be written by another model (the alias `user`), and ends the dialogue by "[END]". The paper
   ends it where the model does.
4. A dialogue ends at `exchanges` at the latest; the paper's have 3.4 to 3.9 turns of the assistant on average.
5. A message that repeats an earlier one, speaks as the assistant or tells what the person does is requested again; one
   that is no answer, or an evaluation prompt, ends the dialogue before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.contamination import Contamination
from tasks.filters.heuristics import answer_fault, loops, opens_with_refusal
from tasks.filters.targets import LOOP
from tasks.methods.base import AnswerConfig, MethodConfig, check_own, own_runs
from tasks.methods.dialogue.reading import message
from tasks.stage import INSTRUCTION, SOURCE, Context, Method, Stage
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import dialogue as train_dialogue

ASSISTANT = "speaks as the assistant"
NARRATES = "tells what the person does"
AGAIN = "says an earlier message again"
USER = "user"  # the alias of the model that plays the person
# What only an assistant says. In quotes it is what a person asks for: 'Add "feel free to ask" at the end.'
_OFFER = re.compile(
    r"(?<![\"“'‘])\b(?:how (?:can|may) i (?:help|assist) you|would you like me to|is there anything else i can|"
    r"(?:do not|don['’]t) hesitate to (?:ask|reach out|contact|let)|feel free to (?:ask|reach out|let me know|contact)|"
    r"if you (?:have|need) (?:any |some )?(?:more |further |other |additional )?(?:questions?|help|assistance)|"
    r"(?:i['’]m|i am) (?:here|happy|glad) to (?:help|assist)|sorry for (?:the|any) inconvenience)\b|"
    r"\Alet me (?:explain|list|describe|summari[sz]e|show you) (?:each|these|those|them)\b",
    re.IGNORECASE,
)
_NARRATED = re.compile(r"\b(?:person|user|conversation)\b", re.IGNORECASE)
_NARRATION = re.compile(rf"(?:the|this) {_NARRATED.pattern}", re.IGNORECASE)
_STATE = ("exchanges", "question", "before", "before_id")


class Questions(MethodConfig):
    """Settings of the person's turns."""

    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=256)  # code: T 1, top_p 0.95; 256: our choice


class Config(AnswerConfig):
    """Self-chat's settings; "code" is that of arXiv 2304.01196."""

    exchanges: int = Field(4, ge=2, le=16)  # messages of the person, the seed included, at the most; paper: 3.4 to 3.9
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=1024)  # code: the same, without max_tokens
    questions: Questions = Questions()


TURNS = Table(
    "turns",
    "Turns of dialogues after the first message, which is the instruction",
    "turn",
    (
        INSTRUCTION_ID,
        Column.text("before_id", "what it follows: the turn before it, or the instruction (turns.id, instructions.id)"),
        Column.texts("before", "the turns before it, in their order (turns.id); the instruction is none of them"),
        Column.integer("place", "its place in the dialogue", "from 2").shown,
        Column.text("role", "user or assistant").shown,
        Column.text("text", "what is said"),
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """answer 1, question 2, answer 2, …; a row ends where its dialogue does."""
    return list(_chain(library, config, context))


def _chain(library: Library, config: Config, context: Context) -> Iterator[Stage]:
    needs = (*INSTRUCTION, "topic")
    yield Stage(
        "dialogue.answer.1", answer(library, config, 1), after=SOURCE, take=begun, needs=INSTRUCTION, adds=_STATE
    )
    for number in range(2, config.exchanges + 1):
        asked = Stage(
            f"dialogue.question.{number}",
            question(library, config, number, context.contamination),
            after=f"dialogue.answer.{number - 1}",
            model=USER,
            needs=(*needs, *_STATE),
        )
        yield asked
        yield Stage(
            f"dialogue.answer.{number}", answer(library, config, number), asked.name, needs=(*INSTRUCTION, *_STATE)
        )


def begun(row: Row) -> Row:
    """The row as a dialogue of which only the first message is there."""
    return row | {"exchanges": [], "question": row["instruction"], "before": [], "before_id": row["instruction_id"]}


def answer(library: Library, config: Config, number: int) -> Step:
    """Answers the person's message of that number (from 1); the row gains the exchange."""
    prompt = library.prompt("dialogue/answer")
    own = own_runs(prompt)

    def read(reply: str, row: Row) -> list[Row]:
        if fault := answer_fault(reply, row["question"], refusals=config.reject_refusals):
            raise Rejected(fault)
        check_own(reply, " ".join([*_earlier_messages(row), row["question"]]), own)
        if loops(reply):
            raise ParseError(LOOP)
        return [_turn(row, 2 * number, "assistant", reply.strip())]

    return Step(
        name="dialogue.answer",
        table="turns",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id", "before_id"),
        variables=lambda row: {"exchanges": row["exchanges"], "question": row["question"]},
        read=read,
        next_row=lambda row, record: (
            _after(row, record)
            | {"exchanges": [*row["exchanges"], {"user": row["question"], "assistant": record["text"]}]}
        ),
        config=config.reading(),
    )


def question(library: Library, config: Config, number: int, contamination: Contamination) -> Step:
    """Writes the person's message of that number (from 2); none where the person has ended the dialogue."""
    prompt = library.prompt("dialogue/question")
    own = own_runs(prompt)

    def read(reply: str, row: Row) -> list[Row]:
        text = message(reply)
        if text is None:
            return []
        earlier = _earlier_messages(row)
        if opens_with_refusal(text) or _OFFER.search(text):
            raise ParseError(ASSISTANT)
        if _plain(text) in map(_plain, earlier):
            raise ParseError(AGAIN)
        if loops(text):
            raise ParseError(LOOP)
        check_own(text, " ".join(earlier), own)
        if _NARRATION.match(text) and not _NARRATED.search(" ".join(earlier)):
            raise ParseError(NARRATES)
        if reason := contamination.reason(text):
            raise Rejected(reason)
        return [_turn(row, 2 * number - 1, "user", text)]

    return Step(
        name="dialogue.question",
        table="turns",
        prompt=prompt,
        sampling=config.questions.sampling,
        parents=("instruction_id", "before_id"),
        variables=lambda row: {"topic": row["topic"], "exchanges": row["exchanges"]},
        key_fields=lambda row: {"topic": row["topic"]},
        read=read,
        next_row=lambda row, record: _after(row, record) | {"question": record["text"]},
    )


def _turn(row: Row, place: int, role: str, text: str) -> Row:
    return {"before": row["before"], "place": place, "role": role, "text": text}


def _earlier_messages(row: Row) -> list[str]:
    """All messages before the newest one."""
    return [text for one in row["exchanges"] for text in one.values()]


def _after(row: Row, record: Row) -> Row:
    return row | {"before": [*row["before"], record["id"]], "before_id": record["id"]}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


method = Method(
    "dialogue",
    Config,
    stages,
    models=("generator", USER),
    paper="Baize (arXiv 2304.01196) §3.1, self-chat",
    tables=(TURNS,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape(
            "dialogues",
            "a dialogue as messages, the assistant's last",
            ("messages",),
            prompt="messages[1].content",
            answer="messages[-1].content",
        ),
        Shape(
            "dialogues_sharegpt",
            "the rows of dialogues as conversations, turns from human and gpt",
            ("conversations",),
            prompt="messages[1].content",
            answer="conversations[-1].value",
            view="dialogues",
            select="list_transform(messages, lambda turn: {'from': CASE turn.role WHEN 'user' THEN 'human'"
            " ELSE 'gpt' END, 'value': turn.content}) AS conversations",
            hidden=("messages",),
        ),
    ),
    published=True,
    recipes={"dialogue": Recipe(train_dialogue.Config, train_dialogue.train)},
)
