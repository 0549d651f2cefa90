"""Squads of aligners: an inspector scores an answer, an aligner mends what scores low, and that is scored anew.

Source: Aligners (Ngweta et al., arXiv 2403.04224) and its code. The same: each aligner has an inspector of its own
subject; it is applied only to answers that score below 0.5, and each correction is scored again. Departures:
1. An inspector is a model's probability of "yes" to a question (prompts/squad/), and not a trained classifier; bind a
   model of your own to the alias `inspector`.
2. The aligners stand in the order given. The paper orders them by the inspectors' mean scores, ascending; here rows
   walk alone, and no mean over all of them is known when the first is corrected. The view `inspectors` lists the
   means in that order.
3. A copy is not scored again: its score is that of the answer it repeats.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.aligner import method as aligner
from tasks.methods.base import MIN_MASS, MethodConfig
from tasks.stage import INSTRUCTION, Context, Method, Stage, accepted, kept
from tasks.step import Row, Step, probabilities


class Member(BaseModel):
    """An aligner of a squad, and the subject of its inspector: prompts/squad/<inspector>.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aligner: str = "aligner"  # an alias of `models`
    inspector: str = Field("overall", pattern=r"^[a-z]+$")


class Config(MethodConfig):
    """A squad's settings; "paper" is arXiv 2403.04224."""

    members: tuple[Member, ...] = Field(min_length=1)
    below: float = Field(0.5, gt=0, lt=1)  # paper: 0.5
    fit: tuple[str, ...] = Field(("yes",), min_length=1)  # the replies that speak for an answer
    unfit: tuple[str, ...] = Field(("no",), min_length=1)
    sampling: Sampling = aligner.Config().sampling  # of corrections
    min_mass: float = Field(MIN_MASS, ge=0, le=1)  # of a choice: the options' probability together; our choice
    # Whether what it makes of the answer is the answer, as soon as its aligners have models of their own; our choice.
    stacked: bool = False

    @field_validator("members")
    @classmethod
    def _once_each(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if twice := [member for member in members if members.count(member) > 1]:
            raise ValueError(f"got {twice[0]} twice; name each pair of aligner and inspector once")
        return members


INSPECTIONS = Table(
    "inspections",
    "Scores of an answer by a squad's inspector",
    "inspection",
    (
        INSTRUCTION_ID,
        RESPONSE_ID,
        Column.text("target_id", "what is scored: the first answer or a correction"),
        Column.text("inspector", "its subject: overall, ethical, …").shown,
        Column.real("score", "probability that the answer is fit to be given", "0 to 1").shown,
    ),
    text=None,
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """For each member: inspect what has no score, correct what is due, and inspect the correction."""
    found: list[Stage] = []
    in_stack = config.stacked and all(member.aligner in context.bound for member in config.members)
    before = "answer" if in_stack else "respond.answer"
    for number, member in enumerate(config.members, 1):
        inspected = Stage(
            f"squad.inspect.{number}",
            inspect(library, config, member.inspector),
            after=before,
            model="inspector",
            when=partial(_has_no_score, member),
            skippable=True,
            then=kept if in_stack else accepted,  # an answer without a score stays the answer
            needs=(*INSTRUCTION, "response_id", "target_id", "target"),
            adds=("scores",),
            in_stack=in_stack,
        )
        corrected = Stage(
            f"squad.correct.{number}",
            correct(library, config, member),
            after=inspected.name,
            model=member.aligner,
            when=partial(_is_due, member, config),
            skippable=True,
            then=kept,  # where the correction was lost, the next member has its turn
            needs=inspected.needs,
            in_stack=in_stack,
        )
        again = replace(
            inspected,
            name=f"squad.inspect_again.{number}",
            step=inspect(library, config, member.inspector),
            after=corrected.name,
        )
        found += [inspected, corrected, again]
        before = again.name
    if in_stack:
        found[-1] = replace(found[-1], provides="answer")
    return found


def _has_no_score(member: Member, row: Row) -> bool:
    return score(row, member.inspector) is None


def _is_due(member: Member, config: Config, row: Row) -> bool:
    return is_due(row, member, config)


def inspect(library: Library, config: Config, inspector: str) -> Step:
    """Scores the row's target, 0 to 1; the row gains the score in scores, under inspector and target."""
    prompt = library.prompt(f"squad/{inspector}")

    def read(reply: str, row: Row) -> list[Row]:
        return [{"inspector": inspector, "score": sum(probabilities(reply)[: len(config.fit)])}]

    def next_row(row: Row, record: Row) -> Row:
        return row | {"scores": row.get("scores", {}) | {(inspector, row["target_id"]): record["score"]}}

    return Step(
        name="squad.inspect",
        table="inspections",
        prompt=prompt,
        sampling=Sampling(),
        parents=("instruction_id", "response_id", "target_id"),
        variables=lambda row: {"instruction": row["instruction"], "response": row["target"]},
        read=read,
        next_row=next_row,
        options=prompt.following(*config.fit, *config.unfit),
        min_mass=config.min_mass,
        config={} if config.min_mass == MIN_MASS else {"min_mass": config.min_mass},
    )


def correct(library: Library, config: Config, member: Member) -> Step:
    """Corrects the row's target, which becomes the correction unless that is a copy."""
    plain = aligner.correct_further(library, aligner.Config(sampling=config.sampling), member.aligner)
    return replace(plain, name="squad.correct", config={**plain.config, **member.model_dump()})


def score(row: Row, inspector: str) -> float | None:
    """What this inspector has said of the row's target; None where it was not asked, or its reply was lost."""
    found: float | None = row.get("scores", {}).get((inspector, row["target_id"]))
    return found


def is_due(row: Row, member: Member, config: Config) -> bool:
    """Whether the member's aligner is to be applied: its inspector scored the target below the limit."""
    found = score(row, member.inspector)
    return found is not None and found < config.below


method = Method(
    "squad",
    Config,
    stages,
    models=("inspector", "aligner"),
    named_models=lambda config: [member.aligner for member in config.members],
    paper="Aligner squads (arXiv 2403.04224)",
    tables=(INSPECTIONS,),
    views=Path(__file__).parent / "views",
)
