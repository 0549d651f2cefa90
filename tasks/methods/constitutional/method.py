"""Constitutional AI: the model criticises its answer under a principle, then revises it; some rounds of that.

Source: Constitutional AI (arXiv 2212.08073), section 3; Hugging Face's reproduction (llm-swarm). The same: paired
critique and revision requests, a principle drawn for each round, every round kept. Departures:
1. The draw is by rendezvous hashing and not by a random generator: an edited principle moves no row to another
   one, an added one takes over 1/N of the rows, and only those are asked again.
2. Preambles such as "Sure, here is the revised answer:", labels, closing remarks, quotes around the whole reply, and
   the question or the answer said again are taken off (`tasks/normalise.py`, `tasks/filters/replies.py`). A revision
   that only says that nothing is wrong, with or without the answer, changes nothing; one that speaks of the answer is
   asked for again, and one that no model should learn is rejected (`tasks/filters/targets.py`).
3. A revision that only says the instruction again is rejected; so is one that declines, if the preset says so.
4. A revision says whether it changed anything; unchanged ones are kept and are no use as a preference. Where the
   critique begins "No problem found." and reserves nothing, no revision is requested: the answer stays, as an
   unchanged revision (`tasks/filters/unchanged.py`).
5. The revision is requested in one turn with the answer at its end, after worked examples in this form; in the paper it
   follows the critique. Shown a conversation of both, small models repeat their critique.

`critique: false` is section 3.5's ablation, direct revision: the answer is revised under the principle drawn for the
round, with no critique before it. Departure: 6. A principle has another request for it, which says itself when the
answer stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Shape, Table
from alignery.hashing import digest
from prompts import Library, Principle
from tasks.engines import Sampling
from tasks.filters.heuristics import echoes
from tasks.filters.targets import ABOUT, LEAK
from tasks.filters.unchanged import finds_nothing
from tasks.methods.base import AnswerConfig, check_own, own_runs, replacement
from tasks.normalise import plain_answer
from tasks.stage import INSTRUCTION, Context, Method, Stage, prompt_row
from tasks.step import ParseError, Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import constitutional_sft, dpo

_WORDS = re.compile(r"\w+")
NOT_REQUESTED = "The revision was not requested: the critique found no problem."
_OPENING = 8  # words with which a critique that only repeats its request begins; our choice
_REPEATED = 12  # words in a row that a critique may not share with an example; stock phrases are shorter; our choice


class Config(AnswerConfig):
    """Constitutional AI's settings."""

    rounds: int = Field(4, ge=1)  # paper: 4; Hugging Face: 1
    critique: bool = True  # before each revision; paper: both ways were tried
    # Hugging Face: T 1, 1,500 tokens
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1500)


PRINCIPLE = (
    Column.text("principle_id", "the constitutional principle").shown,
    Column.text("principle_hash", "content hash of the principle's words in this step (prompts.hash)").shown,
)
_ROUND = Column.integer("round", "round of critique and revision, from 1").shown
CRITIQUES = Table(
    "critiques",
    "Critiques of an answer under a principle",
    "critique",
    (
        INSTRUCTION_ID,
        RESPONSE_ID,
        Column.text("target_id", "what is criticised: the first answer or a revision"),
        _ROUND,
        *PRINCIPLE,
        Column.text("text", "the critique"),
    ),
)
REVISIONS = Table(
    "revisions",
    "Revisions of an answer under a principle, after a critique or directly",
    "revision",
    (
        INSTRUCTION_ID,
        RESPONSE_ID,
        Column.text("target_id", "what is revised: the first answer or the revision before"),
        Column.text("critique_id", "the critique it follows; null of a direct revision").optional,
        _ROUND,
        *PRINCIPLE,
        Column.text("text", "the revised answer"),
        Column.flag("changed", "whether it differs from what it revises").shown,
    ),
)
_DRAWN = ("principle_id", "principle_hash", "round", "revision_request")


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    make = _criticised if config.critique else _direct
    found: list[Stage] = []
    for round in range(1, config.rounds + 1):
        found += make(library, config, round, found[-1].name if found else "answer")
    return [*found[:-1], replace(found[-1], provides="answer")]


