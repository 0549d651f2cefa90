"""A pairwise judge: which of two answers is better, in both orders, and the report on all verdicts.

Sources: FastChat's llm_judge (arXiv 2306.05685), AlpacaEval, Aligner (arXiv 2402.02416), AlpaGasus (arXiv 2307.08701).
As in llm_judge: both orders, a win only where both agree and else a tie, T 0, 2,048 tokens, the verdict as [[A]], [[B]]
or [[C]] after a comparison, replies without one excluded. The verdict is read from text and not from the probabilities
of two labels (AlpacaEval 2): it can be a tie, it comes with its reasons, every chat server can give it, and a
reply without one is noticed. Helpful and harmless are judged apart, by a prompt each, as in Aligner. Departures:
1. The verdict is the last line's, as the prompt asks. Without one there, a reply with two different verdicts is
   unparsed; llm_judge takes the first that it looks for, which is A.
2. A single letter is a verdict too: nano was trained to write only that.
3. A pair counts only if both of its orders were read; the others are counted as excluded.
4. Two answers of the same words are a tie; no request is sent for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alignery.validation import ExistingFile
from prompts import Library
from tasks.engines import Sampling
from tasks.evaluate import exact, length_control
from tasks.methods.base import MethodConfig
from tasks.step import ParseError, Row, Step

ORDERS = ("a", "b")  # which of the two is shown first
NOT_ASKED = "The judge was not asked: the two answers are the same.\n[[C]]"
_VERDICT = re.compile(r"\[\[([ABC])\]\]")
AGAINST_BASE = ", against base"  # ends the suite's name of figures that compare
_END = 0.025  # the chance that an end of an interval is wrong: 95 % for both
WORTH = {"a": 1.0, "tie": 0.5, "b": 0.0}  # of an outcome, to a


class Check(BaseModel):
    """Pairs whose better answer is known, which a judge must agree with: see `tasks.evaluate.trust`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: ExistingFile
    at_least: float = Field(gt=0.5, le=1, description="share of the pairs, a tie counting a half")


class Config(MethodConfig):
    """The judge's settings."""

    dimensions: tuple[str, ...] = ("helpful", "harmless")  # Aligner: the same; each names a prompt of prompts/judge/
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=2048)  # llm_judge: the same
    check: Check | None = Field(default=None, description="what the judge must pass before it decides anything")

    @field_validator("dimensions")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(re.fullmatch("[a-z]+", name) for name in value):
            raise ValueError(f"got {list(value)}, expected names of prompts in prompts/judge/, such as helpful")
        return value


def pairs(a: Sequence[Row], b: Sequence[Row]) -> list[Row]:
    """The requests that judge two sets of answers to the same prompts: each pair in both orders.

    Args:
        a, b: rows {id, prompt_id, prompt, text}, at most one a prompt; a prompt with only one answer is left out.

    Returns:
        Rows {prompt_id, prompt, a_id, b_id, a, b, first}, `first` being "a" or "b".
    """
    others = {row["prompt_id"]: row for row in b}
    return [
        {
            "prompt_id": one["prompt_id"],
            "prompt": one["prompt"],
            "a_id": one["id"],
            "b_id": other["id"],
            "a": one["text"],
            "b": other["text"],
            "first": first,
        }
        for one in a
        if (other := others.get(one["prompt_id"]))
        for first in ORDERS
    ]


def judge(library: Library, dimension: str, config: Config) -> Step:
    """Judges one pair in one order on a dimension (`helpful`, `harmless`: a prompt of `prompts/judge/` each).

    The attempt holds the judge's text, the record who was shown first and who won.
    """

    def read(reply: str, row: Row) -> list[Row]:
        return [{"dimension": dimension, "first": row["first"], "winner": _winner(parse(reply), row["first"])}]

    return Step(
        name=f"judge.{dimension}",
        table="verdicts",
        prompt=library.prompt(f"judge/{dimension}"),
        sampling=config.sampling,
        parents=("prompt_id", "a_id", "b_id"),
        variables=lambda row: {
            "instruction": row["prompt"],
            "response_a": row[row["first"]],
            "response_b": row[_other(row["first"])],
        },
        read=read,
        key_fields=lambda row: {"first": row["first"]},
        known_reply=lambda row: NOT_ASKED if same_answers(row) else None,
        retries=2 if config.sampling.temperature else 0,  # at T 0 another seed gives the same reply
    )


def same_answers(row: Row) -> bool:
    """Whether the two answers of a pair are the same."""
    return bool(row["a"] == row["b"])


def parse(reply: str) -> str:
    """The verdict of a reply, "A", "B" or "C" (tie), by position and not by model.

    Raises:
        ParseError: there is none, or two different ones.
    """
    last = reply.strip().rpartition("\n")[2]
    alone = {one[1] for line in reply.splitlines() if (one := _VERDICT.fullmatch(line.strip(" *_.")))}
    found = {*alone, *_VERDICT.findall(last)} or set(_VERDICT.findall(reply)) or {reply.strip().strip("*_.[]()\"'` ")}
    if len(found) != 1 or not found < set("ABC"):
        raise ParseError("no verdict" if len(found) == 1 else "two different verdicts")
    return found.pop()


