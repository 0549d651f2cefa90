"""Scores of samples: a reward model's, a judge's marks on aspects, weighed propositions, what a program verifies.

Sources: UltraFeedback (arXiv 2310.01377), four aspects with a mark from 1 to 5 each, whose mean ranks the answers; RAFT
(2304.06767) and RRHF (2304.05302), a reward model's scores; rule-based rewards (2411.01111), see `propositions`; IFEval
(2311.07911), constraints that a program verifies. From the scores come rankings and pairs. Departures:
1. UltraFeedback's judge sees all four answers of a prompt at once. Here each is marked alone: no order can matter, and
   a later answer changes no earlier mark.
2. `marks: expected` reads the mean mark off the judge's probabilities (G-Eval, 2303.16634) without writing: few
   answers tie, and a model that does not explain can be used.
3. Only answers that have a mark on every aspect are ranked against each other.
4. No oracle and no person is a scorer: nano's oracle is for evaluation and never reaches the data.
5. A verifier holds every answer to the same constraints; IFEval's belong to an instruction each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, field_validator

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from prompts import Library, Principle, PromptError
from tasks.engines import Sampling
from tasks.methods.base import MIN_MASS, MethodConfig, choice_limits, read_cut
from tasks.methods.rate.score import NO_SCORE
from tasks.methods.rate.score import parse as parse_mark
from tasks.methods.samples.method import SAMPLE
from tasks.methods.score.propositions import proposition
from tasks.stage import INSTRUCTION, Context, Method, Stage, always, prompt_row
from tasks.step import ParseError, Row, Step, probabilities
from tasks.train.config import Recipe
from tasks.train.recipes.preferences import (
    dpo_norm,
    dpo_sft,
    hindsight,
    kto,
    orpo,
    pro,
    raft,
    rrhf,
    simpo,
)

MARKS = ("1", "2", "3", "4", "5")  # of every aspect; UltraFeedback's
REWARD, VERIFIER = "reward", "verifier"  # aliases of engines whose reply is a score
SCALES = {REWARD: "any number", VERIFIER: "0 to 1"}
NO_REWARD = "no number: a reward model scores; bind the alias `reward` to an engine of that kind"
NUMBER = re.compile(r"-?\d{1,9}\.\d{1,9}")
TARGET = ("target_id", "target")  # the fields of a row's newest text
Aspect = str
# A name, a step, the alias of its model, and further texts in its prompt.
Scorer = tuple[str, Step, str, list[Row]]


class Config(MethodConfig):
    """The scorers and their settings; "paper" is arXiv 2310.01377."""

    answers: bool = False  # also first answers, last revisions and principled ones; RRHF ranks answers of many sources
    reward: bool = False  # the model bound to `reward`, of `engine: reward`
    principles: tuple[str, ...] = ()  # ids of the constitution's, each a score by a reward model that `salmon` made
    verifier: bool = False  # the constraints of `verifier`, of `engine: verifier`
    propositions: dict[str, FiniteFloat] = Field({})  # of prompts/score/propositions.yaml, with their weights
    aspects: tuple[Aspect, ...] = ("helpfulness", "honesty", "instruction_following", "truthfulness")  # paper's four
    marks: Literal["written", "expected"] = "written"  # paper: written
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=256)  # of a written mark and its reason; our choice
    min_mass: float = Field(MIN_MASS, ge=0, le=1)  # of an expected mark: all marks' probability together; our choice

    @field_validator("aspects")
    @classmethod
    def _named(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in aspects if not re.fullmatch("[a-z_]+", one) or one in SCALES]:
            raise ValueError(f"got {wrong[0][:80]!r}, expected a name such as helpfulness, as prompts/score/ has it")
        return tuple(dict.fromkeys(aspects))


SCORES = Table(
    "sample_scores",
    "Scores of samples, one row for each scorer and aspect; the attempt has who scored and how",
    "score",
    (
        INSTRUCTION_ID,
        Column.text("sample_id", "what is scored: a sample, or an answer, a revision or a correction"),
        Column.text("scorer", "reward (a reward model), rating (a judge's mark), propositions, verifier").shown,
        Column.text(
            "aspect", "what it is scored for: helpfulness, …, a proposition; others have one of their name"
        ).shown,
        Column.real("value", "the score, on its scale").shown,
        Column.text("scale", "1 to 5, 0 to 1, 0 to a proposition's weight, or any number").shown,
        Column.text("reason", "the judge's explanation; null where it gave none").optional,
    ),
    text=None,
)


@dataclass(frozen=True)
class Kind:
    """A kind of answer that is scored: the port that its rows come from, and the fields of its id and its text."""

    port: str
    fields: tuple[str, str]
    when: Callable[[Row], bool] = always

    def take(self, row: Row) -> Row:
        """The row with this answer as its sample."""
        return row | dict(zip(SAMPLE, (row[field] for field in self.fields), strict=True))


def check(config: Config, configs: Mapping[str, Any]) -> None:
    """Raises ValueError: there is nothing to score, or no scorer, or principles have no reward model to read them."""
    if "samples" not in configs and not config.answers:
        raise ValueError("score: got no samples to score; add `samples: {}` to the line, or set answers: true")
    if not (config.reward or config.aspects or config.verifier or config.propositions):
        raise ValueError(
            "score: got neither aspects nor reward, propositions or verifier; name an aspect, or set reward: true"
        )
    if config.principles and not config.reward:
        raise ValueError("score.principles: got them without a reward model to read them; set reward: true")


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """Each scorer of each kind of answer; answers of other methods are scored like samples."""
    kinds = {"": Kind("sample", SAMPLE)} if "samples" in context.configs else {}
    if config.answers:
        kinds["first"] = Kind("answer", ("response_id", "response"))
        kinds["last"] = Kind("answer", TARGET, lambda row: row["sample_id"] != row["response_id"])
        if "self_align" in context.configs:
            kinds["principled"] = Kind("principled", TARGET)
    return [
        Stage(
            ".".join(filter(None, ("score", label, name))),
            step,
            after=kind.port,
            model=model,
            take=kind.take,
            when=kind.when,
            needs=(*INSTRUCTION, *dict.fromkeys((*kind.fields, "response_id") if name else kind.fields)),
            texts=texts,
        )
        for name, kind in kinds.items()
        for label, step, model, texts in _scorers(library, config)
    ]


def _scorers(library: Library, config: Config) -> list[Scorer]:
    found: list[Scorer] = [(aspect, mark(library, config, aspect), "judge", []) for aspect in config.aspects]
    known = {one.id: one for one in library.propositions()} if config.propositions else {}
    for id, weight in config.propositions.items():
        if id not in known:
            raise PromptError(
                f"score.propositions: got {id!r}, expected one of {[*known]}; correct it, or add it there"
            )
        text = prompt_row(f"proposition:{id}", known[id].text, known[id].hash)
        found.append((f"proposition.{id}", proposition(library, known[id], weight, config.min_mass), "judge", [text]))
    for alias in named_models(config):
        by_principle = alias == REWARD and config.principles
        found += _principled(library, config) if by_principle else [(alias, counted(library, alias), alias, [])]
    return found


def _principled(library: Library, config: Config) -> list[Scorer]:
    """A score for each principle, by a reward model that reads it."""
    known, found = {one.id: one for one in library.principles()}, list[Scorer]()
    for id in config.principles:
        if id not in known:
            raise PromptError(f"score.principles: got {id!r}, expected one of {[*known]}; correct it, or add it there")
        text = prompt_row(f"principle:{id}:comparison", known[id].criterion, known[id].criterion_hash)
        found.append((f"reward.{id}", counted(library, REWARD, known[id]), REWARD, [text]))
    return found


def mark(library: Library, config: Config, aspect: Aspect) -> Step:
    """Marks a sample on one aspect, from 1 to 5: the judge's written mark, or the mean of the marks it may give."""
    prompt = library.prompt(f"score/{aspect}")

    def read(reply: str, row: Row) -> list[Row]:
        value, reason = parse(reply, aspect)
        return [_score("rating", aspect, value, "1 to 5", reason or None)]

    def expected(reply: str, row: Row) -> list[Row]:
        value = sum(p * number for number, p in enumerate(probabilities(reply), 1))
        return [_score("rating", aspect, value, "1 to 5")]

    chooses = config.marks == "expected"
    return Step(
        name=f"score.{aspect}",
        table="sample_scores",
        prompt=prompt,
        sampling=Sampling() if chooses else config.sampling,
        parents=("instruction_id", "sample_id"),
        variables=lambda row: {"instruction": row["instruction"], "response": row["sample"]},
        read=expected if chooses else read,
        read_cut=read_cut(read),  # the reason may be cut short
        retries=2 if config.sampling.temperature and not chooses else 0,  # at T 0 another seed gives the same reply
        options=prompt.following(*MARKS) if chooses else (),
        **(choice_limits(config.min_mass) if chooses else {}),
    )


