"""Evaluation: the oracle on held-out prompts, or a judge, for the base model and each model trained from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from alignery import effects
from alignery.config.preset import Preset, PresetError
from alignery.config.schema import Evaluate
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from tasks.engines import Engine
from tasks.engines.lazy import open_lazily
from tasks.engines.specs import EngineSpec, ScriptedSpec
from tasks.evaluate import held_out, judge
from tasks.evaluate.gate import Policy, Score, by_axis
from tasks.evaluate.plot import Figure, dots
from tasks.evaluate.suites.inspect_log import inspect_log, log_name
from tasks.evaluate.suites.suite import Suite
from tasks.evaluate.suites.suite import load as load_suite
from tasks.step import Row
from warehouse import Lake
from warehouse.query import status


@dataclass(frozen=True)
class Evaluation:
    """One model's figures: rows of metric, value (0 to 1) and count."""

    label: str  # "base", or the recipe that made it
    path: str
    figures: list[Row]
    better: dict[str, str]  # metric → "higher" or "lower"
    judged: list[Row] = field(default_factory=list)  # against the base: dimension, and what `judge.report` gives
    axes: dict[str, Figure] = field(default_factory=dict)  # of the gate: axis → value (0 to 1) and its 95 % interval


def draw(evaluations: Sequence[Evaluation], folder: Path) -> list[Path]:
    """The pictures of an evaluation: `evaluation.svg` has the axes by the oracle, `judged.svg` Aligner's w."""
    scored = {e.label: e.axes for e in evaluations if e.axes}
    judged = {e.label: _w(e.judged) for e in evaluations if _w(e.judged)}
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, title, models, span in (
        ("evaluation.svg", "Held-out prompts, 95 % intervals", scored, (0.0, 1.0)),
        ("judged.svg", "(wins - losses) / all against the base model", judged, (-1.0, 1.0)),
    ):
        # One of an evaluation before is none of this one.
        with effects.PICTURE_WRITE:
            (folder / name).unlink(missing_ok=True)
            if models:
                (folder / name).write_text(dots(title, models, span), encoding="utf-8")
                drawn.append(folder / name)
    return drawn


def _w(judged: Sequence[Row]) -> dict[str, Figure]:
    return {row["dimension"]: (row["w"], row["low"], row["high"]) for row in judged if row["w"] is not None}


async def evaluate_models(
    preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline, logs: Path | None = None
) -> list[Evaluation]:
    """The evaluation itself, with or without Prefect. Answers that the lake has are not asked for again.

    Args:
        logs: a folder for logs that `inspect view` opens, one for each model and suite.

    Raises:
        PresetError: the preset has no `evaluate` section.
    """
    if preset.evaluate is None:
        raise PresetError(f"preset {preset.name}: got no 'evaluate' section; give it prompts and a judge")
    evaluations: list[Evaluation] = []
    base: list[Row] = []
    with Run(lake, "evaluate", preset) as run:
        for label, spec in _chain(preset, lake):
            with StepProgress() as progress:
                executor = Executor(lake, run, progress, runner, reject_limit=1.0)
                evaluation, found = await _evaluate_one(preset, preset.evaluate, executor, label, spec, base)
            evaluations.append(evaluation)
            base = base or found.compared
            if logs:
                await asyncio.to_thread(_write_logs, logs, label, found)
        run.end("finished", {e.label: {f["metric"]: f["value"] for f in e.figures} for e in evaluations})
    return evaluations


def _chain(preset: Preset, lake: Lake) -> list[tuple[str, EngineSpec]]:
    """The base model, then of each recipe that makes a model which answers the newest one made from that base."""
    base = preset.spec("generator")
    there = [row for row in status.models(lake) if Path(row["path"]).is_dir()]
    identity, below = base.identity(), {row["id"]: row["base_id"] for row in there}
    newest = {row["recipe"]: row for row in there if identity in _ancestors(row["id"], below)}
    order = preset.retrain.order() if preset.retrain else list(newest)
    answering = [recipe for recipe in order if recipe in newest and preset.registry.recipes[recipe].answers]
    models = [(recipe, base.model_copy(update={"model": newest[recipe]["path"]})) for recipe in answering]
    return [("base", base), *models]


def _ancestors(model: str, below: Mapping[str, str]) -> list[str]:
    """The models that one was trained from, its own base first."""
    found: list[str] = []
    while (above := below.get(found[-1] if found else model)) and above not in found:
        found.append(above)
    return found


@dataclass(frozen=True)
class Answered:
    """One model's answers to the held-out prompts: the suites, and rows {prompt_id, prompt, suite, text}."""

    model: str
    suites: list[Suite]
    answers: list[Row]

    @property
    def prompts(self) -> list[Row]:
        """Rows {prompt_id, kind, prompt} of all suites."""
        return [row for suite in self.suites for row in suite.prompts]

    @property
    def compared(self) -> list[Row]:
        """The answers that a judge compares: those of suites that it is to tell about."""
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


async def answer_prompts(preset: Preset, config: Evaluate, executor: Executor, spec: EngineSpec) -> Answered:
    """A model's answers to the preset's held-out prompts and suites; what the lake has is not asked again."""
    suites = suites_of(preset, config, spec)
    words = {prompt.hash: prompt for suite in suites for prompt in [suite.step(suite.prompts[0]).prompt]}
    executor.run.words = [{"hash": one.hash, "id": one.id, "source": one.source} for one in words.values()]
    async with open_lazily(spec) as engine:
        answers = [row for suite in suites for row in await _answers(executor, suite, engine)]
        return Answered(engine.identity, suites, answers)