def report(asked: Sequence[Row], verdicts: Sequence[Row], others: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The report on one dimension's verdicts on `a` against `b`.

    Args:
        asked: the rows of `pairs`.
        verdicts: the records of `judge`, {a_id, b_id, first, winner}; one that was not read is not there.
        others: `outcomes` of other models against the same `b`, which say how difficult a prompt is.

    Returns:
        pairs, excluded (a verdict missing), alike (both answers the same, a tie without a request;
        in no figure of the judge's own), win, tie, lose (of a, over all but the excluded); w = (win - lose) / all
        (Aligner); ws = w + 1 (AlpaGasus); win_rate, a tie counting a half; low and high, the 95 % interval of w;
        lc_win_rate, length-controlled, with lc_low and lc_high; first_rate (of the verdicts that name a winner, those
        for the answer shown first; a fair judge has 0.5); consistency (pairs whose two orders agree, ties included);
        bias, pairs whose first answer won in both orders less those whose second did, over all, with bias_low and
        bias_high; chars_a and chars_b (mean length in characters). Figures without a case are None.
    """
    both = _winners(asked, verdicts)
    judged = [(row, winners) for row, winners in both if None not in winners]
    won = outcomes(asked, verdicts)
    win, tie, lose = (list(won.values()).count(outcome) for outcome in ("a", "tie", "b"))
    w = (win - lose) / len(won) if won else None
    given = [winners for row, winners in judged if not same_answers(row)]
    led = [one == first for winners in given for one, first in zip(winners, ORDERS, strict=True) if one != "tie"]
    # Both orders, ("a", "b"), were won by the first position, or both by the second.
    places = [float(tuple(winners) == ORDERS) - float(tuple(winners) == ORDERS[::-1]) for winners in given]
    return {
        "pairs": len(both),
        "excluded": len(both) - len(judged),
        "alike": sum(same_answers(row) for row, _ in both),
        **{"win": win, "tie": tie, "lose": lose},
        **{"w": w, "ws": None if w is None else w + 1, "win_rate": None if w is None else (w + 1) / 2},
        **_named(("low", "high"), interval([1.0] * win + [-1.0] * lose + [0.0] * tie)),
        **_named(("lc_win_rate", "lc_low", "lc_high"), _length_controlled([row for row, _ in judged], won, others)),
        "first_rate": _mean(led),
        "consistency": _mean([winners[0] == winners[1] for winners in given]),
        **_named(("bias", "bias_low", "bias_high"), (_mean(places), *(interval(places) or (None, None)))),
        "chars_a": _mean([len(row["a"]) for row, _ in judged]),
        "chars_b": _mean([len(row["b"]) for row, _ in judged]),
    }


def _length_controlled(
    judged: Sequence[Row], won: Mapping[str, str], others: Sequence[Mapping[str, str]]
) -> tuple[float, float, float] | None:
    if not judged:
        return None
    ids = [row["prompt_id"] for row in judged]
    scores = [{id: WORTH[outcome] for id, outcome in found.items()} for found in (won, *others)]
    longer = [len(row["a"]) - len(row["b"]) for row in judged]
    return length_control.win_rate([scores[0][id] for id in ids], longer, length_control.difficulties(scores[1:], ids))


def _named(names: Sequence[str], values: Sequence[float | None] | None) -> dict[str, float | None]:
    return dict(zip(names, values or [None] * len(names), strict=True))


def outcomes(asked: Sequence[Row], verdicts: Sequence[Row]) -> dict[str, str]:
    """Who won each prompt: prompt_id → "a", "b" or "tie". A prompt with a verdict missing is left out."""
    return {
        row["prompt_id"]: one if one == other else "tie"
        for row, (one, other) in _winners(asked, verdicts)
        if one is not None and other is not None
    }


def unanswered_outcomes(prompts: Sequence[Row], a: Sequence[Row], b: Sequence[Row]) -> dict[str, str]:
    """Who wins the prompts that no judge sees, because one of the two gave no answer, or neither: a tie."""
    both = [{row["prompt_id"] for row in answers} for answers in (a, b)]
    names = {(True, False): "a", (False, True): "b", (False, False): "tie"}
    answered = {id: (id in both[0], id in both[1]) for id in (row["prompt_id"] for row in prompts)}
    return {id: names[sides] for id, sides in answered.items() if sides in names}


def _winners(asked: Sequence[Row], verdicts: Sequence[Row]) -> list[tuple[Row, list[str | None]]]:
    """Each pair, and who won it in the two orders; None where no verdict was parsed."""
    winner_of = {(row["a_id"], row["b_id"], row["first"]): row["winner"] for row in verdicts}
    pairs = {(row["a_id"], row["b_id"]): row for row in asked}
    return [(row, [winner_of.get((*pair, first)) for first in ORDERS]) for pair, row in pairs.items()]


def figures(suite: str, found: Row) -> list[Row]:
    """A report as rows {suite, metric, value, count} of the `evals` table; its dimension leads the metric's name."""
    names = (
        *("w", "low", "high", "win_rate", "lc_win_rate", "lc_low", "lc_high"),
        *("first_rate", "consistency", "bias", "chars_a", "chars_b"),
    )
    suite, count = f"{suite}{AGAINST_BASE}", found["pairs"] - found["excluded"]
    rows = [(name, found[name]) for name in names if found[name] is not None]
    rows.append(("excluded", float(found["excluded"])))
    return [
        {"suite": suite, "metric": f"{found['dimension']}_{name}", "value": value, "count": count}
        for name, value in rows
    ]


def interval(changes: Sequence[float]) -> tuple[float, float] | None:
    """The exact 95 % interval of a mean of paired differences, from -1 to 1; None where there is no case."""
    return exact.interval(changes, _END) if changes else None


def _other(name: str) -> str:
    return "b" if name == "a" else "a"


def _winner(verdict: str, first: str) -> str:
    return {"A": first, "B": _other(first), "C": "tie"}[verdict]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
