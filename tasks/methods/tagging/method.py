"""Difficulty, quality and category of instructions, each labelled by a judge: Magpie selects its data by these.

Source: Magpie (arXiv 2406.08464), section 2.2 and its code: five grades of difficulty (of what it takes to answer) and
of quality (of how clear the instruction is), twelve categories of task. The same: one request per aspect, only
the instruction is shown, T 0. Departures:
1. The label comes first, on a line of its own; the paper has JSON with an intent and an explanation before it.
2. One category; the paper has further ones beside the first.
3. Instructions of every source are tagged, in a table of their own. Reward and nearest neighbours are not here: see
   `score`, and `similarity` of `instructions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from alignery.declarations import INSTRUCTION_ID, Column, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.base import MethodConfig, read_cut
from tasks.normalise import half_width
from tasks.stage import INSTRUCTION, SOURCE, Context, Method, Stage
from tasks.step import ParseError, Row, Step

Aspect = Literal["difficulty", "quality", "category"]
LABELS: dict[Aspect, tuple[str, ...]] = {
    "difficulty": ("very easy", "easy", "medium", "hard", "very hard"),
    "quality": ("very poor", "poor", "average", "good", "excellent"),
    "category": (
        *("information seeking", "reasoning", "planning", "editing", "coding", "math", "data analysis"),
        *("role playing", "creative writing", "advice seeking", "brainstorming", "other"),
    ),
}
_AROUND = " \t*_\"'`#.!>-[]()"  # of Markdown and quotes, around a label


class Config(MethodConfig):
    """What is tagged."""

    aspects: tuple[Aspect, ...] = Field(("difficulty", "quality", "category"), min_length=1)  # paper: the same
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=64)  # paper: T 0

    @field_validator("aspects")
    @classmethod
    def _once_each(cls, aspects: tuple[Aspect, ...]) -> tuple[Aspect, ...]:
        if twice := [aspect for aspect in aspects if aspects.count(aspect) > 1]:
            raise ValueError(f"got {twice[0]} twice; name each aspect once")
        return aspects


INSTRUCTION_TAGS = Table(
    "instruction_tags",
    "Labels of an instruction, one aspect each, from a judge",
    "label",
    (
        INSTRUCTION_ID,
        Column.text("aspect", "difficulty, quality or category").shown,
        Column.text("value", "the label").shown,
    ),
    text=None,
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    return [
        Stage(f"tagging.{aspect}", label(library, config, aspect), after=SOURCE, model="judge", needs=INSTRUCTION)
        for aspect in config.aspects
    ]


def label(library: Library, config: Config, aspect: Aspect) -> Step:
    """Asks for an instruction's label in one aspect."""

    def read(reply: str, row: Row) -> list[Row]:
        return [{"aspect": aspect, "value": parse(reply, aspect)}]

    return Step(
        name=f"tagging.{aspect}",
        table=INSTRUCTION_TAGS.name,
        prompt=library.prompt(f"tagging/{aspect}"),
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        read_cut=read_cut(read),
        retries=2 if config.sampling.temperature else 0,  # at T 0 another seed gives the same reply
    )


def parse(reply: str, aspect: Aspect) -> str:
    """The label on the first line of a reply, with or without the aspect before it, or on the line below the aspect.

    Raises:
        ParseError: the line is something else.
    """
    first, _, rest = half_width(reply).strip().partition("\n")
    found = _named(first, aspect) or _named(rest.strip().partition("\n")[0], aspect)
    if found not in LABELS[aspect]:
        raise ParseError(f"no label of {aspect} on the first line")
    return found


def _named(line: str, aspect: Aspect) -> str:
    """What a line says: nothing where it is the aspect's name alone."""
    stripped = line.casefold().strip(_AROUND).replace("-", " ").replace("_", " ")
    for name in (aspect, "label"):
        stripped = stripped.removeprefix(name) if stripped in (name, f"{name}:") else stripped.removeprefix(f"{name}:")
        stripped = stripped.strip(f"{_AROUND}:")
    return stripped


method = Method(
    "tagging",
    Config,
    stages,
    models=("judge",),
    paper="Magpie (arXiv 2406.08464) §2.2, its quality columns",
    tables=(INSTRUCTION_TAGS,),
    views=Path(__file__).parent / "views",
)
