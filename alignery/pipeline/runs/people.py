"""How people's marks affect a promotion: see `tasks.review.weigh`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from alignery.config.preset import Preset
from alignery.hashing import digest
from alignery.pipeline.marks.agreement import by_judge, of_pairs, on_pair
from tasks.evaluate import held_out_stack
from tasks.evaluate.gate import Decision
from tasks.review.weigh import distrust, mean_worth, weighed
from tasks.step import Row
from warehouse import Lake
from warehouse.marks import agreement as read

Figures = Mapping[str, Row]
_ANSWERS = ("eval_answers", *(table.name for table in held_out_stack.TABLES))  # a stack's answer may be a correction


def verdicts(lake: Lake) -> list[Row]:
    """People's verdicts on pairs of models' answers."""
    return [row for row in read.verdicts(lake) if row["other_id"] and row["target_table"] in _ANSWERS]


def state(preset: Preset, lake: Lake) -> str | None:
    """A hash of people's verdicts: a change of it leads to a new decision. None if the gate uses no verdicts."""
    return digest(verdicts(lake)) if preset.gate.marks else None


def with_people(
    preset: Preset, lake: Lake, figures: tuple[Figures, Figures], old: Sequence[Row], new: Sequence[Row]
) -> tuple[Figures, Figures, int]:
    """Both models' figures with people's verdicts on their answers in them, and on how many prompts there are some.

    Args:
        figures: the incumbent's and the candidate's.
        old, new: their answers: id, prompt_id.
    """
    if not preset.gate.marks:
        return *figures, 0
    people, answers = of_pairs(verdicts(lake)), {row["prompt_id"]: row["id"] for row in old}
    pairs = [(row["prompt_id"], row["id"], answers[row["prompt_id"]]) for row in new if row["prompt_id"] in answers]
    worth = {
        axis: {
            prompt: mean_worth(pair_verdicts)
            for prompt, a, b in pairs
            if (pair_verdicts := on_pair(people, a, b, axis))
        }
        for axis in figures[1]
    }
    marked = len({prompt for by_prompt in worth.values() for prompt in by_prompt})
    return *weighed(*figures, worth, preset.gate.marks.weight), marked


def explained(preset: Preset, lake: Lake, decision: Decision, marked: int) -> Decision:
    """The decision with the figures of people's marks; kept back if the judge is not shown to agree with them by the
    gate's floor."""
    if not preset.gate.marks:
        return decision
    counted = f"people's verdicts on {marked} prompts count in it, with a weight of {preset.gate.marks.weight:g}"
    decision = replace(decision, reasons=(*decision.reasons, counted))
    floor, judge = preset.gate.marks.floor, preset.evaluate.deciding_judge if preset.evaluate else None
    return _held_back(preset, lake, decision, judge.dimensions, floor) if floor and judge else decision


def _held_back(preset: Preset, lake: Lake, decision: Decision, axes: Collection[str], floor: float) -> Decision:
    judge, marks = preset.spec("judge").identity(), verdicts(lake)
    found = {
        row["dimension"]: row
        for row in by_judge(read.judged(lake), marks)
        if (row["source"], row["judge"]) == ("verdict", judge)
    }
    why = [reason for axis in axes if (reason := distrust(axis, floor, found.get(axis)))]
    if not why:
        return decision
    whole, *others = decision.reasons
    first = f"not promoted: {why[0]}" if decision.promoted else whole
    more = why[1:] if decision.promoted else why
    return replace(decision, promoted=False, reasons=(first, *others, *more))
