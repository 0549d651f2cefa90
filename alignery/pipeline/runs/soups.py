"""A soup: interpolations of two recipes' models, each evaluated on the held-out prompts; one goes to the gate.

Source: Rewarded soups (arXiv 2306.04488); `tasks.train.soups` lists the departures. Each model is evaluated without
Aligners, as the gate evaluates a generator. λ is chosen on the prompts on which a gate with `reserve` decides first:
those that confirm a promotion are not used for the choice.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.config.preset import Preset
from alignery.config.schema import PresetError
from alignery.config.soup import Soup
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, TaskRunner
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.answering import Answered, answer_prompts
from alignery.pipeline.runs.comparison import compared
from alignery.pipeline.runs.jobs import REPORT, Job, Spec
from alignery.pipeline.runs.judging import check_judge
from alignery.pipeline.runs.people import state
from tasks.evaluate import confirm, held_out
from tasks.evaluate.plot import Figure, pareto
from tasks.evaluate.suites.rows import all_prompts
from tasks.step import Row
from tasks.train.soups.choice import START, choose, label, least_gain, shares, summary
from tasks.train.soups.interpolate import check_alike, interpolate
from warehouse import Lake

PICTURE = "soup.svg"
Figures = Mapping[str, Figure]  # axis → value and its 95 % interval


@dataclass(frozen=True)
class SoupJob(Job):
    """The interpolation of two models of this retraining.

    Args:
        models: recipe or variant → its model, a row of the table.
    """

    soup: Soup
    preset: Preset
    lake: Lake
    models: Mapping[str, Row]

    @property
    def config(self) -> str:
        """The section with the models' identities in place of names, and a hash of what the choice rests on."""
        evaluate, soup = self.preset.evaluate, self.soup
        assert evaluate is not None
        asked = [evaluate.model_dump(mode="json"), all_prompts(evaluate.prompts, evaluate.suites)]
        gate = self.preset.gate.model_dump(mode="json", include={"axes", "reserve", "marks"})
        known = {axis: self.models[name]["id"] for axis, name in soup.of.items()}
        baseline = {"baseline": self.models[soup.baseline]["id"]} if soup.baseline else {}
        scored = digest(gate, *asked, *([people] if (people := state(self.preset, self.lake)) else []))
        return json.dumps(soup.model_dump(mode="json") | {"of": known} | baseline | {"scored": scored})

    async def make(self, out: Path, run: Run, runner: TaskRunner) -> None:
        """Evaluate every model, and put the chosen one at `out`, with `report.json` and a picture of all."""
        began, soup = time.perf_counter(), self.soup
        parts = [Path(self.models[name]["path"]) for name in soup.of.values()]
        await asyncio.to_thread(check_alike, parts)
        with StepProgress() as progress:
            asking = _Asking(self.preset, [*soup.of], self.lake, run, runner, progress)
            old = await asking.start(self.base)
            figures = {START: await asking.measured(old, old)}
            grid = sorted({*shares(soup.lambdas), *([] if isinstance(soup.choose, str) else [soup.choose])})
            for share in grid:
                figures[label(share)] = await self._of_share(asking, old, parts, share, out)
            if soup.baseline:
                figures[soup.baseline] = await asking.measured(old, await asking.answers(self._spec(soup.baseline)))
        report = self._report(figures, grid) | {"seconds": round(time.perf_counter() - began, 2)}
        texts = {REPORT: json.dumps(report, indent=2) + "\n", PICTURE: _picture([*soup.of], figures, report["chosen"])}
        mixed = _of_parts(report["chosen"])
        await asyncio.to_thread(interpolate, parts, mixed, out, texts=texts)

    def _spec(self, name: str) -> Spec:
        return self.base.with_weights(self.models[name]["path"])

    async def _of_share(
        self, asking: _Asking, old: Answered, parts: Sequence[Path], share: float, out: Path
    ) -> Figures:
        """The figures of one λ: at the ends those of the parts; other models exist only during their evaluation."""
        if share in (0, 1):
            return await asking.measured(old, await asking.answers(self.base.with_weights(str(parts[int(share)]))))
        place = out.with_name(f".{out.name}.between")
        await asyncio.to_thread(_clear, place)
        await asyncio.to_thread(interpolate, parts, _of_parts(share), place)
        try:
            return await asking.measured(old, await asking.answers(self.base.with_weights(str(place))))
        finally:
            await asyncio.to_thread(_clear, place)

    def _report(self, figures: Mapping[str, Figures], grid: Sequence[float]) -> Row:
        """The report that is written to the model's folder and to the table of models.

        Returns:
            of (axis → recipe or variant), chosen (λ), rule, hypervolume and the like (`choice.summary`), and `models`:
            rows {model, lambda (null for start and baseline), AXIS and AXIS_low, AXIS_high, least_gain, front, chosen}.
        """
        first, second = self.soup.of
        means = {name: {axis: one[axis][0] for axis in (first, second)} for name, one in figures.items()}
        between = {share: means[label(share)] for share in grid}
        chosen = choose(means[START], between, self.soup.choose)
        whole = summary((first, second), means, between)
        share_of: dict[str, float] = {label(share): share for share in grid}
        models = [
            {"model": name, "lambda": share_of.get(name)}
            | {key: value for axis in (first, second) for key, value in _named(axis, one[axis]).items()}
            | {"least_gain": least_gain(means[START], means[name]), "front": name in whole["front"]}
            | {"chosen": name == label(chosen)}
            for name, one in figures.items()
        ]
        return {"recipe": self.name, "base_model": str(self.base.model), "of": self.soup.of, "chosen": chosen} | {
            "rule": self.soup.choose,
            **whole,
            "models": models,
        }


