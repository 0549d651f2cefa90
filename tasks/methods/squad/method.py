"""Squads of aligners: an inspector scores an answer, an aligner corrects what scores low, and the correction is scored.

Source: Aligners (Ngweta et al., arXiv 2403.04224) and its code. The same: each aligner has an inspector of its own
subject; it is applied only to answers that score below 0.5, and each correction is scored again. Departures:
1. An inspector is a model's probability of "yes" to a question (prompts/squad/), or, where a member names its
   `classifier`, a trained one as the paper's: a model that the recipe `inspector` has made.
2. The aligners are in the order given, or (`order: mean_score`) in the paper's: ascending by the mean that each
   inspector gave to first answers. Rows are processed independently, so the means are those of earlier refreshes; every
   inspector then scores the first answer before any aligner is applied. The view `inspectors` lists the means.
3. A copy is not scored again: its score is that of the answer it repeats.
4. A member whose `classifier` has no model yet (the alias is under `follow`) joins when one has been promoted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.aligner import method as aligner
from tasks.methods.base import MIN_MASS, MethodConfig, choice_limits
from tasks.methods.score.method import NUMBER
from tasks.stage import INSTRUCTION, Context, Method, Stage, accepted, kept
from tasks.step import ParseError, Row, Step, probabilities
from tasks.train.config import Recipe
from tasks.train.recipes import inspector as training

NO_LOGIT = "no number: a trained inspector scores; bind its alias to `engine: reward`"


class Member(BaseModel):
    """An aligner of a squad, and the subject of its inspector: prompts/squad/<inspector>.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aligner: str = "aligner"  # an alias of `models`
    inspector: str = Field("overall", pattern=r"^[a-z]+$")
    # An alias of `models` or `follow`, of `engine: reward`: a trained inspector, whose score replaces the question's.
    classifier: str | None = None


class Config(MethodConfig):
    """A squad's settings; "paper" is arXiv 2403.04224."""

    members: tuple[Member, ...] = Field(min_length=1)
    below: float = Field(0.5, gt=0, lt=1)  # paper: 0.5
    fit: tuple[str, ...] = Field(("yes",), min_length=1)  # the replies in favour of an answer
    unfit: tuple[str, ...] = Field(("no",), min_length=1)
    sampling: Sampling = aligner.Config().sampling  # of corrections
    min_mass: float = Field(MIN_MASS, ge=0, le=1)  # of a choice: the options' probability together; our choice
    order: Literal["given", "mean_score"] = "given"  # paper: mean_score
    # Whether its result becomes the answer, as soon as its aligners have models of their own; our choice.
    stacked: bool = False

    @field_validator("members")
    @classmethod
    def _once_each(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if twice := [member for member in members if members.count(member) > 1]:
            raise ValueError(f"got {twice[0]} twice; name each pair of aligner and inspector once")
        named: dict[str, str | None] = {}
        for member in members:
            if named.setdefault(member.inspector, member.classifier) != member.classifier:
                raise ValueError(f"got two inspectors of the subject {member.inspector!r}; give one another subject")
        return members

    @model_validator(mode="after")
    def _has_one_order(self) -> Config:
        if self.stacked and self.order != "given":
            raise ValueError(f"order: got {self.order} with stacked, expected given: a stack is judged in one order")
        return self


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
    """For each member: inspect answers without a score, correct those below the limit, and inspect the correction."""
    members = [member for member in config.members if member.classifier is None or member.classifier in context.bound]
    if not members:
        return []
    in_stack = config.stacked and all(member.aligner in context.bound for member in members)
    before = "answer" if in_stack else "respond.answer"
    found: list[Stage] = []

    def inspected_by(member: Member, name: str, after: str) -> Stage:
        return Stage(
            name,
            inspect(library, config, member.inspector, trained=member.classifier is not None),
            after=after,
            model=member.classifier or "inspector",
            when=partial(_has_no_score, member),
            skippable=True,
            then=kept if in_stack else accepted,  # an answer without a score stays the answer
            needs=(*INSTRUCTION, "response_id", "target_id", "target"),
            adds=("scores",),
            in_stack=in_stack,
        )

    if config.order == "mean_score":  # so that each inspector has a mean over all first answers
        for member in {member.inspector: member for member in members}.values():
            found.append(inspected_by(member, f"squad.inspect_first.{member.inspector}", before))
            before = found[-1].name
    for number, member in enumerate(members, 1):
        inspected = inspected_by(member, f"squad.inspect.{number}", before)
        corrected = Stage(
            f"squad.correct.{number}",
            correct(library, config, member),
            after=inspected.name,
            model=member.aligner,
            when=partial(_is_due, member, config),
            skippable=True,
            then=kept,  # if the correction was lost, the next member follows
            needs=inspected.needs,
            in_stack=in_stack,
        )
        again = inspected_by(member, f"squad.inspect_again.{number}", corrected.name)
        found += [inspected, corrected, again]
        before = again.name
    if in_stack:
        found[-1] = replace(found[-1], provides="answer")
    return found


def _has_no_score(member: Member, row: Row) -> bool:
    return score(row, member.inspector) is None


def _is_due(member: Member, config: Config, row: Row) -> bool:
    return is_due(row, member, config)


def inspect(library: Library, config: Config, inspector: str, *, trained: bool = False) -> Step:
    """Scores the row's target, 0 to 1; the row gains the score in scores, under inspector and target.

    Args:
        trained: whether the model is a classifier, which is sent the conversation and no question.
    """

    def next_row(row: Row, record: Row) -> Row:
        return row | {"scores": row.get("scores", {}) | {(inspector, row["target_id"]): record["score"]}}

    shared = Step(
        name="squad.inspect",
        table="inspections",
        prompt=library.prompt("score/reward" if trained else f"squad/{inspector}"),
        sampling=Sampling(),
        parents=("instruction_id", "response_id", "target_id"),
        variables=lambda row: {"instruction": row["instruction"], "response": row["target"]},
        read=lambda reply, row: [{"inspector": inspector, "score": sum(probabilities(reply)[: len(config.fit)])}],
        next_row=next_row,
    )
    if trained:
        return replace(
            shared,
            variables=lambda row: {"instruction": row["instruction"], "answers": [row["target"]]},
            read=lambda reply, row: [{"inspector": inspector, "score": _fitness(reply)}],
            key_fields=lambda row: {"inspector": inspector},
            retries=0,
        )
    return replace(
        shared,
        options=shared.prompt.following(*config.fit, *config.unfit),
        **choice_limits(config.min_mass),
    )


def _fitness(reply: str) -> float:
    """The probability of a classifier's logit, which is its reply. Raises ParseError if it is not a number."""
    if not NUMBER.fullmatch(reply):
        raise ParseError(NO_LOGIT)
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, float(reply)))))


