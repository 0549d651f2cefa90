"""Evaluation: the oracle on held-out prompts, or a judge, for the base model and each model trained from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.config.preset import Preset
from alignery.config.schema import Evaluate, PresetError
from alignery.config.soup import SOUP
from alignery.display import Displayed, Picture, Results
from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.model_resolution import bind, bind_current, made_for, unbound_scorers
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.answering import Answered, answer_prompts
from alignery.pipeline.runs.judging import Outcomes, ancestors, check_judge, judge_model
from alignery.pipeline.stack import Stack, place, stack_of, stackable
from alignery.untrusted import excerpt
from tasks.evaluate import held_out, judge, trust
from tasks.evaluate.gate import Policy, by_axis
from tasks.evaluate.plot import Figure, dots, pareto
from tasks.evaluate.suites.inspect_log import inspect_log, log_name
from tasks.evaluate.suites.suite import Suite
from tasks.stage import GENERATOR
from tasks.step import Row
from warehouse import Lake
from warehouse.query import status


@dataclass(frozen=True)
class Evaluation(Displayed):
    """One model's figures: rows of metric, value (0 to 1) and count."""

    label: str  # "base", or the recipe that made it
    path: str
    figures: list[Row]
    better: dict[str, str]  # metric → "higher" or "lower"
    judged: list[Row] = field(default_factory=list)  # against the base: see `judge_model`
    axes: dict[str, Figure] = field(default_factory=dict)  # of the gate: axis → value (0 to 1) and its 95 % interval
    checked: list[Row] = field(default_factory=list)  # of the judge, on labelled pairs: see `check_judge`

    def shown(self) -> Mapping[str, object]:
        return {"model": self.label} | {figure["metric"]: figure["value"] for figure in self.figures}


class Evaluations(Results[Evaluation]):
    """Those of one run: the base model's first."""

    def pareto(self, x: str, y: str) -> Picture:
        """The models by two axes of the gate, where higher is better, and the line of those that none dominates.

        Raises:
            UsageError: no model has figures on both.
        """
        models = {one.label: one.axes for one in self if x in one.axes and y in one.axes}
        if not models:
            known = ", ".join(dict.fromkeys(axis for one in self for axis in one.axes))
            raise UsageError(
                f"pareto: got {excerpt(x, 40)!r} and {excerpt(y, 40)!r}, expected two of {known or '(none)'}"
            )
        return Picture(pareto(f"{x} and {y}", models, x, y))


def draw(evaluations: Sequence[Evaluation], folder: Path) -> list[Path]:
    """The pictures of an evaluation: `evaluation.svg` has the axes by the oracle, `judged.svg` Aligner's w."""
    scored = {e.label: e.axes for e in evaluations if e.axes}
    judged = {e.label: _w(e.judged) for e in evaluations if _w(e.judged)}
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, title, models, span, mark in (
        ("evaluation.svg", "Held-out prompts, 95 % intervals", scored, (0.0, 1.0), None),
        ("judged.svg", "(wins - losses) / all against the base model, 95 % intervals", judged, (-1.0, 1.0), 0.0),
    ):
        # A picture of an earlier evaluation does not belong to this one.
        with effects.PICTURE_WRITE:
            (folder / name).unlink(missing_ok=True)
            if models:
                (folder / name).write_text(dots(title, models, span, mark), encoding="utf-8")
                pictures.append(folder / name)
    return pictures


def _w(judged: Sequence[Row]) -> dict[str, Figure]:
    return {row["dimension"]: (row["w"], row["low"], row["high"]) for row in judged if row["w"] is not None}


async def evaluate_models(
    preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline, logs: Path | None = None
) -> list[Evaluation]:
    """The evaluation itself, with or without Prefect. Answers that the lake has are not requested again.

    Args:
        logs: a folder for logs that `inspect view` opens, one for each model and suite.

    Raises:
        PresetError: the preset has no `evaluate` section.
        JudgeError: the judge did not pass its check.
    """
    if preset.evaluate is None:
        raise PresetError(f"preset {preset.name}: got no 'evaluate' section; give it prompts and a judge")
    evaluations: list[Evaluation] = []
    base: list[Row] = []
    outcomes: list[Outcomes] = []
    with Run(lake, "evaluate", preset) as run:
        checked = await _checked(preset, preset.evaluate, lake, run, runner)
        for label, stack, path in _chain(preset, lake):
            with StepProgress() as progress:
                executor = Executor(lake, run, progress, runner, reject_limit=1.0)
                found = await answer_prompts(preset, preset.evaluate, executor, stack.base, stack)
                evaluation = await _evaluate_one(
                    preset, preset.evaluate, executor, label, stack, path, found, base, outcomes
                )
            evaluations.append(replace(evaluation, checked=checked))
            base = base or found.compared
            if logs:
                await asyncio.to_thread(_write_logs, logs, label, found)
        run.end("finished", {e.label: {f["metric"]: f["value"] for f in e.figures} for e in evaluations})
    return evaluations


