"""A model's, or a stack's, answers to the held-out prompts of a preset and of its suites."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alignery.config.preset import Preset
from alignery.config.schema import Evaluate
from alignery.pipeline.executor import Executor
from alignery.pipeline.stack import Stack, corrected, rewritten
from tasks.engines import Engine
from tasks.engines.lazy import open_lazily
from tasks.engines.specs import EngineSpec
from tasks.evaluate import held_out
from tasks.evaluate.gate import Score
from tasks.evaluate.suites.suite import Suite
from tasks.evaluate.suites.suite import load as load_suite
from tasks.stage import prompt_row
from tasks.step import Row


@dataclass(frozen=True)
class Answered:
    """The suites, and one model's answers to them: rows {prompt_id, prompt, suite, text}."""

    model: str
    suites: list[Suite]
    answers: list[Row]

    @property
    def prompts(self) -> list[Row]:
        """Rows {prompt_id, kind, prompt} of all suites."""
        return [row for suite in self.suites for row in suite.prompts]

    @property
    def compared(self) -> list[Row]:
        """The answers that a judge compares: those of the suites that it judges."""
        judged = {suite.name for suite in self.suites if suite.kind == "judge"}
        return [row for row in self.answers if row["suite"] in judged]

    def scored(self) -> dict[str, dict[str, float]]:
        """Every prompt's figures: prompt_id → metric as the gate's axes name it → 0 to 1."""
        return {id: figures for suite in self.suites for id, figures in suite.scored(self.answers).items()}


def suites_of(preset: Preset, config: Evaluate, spec: EngineSpec) -> list[Suite]:
    """The preset's own held-out prompts, where it has any, and the suites that it names, for a model of that form."""
    library, (score, better) = preset.library(), oracle(config.oracle)

    def by_oracle(row: Row, answer: str) -> Mapping[str, float]:
        return score(row["prompt"], answer)

    found = []
    if config.prompts:
        name, prompts = config.prompts.stem, held_out.load(config.prompts)
        step = held_out.answer(library, config.sampling, name).in_form(spec.prompt_form)
        found.append(
            Suite(name, "judge" if config.judge else "oracle", prompts, lambda row: step, by_oracle, better, True)
        )
    for each in config.suites:
        found.append(load_suite(each, library, config.sampling, spec.prompt_form, by_oracle, better))
    return found


async def answer_prompts(
    preset: Preset, config: Evaluate, executor: Executor, spec: EngineSpec, stack: Stack | None = None
) -> Answered:
    """A model's answers to the preset's held-out prompts and suites; answered requests are not sent again.

    Args:
        stack: whose generator the model is; its rewriter rewrites the prompts, and its Aligners correct the answers.
    """
    suites = suites_of(preset, config, spec)
    prompts = {prompt.hash: prompt for suite in suites for prompt in [suite.step(suite.prompts[0]).prompt]}
    rows = [prompt_row(one.id, one.source, one.hash) for one in prompts.values()]
    await asyncio.to_thread(executor.run.add_prompts, rows)
    # The answers to others are probabilities of options, which nothing corrects.
    written = [suite for suite in suites if not suite.step(suite.prompts[0]).options]
    asked = {suite.name: suite.prompts for suite in suites}
    if stack and stack.before:
        asked |= {suite.name: await rewritten(executor, stack, suite.prompts) for suite in written}
    async with open_lazily(spec, executor.lake.logs) as engine:
        answers = {suite.name: await _answers(executor, suite, asked[suite.name], engine) for suite in suites}
        identity = engine.identity
    if stack and stack.is_more:
        identity = stack.identity()
    if stack and stack.stages:
        for suite in written:
            answers[suite.name] = await corrected(executor, stack, answers[suite.name])
    return Answered(identity, suites, [row for suite in suites for row in answers[suite.name]])


async def _answers(executor: Executor, suite: Suite, prompts: Sequence[Row], engine: Engine) -> list[Row]:
    """The records of a suite's answers, in the order of its prompts, not of completion."""
    found: dict[str, Row] = {}

    async def one(row: Row) -> None:
        found.update((record["prompt_id"], record) for record in await executor.apply(suite.step(row), row, engine))

    async def work() -> None:
        await executor.gather(*(one(row) for row in prompts))

    await executor.chunk(f"evaluate {suite.name} × {len(prompts)}", work)
    return [found[row["prompt_id"]] for row in prompts if row["prompt_id"] in found]


def oracle(name: Literal["nano"] | None) -> tuple[Score, dict[str, str]]:
    """An oracle and, in the order to show them, which way each of its metrics is better. There is one so far.

    Without one nothing is scored: a judge compares.
    """
    if name is None:
        return (lambda prompt, answer: {}), {}
    from nano.oracle import METRICS, score

    return score, dict(METRICS)