def correct(library: Library, config: Config, member: Member) -> Step:
    """Corrects the row's target, which becomes the correction unless that is a copy."""
    plain = aligner.correct_further(library, aligner.Config(sampling=config.sampling), member.aligner)
    return replace(plain, name="squad.correct", config={**plain.config, **member.model_dump(exclude={"classifier"})})


def score(row: Row, inspector: str) -> float | None:
    """This inspector's score of the row's target; None if it was not requested, or its reply was lost."""
    found: float | None = row.get("scores", {}).get((inspector, row["target_id"]))
    return found


def is_due(row: Row, member: Member, config: Config) -> bool:
    """Whether the member's aligner is to be applied: its inspector scored the target below the limit."""
    found = score(row, member.inspector)
    return found is not None and found < config.below


def ordered(config: Config, rows: Callable[[str], Sequence[Row]]) -> Config:
    """The settings with the members in their current order.

    Args:
        rows: name of a view → its rows.
    """
    if config.order == "given":
        return config
    means = {row["inspector"]: row["mean_before"] for row in rows("inspectors") if row["mean_before"] is not None}
    members = sorted(config.members, key=lambda member: means.get(member.inspector, math.inf))
    return config.model_copy(update={"members": tuple(members)})


def named_models(config: Config) -> Iterable[str]:
    return [alias for member in config.members for alias in (member.aligner, member.classifier) if alias]


def scorers(config: Config) -> Iterable[str]:
    return [member.classifier for member in config.members if member.classifier]


method = Method(
    "squad",
    Config,
    stages,
    models=("inspector", "aligner"),
    named_models=named_models,
    scorers=scorers,
    resolve_settings=ordered,
    paper="Aligner squads (arXiv 2403.04224)",
    tables=(INSPECTIONS,),
    views=Path(__file__).parent / "views",
    recipes={"inspector": Recipe(training.Config, training.train, answers=False)},
)
