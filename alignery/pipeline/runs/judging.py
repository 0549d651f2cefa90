"""The judge: its check on labelled pairs, comparisons of two models' answers, and the report on both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from alignery.config.preset import Preset
from alignery.pipeline.executor import Executor
from tasks.engines.lazy import open_lazily
from tasks.evaluate import judge, trust
from tasks.stage import prompt_row
from tasks.step import Row
from warehouse import Lake
from warehouse.query import status

Outcomes = dict[str, dict[str, str]]  # dimension → prompt_id → who won: a, b or tie


async def check_judge(preset: Preset, config: judge.Config, executor: Executor) -> list[Row]:
    """The judge on its labelled pairs, a row a dimension: dimension, and what `trust.accuracy` gives; none without.

    Raises:
        JudgeError: it agrees with too few of them.
    """
    if config.check is None:
        return []
    asked = trust.load(config.check.path, config.dimensions)
    verdicts, least = await _verdicts(preset, config, executor, asked), config.check.at_least
    found = [{"dimension": name} | trust.accuracy(asked[name], some, least) for name, some in verdicts.items()]
    trust.require(config.check.path, found)
    return found


async def judge_answers(
    preset: Preset, config: judge.Config, executor: Executor, answers: list[Row], others: list[Row]
) -> tuple[list[Row], dict[str, list[Row]]]:
    """What a judge is asked of a model's answers against another's, and its verdicts by dimension."""
    asked = judge.pairs(answers, others)
    return asked, await _verdicts(preset, config, executor, dict.fromkeys(config.dimensions, asked))


async def _verdicts(
    preset: Preset, config: judge.Config, executor: Executor, asked: Mapping[str, list[Row]]
) -> dict[str, list[Row]]:
    """The verdicts of each dimension on what is asked of it."""
    library, form = preset.library(), preset.form("judge")
    steps = [judge.judge(library, dimension, config).in_form(form) for dimension in asked]
    prompts = [prompt_row(step.prompt.id, step.prompt.source, step.prompt.hash) for step in steps]
    await asyncio.to_thread(executor.run.add_prompts, prompts)
    async with open_lazily(preset.spec("judge"), executor.lake.logs) as engine:
        return {
            dimension: await executor.run_batch(step, asked[dimension], engine)
            for dimension, step in zip(asked, steps, strict=True)
        }


async def judge_model(
    preset: Preset,
    config: judge.Config,
    executor: Executor,
    models: Sequence[str],
    answers: tuple[list[Row], list[Row]],
    before: list[Outcomes],
) -> list[Row]:
    """The report on a model, a row a dimension: dimension, shares_base, and what `judge.report` gives.

    Args:
        models: its identity, or those of the parts of a stack.
        answers: the model's, and those it is compared with.
        before: of the models that were judged against the same answers before; this one's are appended.
    """
    asked, verdicts = await judge_answers(preset, config, executor, *answers)
    shares_base = await asyncio.to_thread(judge_shares_base, preset, executor.lake, models)
    found = [
        {"dimension": name, "shares_base": shares_base} | judge.report(asked, some, [one[name] for one in before])
        for name, some in verdicts.items()
    ]
    before.append({name: judge.outcomes(asked, some) for name, some in verdicts.items()})
    return found


def judge_shares_base(preset: Preset, lake: Lake, models: Sequence[str]) -> bool:
    """Whether the judge and one of these models (identities) are the same, or have the same base model."""
    below = {row["id"]: row["base_id"] for row in status.models(lake)}
    judge, *families = [{one, *ancestors(one, below)} for one in (preset.spec("judge").identity(), *models)]
    return any(trust.shares_base(judge, family) for family in families)


def ancestors(model: str, below: Mapping[str, str]) -> list[str]:
    """The models that one was trained from, its own base first; `below` says of each what that is."""
    found: list[str] = []
    while (above := below.get(found[-1] if found else model)) and above not in found:
        found.append(above)
    return found