def _criticised(library: Library, config: Config, round: int, after: str) -> list[Stage]:
    """A critique, and a revision after it."""
    texts = []
    for principle in library.principles():
        name = f"principle:{principle.id}"
        texts.append(prompt_row(name, principle.critique, principle.critique_hash))
        texts.append(prompt_row(f"{name}:revision", principle.revision, principle.revision_hash))
    criticised = Stage(
        f"constitutional.critique.{round}",
        critique(library, config, round),
        after=after,
        needs=(*INSTRUCTION, "response_id", "target_id", "target"),
        adds=("critique_id", "critique", *_DRAWN, "critique_request"),
        texts=texts,
    )
    revised = Stage(
        f"constitutional.revise.{round}",
        revise(library, config, round),
        after=criticised.name,
        needs=(*criticised.needs, *criticised.adds),
    )
    return [criticised, revised]


def _direct(library: Library, config: Config, round: int, after: str) -> list[Stage]:
    """A revision without a critique."""
    principles = library.principles()
    revised = Stage(
        f"constitutional.revise.{round}",
        revise_directly(library, config, round),
        after=after,
        take=partial(under_principle, principles, round),
        needs=(*INSTRUCTION, "response_id", "target_id", "target"),
        adds=_DRAWN,
        texts=[
            prompt_row(f"principle:{one.id}:revision", one.direct_revision, one.direct_revision_hash)
            for one in principles
        ],
    )
    return [revised]


def draw(principles: Sequence[Principle], instruction: str, round: int) -> Principle:
    """The principle of an instruction in a round: the one with the highest hash (rendezvous hashing).

    It depends on the principles' ids and not on their texts or order, and on the instruction's words and not its id.
    """
    return principles[_highest(tuple(principle.id for principle in principles), instruction, round)]


@lru_cache(maxsize=1 << 13)  # for the rows on their way: each asks for its principle several times over
def _highest(ids: tuple[str, ...], instruction: str, round: int) -> int:
    return max(range(len(ids)), key=lambda place: digest(ids[place], instruction, round))


def critique(library: Library, config: Config, round: int) -> Step:
    """Criticises the target in a round (from 1); the row gains the critique and its principle's requests."""
    principles, prompt = library.principles(), library.prompt("constitutional/critique")
    examples = own_runs(prompt, _REPEATED)

    def own_principle(row: Row) -> Principle:
        return draw(principles, row["instruction"], round)

    def read(reply: str, row: Row) -> list[Row]:
        principle = own_principle(row)
        text = _criticism(reply, principle.critique)
        check_own(text, row["target"], examples, _REPEATED)
        return [_named(principle, round) | {"text": text}]

    def next_row(row: Row, record: Row) -> Row:
        principle = own_principle(row)
        requests = {"critique_request": principle.critique, "revision_request": principle.revision}
        # From here on the words are those of the revision: an edit of them asks for no critique again.
        named = _principle_of(record) | {"principle_hash": principle.revision_hash}
        return row | {"critique_id": record["id"], "critique": record["text"]} | named | requests

    return Step(
        name="constitutional.critique",
        table="critiques",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id", "response_id", "target_id"),
        variables=lambda row: {
            "instruction": row["instruction"],
            "response": row["target"],
            "critique_request": own_principle(row).critique,
        },
        read=read,
        key_fields=lambda row: _named(own_principle(row), round),
        sample_key=lambda row: str(round),  # the same words in another round want another critique
        next_row=next_row,
    )


def revise(library: Library, config: Config, round: int) -> Step:
    """Revises the target after its critique in the same round; the row's target becomes the revision."""
    requests = ("critique_request", "revision_request")
    return _revise(
        library, config, round, "constitutional.revise", "constitutional/revision", requests, ("critique_id",)
    )


