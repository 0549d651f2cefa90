"""Constitutional AI's feedback half: which of two answers is better under a principle, by the model, as a soft label.

Source: Constitutional AI (arXiv 2212.08073), section 4. The same: two answers at T 1 to one instruction, one principle
for each comparison, the normalised probabilities of the two letters as a soft label; with a thought before the choice
they are clamped to 0.40-0.60, and only then. Departures:
1. Each pair is compared in both orders by default, in the paper in one; the view `compared` has the mean
   and whether the orders agree. Under `orders: one` a hash of the instruction balances them.
2. The principle is drawn by rendezvous hashing, as in `constitutional`, so an edit repeats only its own rows.
3. The two answers may be the first one and its last revision (`pairs: revision`), which exist already.
4. The judge sees no worked examples: the choice is read off probabilities and needs no format.
5. The answers are the generator's; the paper's are of the model that was fine-tuned on its revisions. Bind that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from alignery.hashing import digest
from prompts import Library, Principle
from tasks.engines import Sampling
from tasks.methods.base import MIN_MASS, MethodConfig, choice_limits
from tasks.methods.constitutional.method import PRINCIPLE, draw
from tasks.methods.respond import method as respond
from tasks.stage import ANSWER, GENERATOR, INSTRUCTION, SOURCE, Context, Method, Stage, always, prompt_row, unchanged
from tasks.step import Row, Step, probabilities
from tasks.train.config import Recipe
from tasks.train.recipes import reward, salmon
from tasks.train.recipes.preferences import cdpo
from tasks.train.recipes.rl import grpo
from tasks.train.recipes.rl import settings as rl

LOWEST, HIGHEST = 0.40, 0.60  # of a probability after a thought; paper
DRAW = 0  # the draw of comparisons, among those of critique and revision, which count from 1
Place = Literal["a", "b"]
PLACES: tuple[Place, ...] = ("a", "b")


class Config(MethodConfig):
    """The settings of comparisons; "paper" is arXiv 2212.08073."""

    pairs: Literal["samples", "revision"] = "samples"  # paper: two samples
    orders: Literal["both", "one"] = "both"  # paper: one
    thought_first: bool = False  # paper: both ways were tried
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1500)  # of the two samples; T 1: paper
    thinking: Sampling = Sampling(temperature=0.0, max_tokens=512)  # of the thought; our choice
    min_mass: float = Field(MIN_MASS, ge=0, le=1)  # of a choice: the options' probability together; our choice


_PAIR = (
    Column.text("a_id", "one of the two: an answer or a revision"),
    Column.text("b_id", "the other"),
    Column.text("first", "which of them was shown first: a or b").shown,
    *PRINCIPLE,
)
COMPARISONS = Table(
    "comparisons",
    "Comparisons of two answers under a principle, one row for each order that they were shown in",
    "comparison",
    (
        INSTRUCTION_ID,
        *_PAIR,
        Column.text(
            "thought_id", "the thought before the choice (thoughts.id); null where none was asked for"
        ).optional,
        Column.real("p_a", "probability that a is better; after a thought, clamped to 0.4 to 0.6", "0 to 1").shown,
    ),
    text=None,
)
THOUGHTS = Table(
    "thoughts",
    "Thoughts before a comparison; never trained on",
    "thought",
    (INSTRUCTION_ID, *_PAIR, Column.text("text", "what speaks for each of the two")),
)


def check(config: Config, configs: Mapping[str, Any]) -> None:
    """Raises ValueError: a revision is compared, and no method revises."""
    if config.pairs == "revision" and "constitutional" not in configs:
        raise ValueError("compare.pairs: got 'revision' without constitutional; add it, or compare 'samples'")


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    found: list[Stage] = []
    pair = ("a_id", "a", "b_id", "b")
    if config.pairs == "samples":
        first = Stage(
            "constitutional.sample.a", sample(library, config, "a"), SOURCE, needs=INSTRUCTION, adds=("a_id", "a")
        )
        second = Stage(
            "constitutional.sample.b", sample(library, config, "b"), first.name, needs=INSTRUCTION, adds=("b_id", "b")
        )
        found = [first, second]
    for place in PLACES:
        compared = Stage(
            f"constitutional.compare.{place}",
            compare(library, config, place),
            after=found[1].name if config.pairs == "samples" else "answer",
            model="judge",
            take=unchanged if config.pairs == "samples" else revised,
            when=partial(_is_due, config, place),
            needs=(*INSTRUCTION, *(pair if config.pairs == "samples" else ANSWER)),
            adds=pair,
            texts=[
                prompt_row(f"principle:{p.id}:comparison", p.criterion, p.criterion_hash) for p in library.principles()
            ],
        )
        if config.thought_first:
            weighed = replace(
                compared,
                name=f"constitutional.weigh.{place}",
                step=weigh(library, config, place),
                adds=(*pair, "thought_id", "thought"),
            )
            found.append(weighed)
            needs = (*INSTRUCTION, *weighed.adds)
            compared = replace(compared, after=weighed.name, take=unchanged, when=always, needs=needs, adds=())
        found.append(compared)
    return found


def _is_due(config: Config, first: Place, row: Row) -> bool:
    """Whether a pair is compared in this order; two answers of the same words are no pair."""
    return row["a"].strip() != row["b"].strip() and first in orders(config, row)


def sample(library: Library, config: Config, place: Place) -> Step:
    """Draws one of the two answers; the row gains a_id and a, or b_id and b."""
    plain = respond.respond(library, respond.Config(sampling=config.sampling))
    return replace(
        plain,
        name="constitutional.sample",
        read=lambda reply, row: [record | {"kind": "sample"} for record in plain.read(reply, row)],
        key_fields=lambda row: {"sample": place},
        sample_key=lambda row: place,
        next_row=lambda row, record: row | {f"{place}_id": record["id"], place: record["text"]},
    )


def revised(row: Row) -> Row:
    """The row with its first answer and its last revision as the two that are compared."""
    return row | {"a_id": row["response_id"], "a": row["response"], "b_id": row["target_id"], "b": row["target"]}


def orders(config: Config, row: Row) -> tuple[Place, ...]:
    """Which of the two is shown first: each in turn, or the one that a hash of the instruction picks."""
    if config.orders == "both":
        return ("a", "b")
    return ("a",) if int(digest("order", row["instruction"])[-1], 16) % 2 else ("b",)


def weigh(library: Library, config: Config, first: Place) -> Step:
    """Thinks before the choice; the row gains thought_id and thought."""
    principles = library.principles()

    def read(reply: str, row: Row) -> list[Row]:
        return [_principle_fields(principles, row, first) | {"text": reply.strip()}]

    return Step(
        name="constitutional.weigh",
        table="thoughts",
        prompt=library.prompt("constitutional/weigh"),
        sampling=config.thinking,
        parents=("instruction_id", "a_id", "b_id"),
        variables=lambda row: _shown(principles, row, first),
        read=read,
        key_fields=lambda row: _principle_fields(principles, row, first),
        next_row=lambda row, record: row | {"thought_id": record["id"], "thought": record["text"]},
    )


def compare(library: Library, config: Config, first: Place) -> Step:
    """Compares the row's a and b, with one of them shown first; its record holds the probability that a is better."""
    principles = library.principles()
    prompt = library.prompt("constitutional/decide" if config.thought_first else "constitutional/compare")
    thought = ("thought_id",) if config.thought_first else ()

    def read(reply: str, row: Row) -> list[Row]:
        shown_first = probabilities(reply)[0]
        p_a = shown_first if first == "a" else 1 - shown_first
        if config.thought_first:
            p_a = min(max(p_a, LOWEST), HIGHEST)
        return [_principle_fields(principles, row, first) | {"p_a": p_a}]

    return Step(
        name="constitutional.compare",
        table="comparisons",
        prompt=prompt,
        sampling=Sampling(),
        parents=("instruction_id", "a_id", "b_id", *thought),
        variables=lambda row: (
            _shown(principles, row, first) | ({"thought": row["thought"]} if config.thought_first else {})
        ),
        read=read,
        key_fields=lambda row: _principle_fields(principles, row, first),
        options=prompt.following("A", "B"),
        **choice_limits(config.min_mass),
    )


