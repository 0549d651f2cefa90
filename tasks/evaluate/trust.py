"""How far a judge can be trusted: labelled pairs, and whether it judges related models.

A judge with a check decides nothing unless it agrees often enough with a file of pairs whose better answer is known.
Self-preference: models recognise and prefer their own answers (arXiv 2404.13076), so a judge that is the model it
judges, or was trained from the same one, is warned about.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from alignery.errors import AligneryError
from alignery.hashing import digest
from alignery.textfiles import read_jsonl
from alignery.untrusted import excerpt
from alignery.validation import Filled, validated
from tasks.evaluate import held_out, judge
from tasks.evaluate.gate import lost_verdicts
from tasks.evaluate.held_out import HeldOutError
from tasks.step import Row

SELF_PREFERENCE = (
    "the judge is the model that it judges, or has the same base model, and may prefer its own answers "
    "(self-preference); bind another model to the alias judge"
)


class JudgeError(AligneryError):
    """The judge did not pass its own check, so its verdicts decide nothing."""


class _Labelled(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: Filled
    chosen: Filled
    rejected: Filled
    dimension: Filled | None = None


def load(path: Path, dimensions: Collection[str]) -> dict[str, list[Row]]:
    """The requests of a judge's check, by dimension: the rows of `judge.pairs`, `a` being the chosen answer.

    Args:
        path: one {"prompt", "chosen", "rejected"} a line; with a "dimension", it is only for that one.
        dimensions: the judge's.

    Raises:
        HeldOutError: no pairs of a dimension, a line that is not such an object, or two equal answers.
        TextFileError: no file, or one that is not JSON Lines.
    """
    pairs: dict[str, dict[str, tuple[Row, Row]]] = {dimension: {} for dimension in dimensions}
    for number, value in read_jsonl(path):
        where = f"{path}: line {number}"
        found = validated(_Labelled, value, where, HeldOutError)
        if found.dimension and found.dimension not in pairs:
            got = excerpt(repr(found.dimension), 80)
            raise HeldOutError(f"{where}: dimension: got {got}, expected one of the judge's, {list(pairs)}; correct it")
        if found.chosen == found.rejected:
            raise HeldOutError(f"{where}: rejected: got the same answer as chosen; drop the pair, it shows nothing")
        id = digest(found.prompt, found.chosen, found.rejected)
        for dimension in [found.dimension] if found.dimension else pairs:
            pairs[dimension][id] = _answer(id, found, found.chosen), _answer(id, found, found.rejected)
    if empty := [dimension for dimension, some in pairs.items() if not some]:
        raise HeldOutError(f"{path}: got no pairs for {empty[0]}, expected at least one; add some, or drop the check")
    return {dimension: judge.pairs(*zip(*some.values(), strict=True)) for dimension, some in pairs.items()}


def _answer(pair: str, found: _Labelled, text: str) -> Row:
    return {"prompt_id": pair, "prompt": found.prompt, "id": digest(pair, text), "text": text}


def accuracy(asked: Sequence[Row], verdicts: Sequence[Row], at_least: float) -> Row:
    """How often the judge prefers the chosen answer: both orders must agree, a tie counts a half, and a verdict that
    was not read counts as one for the rejected answer.

    Returns:
        {pairs, accuracy, low, high (95 %, Wilson), at_least, passed}.
    """
    won = judge.outcomes(asked, [*verdicts, *lost_verdicts(asked, verdicts)])
    share = sum(judge.WORTH[outcome] for outcome in won.values()) / len(won)
    low, high = held_out.interval(share, len(won))
    return {
        **{"pairs": len(won), "accuracy": share, "low": low, "high": high},
        **{"at_least": at_least, "passed": share >= at_least},
    }


def figures(suite: str, checked: Sequence[Row]) -> list[Row]:
    """Rows of `accuracy`, each with its dimension, as rows {suite, metric, value, count} of the `evals` table."""
    return [
        {
            "suite": f"{suite}, labelled pairs",
            "metric": f"{row['dimension']}_accuracy",
            "value": row["accuracy"],
            "count": row["pairs"],
        }
        for row in checked
    ]


def require(path: Path, checked: Sequence[Row]) -> None:
    """Raises JudgeError where a dimension's accuracy, a row of `accuracy` with its `dimension`, is too low."""
    for row in checked:
        if not row["passed"]:
            raise JudgeError(
                f"{path}: on {row['pairs']} labelled pairs the judge prefers the {row['dimension']} answer in "
                f"{row['accuracy']:.2f} ({row['low']:.2f} to {row['high']:.2f}), below evaluate.judge.check.at_least "
                f"{row['at_least']:g}; nothing was decided: bind a better model to the alias judge, or fix the pairs"
            )


def shares_base(judge: Collection[str], model: Collection[str]) -> bool:
    """Whether a judge and a model are the same or have the same base model.

    Args:
        judge, model: identities of each and of the models that it was trained from.
    """
    return not set(judge).isdisjoint(model)
