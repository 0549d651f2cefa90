"""Chains of thought with a majority vote: several rationales for an instruction; those that agree are learnt.

Sources: self-consistency (arXiv 2203.11171), which draws chains of thought and takes the answer that most of them end
in; "Large Language Models Can Self-Improve" (2210.11610), which trains on the chains that end in it. The same: k chains
at T 0.7, the final answers are extracted and vote, and a model learns every chain of the majority. Departures:
1. k is 8; the sources draw 40 and 32.
2. A tie, fewer than three answers, or a winner with less than half of them is no majority, and nothing is learnt; the
   sources take the most frequent answer and measure confidence apart.
3. All instructions are sampled, or only those on some `topics`; without a short answer, the answers do not agree, and
   the vote rejects them.
4. The chain is learnt as the reply to just the instruction; the mixture's form `chain` puts a request for it there.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import loops
from tasks.filters.targets import LOOP
from tasks.methods.base import MethodConfig, check_own, own_runs
from tasks.methods.reason.final import compared, final_of
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.recipes import declared

LONGEST = 200  # characters of a final answer; our choice


class Config(MethodConfig):
    """What is drawn; "paper" is 2203.11171."""

    k: int = Field(8, ge=3, le=64)  # paper: 40
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=1024)  # paper: T 0.7 (0.5 of some models)
    topics: tuple[str, ...] = ()  # none: instructions on every topic


RATIONALES = Table(
    "rationales",
    "Chains of thought that end in a short answer; those that the majority agrees with are learnt",
    "rationale",
    (
        INSTRUCTION_ID,
        Column.integer("number", "its number among those of the instruction", "from 1").shown,
        Column.text("text", "the chain of thought and, on its last line, the answer"),
        Column.text("final", "the answer, in the form in which answers are compared").shown,
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """A stage for each chain; they do not see each other, and the views count the votes."""

    def is_asked(row: Row) -> bool:
        return not config.topics or row["topic"] in config.topics

    return [
        Stage(
            f"reason.solve.{number}", solve(library, config, number), after=SOURCE, when=is_asked, needs=SOURCE_FIELDS
        )
        for number in range(1, config.k + 1)
    ]


def solve(library: Library, config: Config, number: int) -> Step:
    """Draws one chain of thought."""
    prompt = library.prompt("reason/solve")
    own = own_runs(prompt)

    def read(reply: str, row: Row) -> list[Row]:
        if (found := final_of(reply)) is None:
            raise ParseError("no thought followed by a line 'Answer:'")
        thought, answer = found
        if len(answer) > LONGEST or not (final := compared(answer)):
            raise Rejected("no short answer")
        if loops(thought):
            raise Rejected(LOOP)
        check_own(thought, row["instruction"], own)
        return [{"number": number, "text": f"{thought}\nAnswer: {answer}", "final": final}]

    return Step(
        name="reason.solve",
        table=RATIONALES.name,
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        key_fields=lambda row: {"sample": number},
        sample_key=lambda row: str(number),
    )


method = Method(
    "reason",
    Config,
    stages,
    paper="self-consistency (arXiv 2203.11171), self-improvement (2210.11610)",
    tables=(RATIONALES,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_messages("chain_of_thought", "an instruction and a chain of thought that the majority agrees with"),
    ),
    published=True,
    recipes={"chain_of_thought": declared.sft("chain_of_thought", epochs=3)},
)