def _shown(principles: list[Principle], row: Row, first: Place) -> dict[str, Any]:
    a, b = (row["a"], row["b"]) if first == "a" else (row["b"], row["a"])
    criterion = draw(principles, row["instruction"], DRAW).criterion
    return {"instruction": row["instruction"], "response_a": a, "response_b": b, "criterion": criterion}


def _principle_fields(principles: list[Principle], row: Mapping[str, Any], first: Place) -> dict[str, Any]:
    principle = draw(principles, row["instruction"], DRAW)
    return {"principle_id": principle.id, "principle_hash": principle.criterion_hash, "first": first}


method = Method(
    "compare",
    Config,
    stages,
    models=(GENERATOR, "judge"),
    check=check,
    paper="Constitutional AI (arXiv 2212.08073) §4, AI feedback",
    tables=(
        COMPARISONS,
        THOUGHTS,
    ),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape.of_pairs(
            "soft_preferences",
            "prompt, chosen and rejected, as messages, and the probability that the choice is right",
            ("p",),
        ),
        Shape.of_pairs(
            "principled_preferences",
            "as soft_preferences, with the principle that each choice was made under",
            ("p", "principle"),
        ),
    ),
    recipes={
        "reward": Recipe(reward.Config, reward.train, answers=False),
        "cdpo": Recipe(cdpo.Config, cdpo.train),
        "salmon": Recipe(salmon.Config, salmon.train, answers=False),
        "grpo": Recipe(rl.Config, grpo.train, models={"reward_model": "reward"}),
    },
)