async def _answers(executor: Executor, suite: Suite, engine: Engine) -> list[Row]:
    found: dict[str, Row] = {}

    async def one(row: Row) -> None:
        found.update((record["prompt_id"], record) for record in await executor.apply(suite.step(row), row, engine))

    async def work() -> None:
        await executor.gather(*(one(row) for row in suite.prompts))

    await executor.chunk(f"evaluate {suite.name} × {len(suite.prompts)}", work)
    return list(found.values())


async def _evaluate_one(
    preset: Preset, config: Evaluate, executor: Executor, label: str, spec: EngineSpec, base: list[Row]
) -> tuple[Evaluation, Answered]:
    """A model's figures and its answers, which are judged against the base model's where there are any."""
    found = await answer_prompts(preset, config, executor, spec)
    measured = [(suite, suite.figures(found.answers)) for suite in found.suites]
    grown = await asyncio.to_thread(_as_before, executor.lake, found.suites)
    judged = []
    if config.judge and base:
        asked, verdicts_by = await judge_answers(preset, config.judge, executor, found.compared, base)
        judged = [{"dimension": name} | judge.report(asked, said) for name, said in verdicts_by.items()]
    names = "+".join(suite.name for suite in found.suites if suite.kind == "judge")
    of_judge = [figure for row in judged for figure in judge.figures(names, row)]
    rows = [row for _, figures in measured for row in figures]
    await asyncio.to_thread(_remember, executor, found.model, spec, rows + of_judge)
    shown = [*measured, *((suite, suite.figures(found.answers)) for suite in grown)]
    named = [row | {"metric": suite.label(row["metric"])} for suite, figures in shown for row in figures]
    better = {suite.label(metric): way for suite, _ in shown for metric, way in suite.better.items()}
    axes = _axes(preset.gate, found)
    return Evaluation(label, _place(spec), named, better, judged, axes), found


def _write_logs(folder: Path, label: str, found: Answered) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    for suite in found.suites:
        log = inspect_log(found.model, label, suite, found.answers, at)
        with effects.LOG_WRITE:
            (folder / log_name(found.model, suite.name, at)).write_text(json.dumps(log, ensure_ascii=False), "utf-8")


def _as_before(lake: Lake, suites: Sequence[Suite]) -> list[Suite]:
    """The suites that have more prompts than at an earlier evaluation, with the prompts of then: of any model that is
    in `evals` with so many, whether or not it is there still, these are the figures to compare with."""
    found = []
    for suite in suites:
        there = status.earlier_prompts(lake, suite.name, len(suite.prompts))
        old = [row for row in suite.prompts if row["prompt"] in there]
        if 0 < len(old) < len(suite.prompts):
            found.append(replace(suite, prompts=old, suffix=f" (on the {len(old)} prompts of before)"))
    return found


def _axes(policy: Policy, found: Answered) -> dict[str, Figure]:
    axes = by_axis(policy, found.scored())
    means = {axis: (sum(values.values()) / len(values), len(values)) for axis, values in axes.items() if values}
    return {axis: (mean, *held_out.interval(mean, count)) for axis, (mean, count) in means.items()}


async def judge_answers(
    preset: Preset, config: judge.Config, executor: Executor, answers: list[Row], others: list[Row]
) -> tuple[list[Row], dict[str, list[Row]]]:
    """What a judge is asked of a model's answers against another's, and its verdicts by dimension."""
    asked, verdicts_by = judge.pairs(answers, others), {}
    library, form = preset.library(), preset.form("judge")
    steps = [judge.judge(library, dimension, config).in_form(form) for dimension in config.dimensions]
    prompts = [step.prompt for step in steps]
    executor.run.words = [{"hash": prompt.hash, "id": prompt.id, "source": prompt.source} for prompt in prompts]
    async with open_lazily(preset.spec("judge")) as engine:
        for dimension, step in zip(config.dimensions, steps, strict=True):
            verdicts_by[dimension] = await executor.run_batch(step, asked, engine)
    return asked, verdicts_by


def _remember(executor: Executor, model: str, spec: EngineSpec, figures: list[Row]) -> None:
    """Append the figures that the lake does not have; with none, the run leaves no trace."""
    known = {row["id"] for row in status.evals(executor.lake)}
    stamp: dict[str, Any] = {
        "model": model,
        "model_path": _place(spec),
        "run_id": executor.run.id,
        "created_at": datetime.now(UTC),
    }
    rows = [
        {"id": digest(model, row["suite"], row["metric"], row["value"], row["count"])} | row | stamp for row in figures
    ]
    if new := [row for row in rows if row["id"] not in known]:
        executor.run.start()
        executor.lake.ledger.write("evals", new, run_id=executor.run.id, message=f"evaluate: {len(new)} figures")


def _place(spec: EngineSpec) -> str:
    return spec.engine if isinstance(spec, ScriptedSpec) else spec.model


def oracle(name: Literal["nano"] | None) -> tuple[Score, dict[str, str]]:
    """An oracle and, in the order to show them, which way each of its metrics is better. There is one so far.

    Without one nothing is scored: a judge compares.
    """
    if name is None:
        return (lambda prompt, answer: {}), {}
    from nano.oracle import METRICS, score

    return score, dict(METRICS)