def under_principle(principles: Sequence[Principle], round: int, row: Row) -> Row:
    """The row with the principle drawn for the round, and its request for a direct revision."""
    principle = draw(principles, row["instruction"], round)
    named = {"principle_id": principle.id, "principle_hash": principle.direct_revision_hash, "round": round}
    return row | named | {"revision_request": principle.direct_revision}


def revise_directly(library: Library, config: Config, round: int) -> Step:
    """Revises the target of a row of `under_principle`, with no critique; the row's target becomes the revision."""
    name, id = "constitutional.revise_directly", "constitutional/direct_revision"
    return _revise(library, config, round, name, id, ("revision_request",))


def _revise(
    library: Library,
    config: Config,
    round: int,
    name: str,
    id: str,
    requests: tuple[str, ...],
    critique: tuple[str, ...] = (),
) -> Step:
    """The step of that name.

    Args:
        requests: the fields whose words a revision may not repeat, as it may not repeat those of the prompt.
        critique: the field of the critique's id, where there is one.
    """
    prompt = library.prompt(id)

    def settled(row: Row) -> bool:
        return bool(critique) and finds_nothing(row["critique"])

    def read(reply: str, row: Row) -> list[Row]:
        if settled(row):
            return [_principle_of(row) | {"text": row["target"], "changed": False}]
        words = (*prompt.fixed, *(row[field] for field in requests))
        text = replacement(reply, row["instruction"], row["target"], config, words)
        if critique and echoes(text, row["critique"]):
            raise ParseError(ABOUT)
        return [_principle_of(row) | {"text": text, "changed": text != row["target"]}]

    return Step(
        name=name,
        table="revisions",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id", "response_id", "target_id", *critique),
        variables=lambda row: {field: row["target" if field == "response" else field] for field in prompt.variables},
        read=read,
        key_fields=_principle_of,
        config=config.reading(),
        known_reply=lambda row: NOT_REQUESTED if settled(row) else None,
        sample_key=lambda row: str(round),
        next_row=lambda row, record: row | {"target_id": record["id"], "target": record["text"]},
    )


def steps(library: Library, config: Config) -> list[Step]:
    """The chain after the base answer with critiques: critique and revision, round by round."""
    rounds = range(1, config.rounds + 1)
    kinds: tuple[Callable[[Library, Config, int], Step], ...] = (critique, revise)
    return [step(library, config, round) for round in rounds for step in kinds]


def _criticism(reply: str, request: str) -> str:
    if not (text := plain_answer(reply, ("(?:my |the )?critique",))):
        raise ParseError("nothing after the label")
    opening, asked = (_WORDS.findall(one.casefold())[:_OPENING] for one in (text, request))
    if opening[: len(asked)] == asked:
        raise ParseError(LEAK)
    return text


def _named(principle: Principle, round: int) -> dict[str, Any]:
    return {"principle_id": principle.id, "principle_hash": principle.critique_hash, "round": round}


def _principle_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("principle_id", "principle_hash", "round")}


method = Method(
    "constitutional",
    Config,
    stages,
    paper="Constitutional AI (arXiv 2212.08073) §3",
    tables=(
        CRITIQUES,
        REVISIONS,
    ),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_pairs(
            "preferences", "prompt, chosen (the final revision) and rejected (the first answer), as messages"
        ),
        Shape.of_corrections(
            "qac_revised",
            "question, each answer of a chain of revisions, and the chain's end as its correction; template_id is null",
            ("template_id",),
        ),
        Shape.of_messages(
            "constitutional", "an instruction and a revision of any round or a helpful answer to learn, as messages"
        ),
    ),
    recipes={
        "constitutional_sft": Recipe(constitutional_sft.Config, constitutional_sft.train),
        "dpo": Recipe(dpo.Config, dpo.train),
    },
)