def counted(library: Library, scorer: str, principle: Principle | None = None) -> Step:
    """Has a reward model, or a verifier, score a sample: it is sent the whole conversation, and replies with a number;
    with a principle, the conversation as a reward model that follows principles reads it."""
    by = {} if principle is None else {"principle": principle.criterion, "negated": False}

    def read(reply: str, row: Row) -> list[Row]:
        if not NUMBER.fullmatch(reply):
            raise ParseError(NO_REWARD)
        return [_score(scorer, principle.id if principle else scorer, float(reply), SCALES[scorer])]

    return Step(
        name=f"score.{scorer}",
        table="sample_scores",
        prompt=library.prompt("score/principled" if principle else "score/reward"),
        sampling=Sampling(),
        parents=("instruction_id", "sample_id"),
        variables=lambda row: {"instruction": row["instruction"], "answers": [row["sample"]]} | by,
        read=read,
        retries=0,
        key_fields=lambda row: {"principle_hash": principle.criterion_hash} if principle else {},
    )


def parse(reply: str, aspect: Aspect) -> tuple[float, str]:
    """The mark, 1 to 5 (a half is taken), on the first line, and the text after that line.

    Raises:
        ParseError: the line is anything else.
    """
    value, reason = parse_mark(reply, aspect.replace("_", " "))
    if value < 1:
        raise ParseError(NO_SCORE)
    return value, reason


