"""Answers to held-out prompts, and their figures.

A prompt without an accepted answer (empty, cut short, refused by the engine) counts as the empty answer: it
lowers the score and stays in every mean, and the figure `answered` tells how many prompts had one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from alignery.errors import UsageError
from alignery.textfiles import read_jsonl
from alignery.untrusted import excerpt
from alignery.validation import Filled, validated
from prompts import Form, Library, Prompt
from tasks.engines import Sampling
from tasks.step import Row, Step


class HeldOutError(UsageError):
    """A held-out file is wrong; the message names file, line and field."""


class HeldOutPrompt(BaseModel):
    """A line of a held-out file."""

    model_config = ConfigDict(extra="forbid")

    id: Filled
    kind: Filled
    prompt: Filled


def load(path: Path) -> list[Row]:
    """The prompts of a held-out file, one {"id", "kind", "prompt"} a line, as rows for `answer`.

    Returns:
        Rows {prompt_id, kind, prompt}, in the file's order.

    Raises:
        HeldOutError, TextFileError: as `checked`; no file, or one that is not JSON Lines.
    """
    return checked(read_jsonl(path), str(path), HeldOutPrompt)


def checked(lines: Iterable[tuple[int, Any]], source: str, model: type[HeldOutPrompt]) -> list[Row]:
    """Lines of that model as rows {prompt_id, kind, prompt, …}.

    Args:
        lines: number and value of each.
        source: names them in errors.

    Raises:
        HeldOutError: no prompts, a line that is not such an object, or a duplicate id.
    """
    rows: dict[str, Row] = {}
    for number, value in lines:
        where = f"{source}: line {number}"
        found = validated(model, value, where, HeldOutError)
        if found.id in rows:
            raise HeldOutError(f"{where}: id: got {excerpt(found.id, 80)!r} again; give each prompt its own")
        rows[found.id] = {"prompt_id": found.id} | found.model_dump(mode="json", exclude={"id"})
    if not rows:
        raise HeldOutError(f"{source}: got no prompts, expected at least one line with {list(model.model_fields)}")
    return list(rows.values())


def answer(library: Library, sampling: Sampling, suite: str, cut: bool = False) -> Step:
    """The step that answers held-out prompts, just as an instruction is answered (`respond/answer`).

    Args:
        suite: the name of the set of prompts; an answer belongs to one suite.
        cut: an answer that reached max_tokens counts as it is; else as none.
    """

    def read(reply: str, row: Row) -> Sequence[Row]:
        return [{"suite": suite, "prompt": row["prompt"], "text": reply.strip()}]

    return Step(
        name="evaluate.answer",
        table="eval_answers",
        prompt=library.prompt("respond/answer"),
        sampling=sampling,
        parents=("prompt_id",),
        variables=lambda row: {"instruction": row.get("asked", row["prompt"])},  # asked: as a rewriter put it
        read=read,
        read_cut=read if cut else None,
        next_row=lambda row, record: record,
        # An edited prompt is asked again, whatever its id.
        key_fields=lambda row: {"prompt": row["prompt"]} | ({"asked": row["asked"]} if "asked" in row else {}),
        config={"suite": suite},
        retries=0,
    )


def choice(
    prompt: Prompt,
    sampling: Sampling,
    suite: str,
    options: Sequence[str],
    form: Form,
    variables: Callable[[Row], Mapping[str, Any]] = lambda row: {"instruction": row["prompt"]},
) -> Step:
    """The step that requests the probability of each of a prompt's options; its text is for `probabilities`."""
    return Step(
        name="evaluate.choose",
        table="eval_answers",
        prompt=prompt,
        sampling=sampling,
        parents=("prompt_id",),
        variables=variables,
        read=lambda reply, row: [{"suite": suite, "prompt": row["prompt"], "text": reply}],
        next_row=lambda row, record: record,
        key_fields=lambda row: {"prompt": row["prompt"]},
        config={"suite": suite},
        retries=0,
        options=prompt.following(*options),
    ).in_form(form)


def compare(before: Sequence[Row], after: Sequence[Row], better: Mapping[str, str]) -> list[Row]:
    """Two models' figures side by side.

    Args:
        before: rows {metric, value, count} of one suite.
        after: the same of the other model.
        better: metric → "higher" or "lower"; gives the order, and what is not named comes last and is not judged.

    Returns:
        Rows {metric, before, after, low, high, better}: low and high the 95 % interval of `after`; `better` None
        when the metric is not judged, exists on one side only, did not change, or applied to other prompts.
    """
    old, new = ({row["metric"]: row for row in rows} for rows in (before, after))
    order = [metric for metric in better if metric in old or metric in new]
    order += [metric for metric in (old | new) if metric not in better]
    return [_compared(metric, old.get(metric), new.get(metric), better.get(metric)) for metric in order]


def _compared(metric: str, old: Row | None, new: Row | None, direction: str | None) -> Row:
    low, high = interval(new["value"], new["count"]) if new else (None, None)
    judged: bool | None = None
    # A metric that applied to other prompts before and after (its count says so) compares nothing.
    if old and new and direction and old["value"] != new["value"] and old["count"] == new["count"]:
        judged = (new["value"] > old["value"]) == (direction == "higher")
    values: dict[str, Any] = {"before": old["value"] if old else None, "after": new["value"] if new else None}
    return {"metric": metric, **values, "low": low, "high": high, "better": judged}


def interval(value: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a mean of `count` figures between 0 and 1 (95 % at z = 1.96).

    For shares it is Wilson's own; for graded figures it is wider than need be, as their variance is at most a share's.
    """
    centre = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(value * (1 - value) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)