def _chain(preset: Preset, lake: Lake) -> list[tuple[str, Stack, str]]:
    """The base model, the same behind the preset's own rewriter where there is one, then of each recipe that makes a
    model which answers the newest one made from that base; the newest Aligner or rewriter, of a preset that stacks it,
    is evaluated in a stack with the base model. Rows (label, stack, the model's place)."""
    preset = bind_current(preset, lake, unbound_scorers(preset))
    base = preset.spec("generator")
    there = [row for row in status.models(lake) if Path(row["path"]).is_dir()]
    identity, below = base.identity(), {row["id"]: row["base_id"] for row in there}
    newest = {row["recipe"]: row for row in there if identity in ancestors(row["id"], below)}
    order = [*preset.retrain.order(), SOUP] if preset.retrain else list(newest)
    found, stacked = [("base", Stack({GENERATOR: base}), place(base))], stackable(preset)
    if (own := stack_of(preset)).before:
        found.append(("base, rewritten", own, place(base)))
    for recipe in (recipe for recipe in order if recipe in newest):
        alias, path = made_for(preset, recipe), newest[recipe]["path"]
        if alias == GENERATOR:
            found.append((recipe, Stack({GENERATOR: bind(preset, alias, path).spec(alias)}), path))
        elif alias in stacked:
            found.append((recipe, stack_of(bind(preset, alias, path)), path))
    return found


async def _evaluate_one(
    preset: Preset,
    config: Evaluate,
    executor: Executor,
    label: str,
    stack: Stack,
    path: str,
    found: Answered,
    base: list[Row],
    outcomes: list[Outcomes],
) -> Evaluation:
    """A model's figures; where there are answers of the base model's, its own are judged against them."""
    measured = [(suite, suite.figures(found.answers)) for suite in found.suites]
    grown = await asyncio.to_thread(_as_before, executor.lake, found.suites)
    judged = []
    if config.judge and base:
        sides = found.compared, base
        models = [part["model"] for part in stack.parts()]
        judged = await judge_model(preset, config.judge, executor, models, sides, outcomes)
    names = "+".join(suite.name for suite in found.suites if suite.kind == "judge")
    of_judge = [figure for row in judged for figure in judge.figures(names, row)]
    rows = [row for _, figures in measured for row in figures]
    await asyncio.to_thread(_remember, executor.lake, executor.run, found.model, path, rows + of_judge)
    shown = [*measured, *((suite, suite.figures(found.answers)) for suite in grown)]
    named = [row | {"metric": suite.label(row["metric"])} for suite, figures in shown for row in figures]
    better = {suite.label(metric): way for suite, _ in shown for metric, way in suite.better.items()}
    return Evaluation(label, path, named, better, judged, _axes(preset.gate, found))


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
            found.append(replace(suite, prompts=old, suffix=f" (on the {len(old)} earlier prompts)"))
    return found


def _axes(policy: Policy, found: Answered) -> dict[str, Figure]:
    axes = by_axis(policy, found.scored())
    means = {axis: (sum(values.values()) / len(values), len(values)) for axis, values in axes.items() if values}
    return {axis: (mean, *held_out.interval(mean, count)) for axis, (mean, count) in means.items()}


async def _checked(preset: Preset, config: Evaluate, lake: Lake, run: Run, runner: TaskRunner) -> list[Row]:
    """The judge's own figures, where it has a check."""
    if config.judge is None or config.judge.check is None:
        return []
    with StepProgress() as progress:
        found = await check_judge(preset, config.judge, Executor(lake, run, progress, runner, reject_limit=1.0))
    figures, spec = trust.figures(config.judge.check.path.stem, found), preset.spec("judge")
    await asyncio.to_thread(_remember, lake, run, spec.identity(), place(spec), figures)
    return found


def _remember(lake: Lake, run: Run, model: str, path: str, figures: list[Row]) -> None:
    """Append the figures that the lake does not have; with none, the run leaves no trace."""
    known = {row["id"] for row in status.evals(lake)}
    stamp: dict[str, Any] = {
        "model": model,
        "model_path": path,
        "run_id": run.id,
        "created_at": datetime.now(UTC),
    }
    rows = [
        {"id": digest(model, row["suite"], row["metric"], row["value"], row["count"])} | row | stamp for row in figures
    ]
    if new := [row for row in rows if row["id"] not in known]:
        run.start()
        lake.ledger.write("evals", new, run_id=run.id, message=f"evaluate: {len(new)} figures")
