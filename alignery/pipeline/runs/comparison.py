"""One model's answers against another's: both models' figures on each axis, prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignery.config.preset import Preset
from alignery.pipeline.executor import Executor
from alignery.pipeline.runs.answering import Answered
from alignery.pipeline.runs.judging import judge_answers
from alignery.pipeline.runs.people import with_people
from tasks.evaluate.gate import by_axis, by_judge, lost_verdicts
from tasks.evaluate.judge import outcomes, unanswered_outcomes
from tasks.step import Row


@dataclass(frozen=True)
class Compared:
    """Both models' figures, as `per_prompt` gives them, how many prompts people judged, and how many of a judge's
    verdicts were lost."""

    before: Mapping[str, Row]
    after: Mapping[str, Row]
    marked: int
    lost: int = 0


async def compared(
    preset: Preset, executor: Executor, prompts: Sequence[Row], old: Answered, new: Answered
) -> Compared:
    """The figures of these prompts: an oracle's or a judge's, with people's verdicts."""
    assert preset.evaluate is not None
    ids, policy = {row["prompt_id"] for row in prompts}, preset.gate
    if not preset.evaluate.oracle:  # the other axes are an oracle's
        policy = policy.model_copy(update={"axes": policy.of_suites})
    scored = [
        by_axis(policy, {id: figures for id, figures in side.scored().items() if id in ids}) for side in (old, new)
    ]
    if preset.evaluate.oracle or preset.evaluate.judge is None:
        before, after = ([row for row in side.answers if row["prompt_id"] in ids] for side in (old, new))
        return Compared(*with_people(preset, executor.lake, (scored[0], scored[1]), before, after))
    before, after = ([row for row in side.compared if row["prompt_id"] in ids] for side in (old, new))
    prompts = [row for suite in old.suites if suite.kind == "judge" for row in suite.prompts if row["prompt_id"] in ids]
    asked, verdicts_by = await judge_answers(preset, preset.evaluate.judge, executor, after, before)
    unanswered, won, lost = unanswered_outcomes(prompts, after, before), {}, 0
    for axis, verdicts in verdicts_by.items():
        missing = lost_verdicts(asked, verdicts)
        won[axis], lost = unanswered | outcomes(asked, [*verdicts, *missing]), lost + len(missing)
    old_side, new_side, marked = with_people(preset, executor.lake, by_judge(won), before, after)
    return Compared({**old_side, **scored[0]}, {**new_side, **scored[1]}, marked, lost)