def _score(scorer: str, aspect: Aspect, value: float, scale: str, reason: str | None = None) -> Row:
    return {"scorer": scorer, "aspect": aspect, "value": value, "scale": scale, "reason": reason}


def named_models(config: Config) -> Iterable[str]:
    return [one for one in SCALES if getattr(config, one)]


method = Method(
    "score",
    Config,
    stages,
    models=("judge",),
    named_models=named_models,
    check=check,
    paper="UltraFeedback (arXiv 2310.01377)",
    tables=(SCORES,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape(
            "ranked",
            "a prompt with its answers, the best first, and their scores",
            ("prompt", "responses", "scores"),
            prompt="prompt[1].content",
            answer="responses[1]",
        ),
        Shape.of_messages("best", "an instruction and the best of its answers, as messages"),
        Shape.of_pairs("best_worst", "prompt, chosen (the best answer) and rejected (the worst), as messages"),
        Shape.of_pairs("best_random", "prompt, chosen (the best answer) and rejected (any lower one), as messages"),
    ),
    published=True,
    recipes={
        "raft": Recipe(raft.Config, raft.train),
        "rrhf": Recipe(rrhf.Config, rrhf.train),
        "pro": Recipe(pro.Config, pro.train),
        "dpo_norm": Recipe(dpo_norm.Config, dpo_norm.train),
        "dpo_sft": Recipe(dpo_sft.Config, dpo_sft.train),
        "simpo": Recipe(simpo.Config, simpo.train),
        "orpo": Recipe(orpo.Config, orpo.train),
        "kto": Recipe(kto.Config, kto.train),
        "hindsight": Recipe(hindsight.Config, hindsight.train, words=hindsight.words_hash),
        "tagged": Recipe(hindsight.Config, partial(hindsight.train, recipe="tagged"), words=hindsight.words_hash),
    },
)