@dataclass(frozen=True)
class _Asking:
    """Asks models the held-out prompts."""

    preset: Preset
    axes: Sequence[str]
    lake: Lake
    run: Run
    runner: TaskRunner
    progress: StepProgress

    @property
    def executor(self) -> Executor:
        """One per model: an executor reads the lake's state once."""
        return Executor(self.lake, self.run, self.progress, self.runner, reject_limit=1.0)

    async def start(self, base: Spec) -> Answered:
        """The answers of the model that all are compared with; a judge that decides passes its check first."""
        assert self.preset.evaluate is not None
        if judge := self.preset.evaluate.deciding_judge:
            await check_judge(self.preset, judge, self.executor)
        return await self.answers(base)

    async def answers(self, spec: Spec) -> Answered:
        assert self.preset.evaluate is not None
        return await answer_prompts(self.preset, self.preset.evaluate, self.executor, spec)

    async def measured(self, old: Answered, new: Answered) -> Figures:
        """The mean on each axis, over the prompts that the choice may see."""
        asked, _ = confirm.split(old.prompts, self.preset.gate.reserve)
        after = (await compared(self.preset, self.executor, asked, old, new)).after
        figures = {}
        for axis in self.axes:
            values = list(after.get(axis, {}).values())
            if not values:
                raise PresetError(
                    f"preset {self.preset.name}: retrain.soup.of: got the axis {axis!r}, on which no held-out prompt "
                    "has a figure; add such prompts, or choose another axis"
                )
            mean = sum(values) / len(values)
            figures[axis] = (mean, *held_out.interval(mean, len(values)))
        return figures


def _of_parts(share: float) -> list[float]:
    return [1 - share, share]


def _named(axis: str, figure: Figure) -> dict[str, Any]:
    value, low, high = figure
    return {axis: value, f"{axis}_low": low, f"{axis}_high": high}


def _picture(axes: Sequence[str], figures: Mapping[str, Figures], chosen: float) -> str:
    x, y = axes
    return pareto(f"{x} and {y}; chosen: {label(chosen)}", figures, x, y)


def _clear(place: Path) -> None:
    with effects.WORK_CLEAR:
        shutil.rmtree(place, ignore_errors=True)
