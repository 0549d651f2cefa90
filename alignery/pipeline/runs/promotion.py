"""Promotion: trained models go through the gate, one after the other; what passes is the model from then on.

`alignery.pipeline.model_resolution` says what a promotion changes. The registry's rows are the gate's memory: how many
decisions the model that stands there has seen off, which says what a further one may spend of the budget of error, and
which prompts were looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.config.preset import Preset, PresetError
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.model_resolution import ALIAS
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.evaluation import Answered, answer_prompts, judge_answers
from alignery.pipeline.runs.training import base_spec
from tasks.engines import TransformersSpec, VllmSpec
from tasks.evaluate import confirm
from tasks.evaluate.gate import Decision, Policy, by_axis, by_judge, decide, lost_verdicts
from tasks.evaluate.judge import outcomes, walkovers
from tasks.evaluate.plot import PICTURES, forest
from tasks.evaluate.suites.rows import all_prompts
from tasks.step import Row
from warehouse import Lake, model_registry
from warehouse.query import status


@dataclass(frozen=True)
class Decided:
    """A model and what was decided on it."""

    model: str | None
    path: str | None
    state: str  # promoted | kept | rolled back
    reasons: list[str]
    picture: str | None = None  # the file that shows a decision of the gate


async def promote_candidates(preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline) -> list[Decided]:
    """The gate itself, with or without Prefect. A decision that was made is not made again, unless the policy or the
    held-out prompts have changed.

    Raises:
        PresetError: the preset has no `evaluate` section or nothing to decide on, or its generator has no weights.
    """
    if preset.evaluate is None:
        raise PresetError(f"preset {preset.name}: got no 'evaluate' section; the gate needs held-out prompts")
    policy, base = preset.gate, base_spec(preset)
    if not (preset.evaluate.oracle or preset.evaluate.judge or policy.of_suites):
        raise PresetError(
            f"preset {preset.name}: gate.axes: got no axis of a suite, and neither oracle nor judge; "
            "name one (safe: [-twins.harm])"
        )
    prompts = all_prompts(preset.evaluate.prompts, preset.evaluate.suites)
    # Without suites as before there were any, so that a decision of then is not made again.
    said = preset.evaluate.model_dump(mode="json", exclude=None if preset.evaluate.suites else {"suites"})
    scored = digest(policy.model_dump(mode="json"), said, prompts)
    decided = []
    with Run(lake, "promote", preset) as run:
        answering = {name for name, recipe in preset.registry.recipes.items() if recipe.answers}
        for model in list(_candidates(lake, base, answering)):
            placed = model_registry.current(lake, ALIAS)
            incumbent = base.model_copy(update={"model": placed["model_path"]}) if placed else base
            # Whatever stood there then: what was kept, or rolled back, does not come again with every promotion.
            id = digest(ALIAS, model["id"], scored)
            before = [row for row in model_registry.decisions(lake, ALIAS) if row["decided_by"] == "gate"]
            if model["id"] == incumbent.identity() or id in {row["id"] for row in before}:
                continue
            candidate = base.model_copy(update={"model": model["path"]})
            decision, seen = await _judged(preset, lake, run, runner, before, incumbent, candidate)
            row = _row(id, model, incumbent.identity(), decision, policy, seen)
            await asyncio.to_thread(_record, lake, run, row)
            drawn = draw(decision, Path(model["path"]).name, lake.home / PICTURES)
            decided.append(Decided(row["model"], row["model_path"], row["state"], row["reasons"], str(drawn)))
        run.end("finished", {str(one.path): one.state for one in decided})
    return decided


def draw(decision: Decision, name: str, folder: Path) -> Path:
    """The forest plot of a decision on a model, `gate-NAME.svg`; the next decision on the same model replaces it."""
    path = folder / f"gate-{name}.svg"
    folder.mkdir(parents=True, exist_ok=True)
    with effects.PICTURE_WRITE:
        path.write_text(forest(name, decision.reasons[0], decision.axes), encoding="utf-8")
    return path


def _candidates(lake: Lake, base: TransformersSpec | VllmSpec, answering: Collection[str]) -> Iterator[Row]:
    """The models that were trained from the base or from one of these, whose recipe makes a model that answers, and
    that are there, the oldest first."""
    family = {base.identity()}
    for model in status.models(lake):
        if model["base_id"] in family:
            family.add(model["id"])
            if model["recipe"] in answering and Path(model["path"]).is_dir():
                yield model


async def _judged(
    preset: Preset,
    lake: Lake,
    run: Run,
    runner: TaskRunner,
    before: Sequence[Row],
    incumbent: TransformersSpec | VllmSpec,
    candidate: TransformersSpec | VllmSpec,
) -> tuple[Decision, list[str]]:
    """The decision, and the marks of the prompts that it saw.

    Args:
        before: the gate's decisions so far.
    """
    assert preset.evaluate is not None
    policy = preset.gate
    number = 1 + sum(row["against"] == incumbent.identity() for row in before)
    known = {mark for row in before for mark in json.loads(row["policy"] or "{}").get("seen", ())}
    with StepProgress() as progress:
        executor = Executor(lake, run, progress, runner, reject_limit=1.0)
        old, new = [await answer_prompts(preset, preset.evaluate, executor, spec) for spec in (incumbent, candidate)]
        asked, kept = confirm.split(old.prompts, policy.reserve)
        found = await _compared(preset, executor, asked, old, new)
        decision = _with_lost(decide(policy, found.before, found.after, number), found.lost)
        if decision.promoted and policy.reserve:
            fresh = confirm.unseen(kept, known, policy.confirm)
            if not fresh:
                decision = confirm.used_up(policy, decision)
            else:
                again = await _compared(preset, executor, fresh, old, new)
                decision = confirm.confirmed(policy, decision, again.before, again.after)
                asked = [*asked, *fresh]
    return decision, [confirm.mark(row) for row in asked]


@dataclass(frozen=True)
class _Compared:
    """Both models' figures, as `per_prompt` gives them, and how many verdicts of a judge were lost."""

    before: Mapping[str, Row]
    after: Mapping[str, Row]
    lost: int = 0


async def _compared(
    preset: Preset, executor: Executor, prompts: Sequence[Row], old: Answered, new: Answered
) -> _Compared:
    """The figures of these prompts: an oracle's, or what a judge says."""
    assert preset.evaluate is not None
    ids, policy = {row["prompt_id"] for row in prompts}, preset.gate
    if not preset.evaluate.oracle:  # the other axes are an oracle's
        policy = policy.model_copy(update={"axes": policy.of_suites})
    scored = [
        by_axis(policy, {id: figures for id, figures in side.scored().items() if id in ids}) for side in (old, new)
    ]
    if preset.evaluate.oracle or preset.evaluate.judge is None:
        return _Compared(scored[0], scored[1])
    before, after = ([row for row in side.compared if row["prompt_id"] in ids] for side in (old, new))
    prompts = [row for suite in old.suites if suite.kind == "judge" for row in suite.prompts if row["prompt_id"] in ids]
    asked, verdicts_by = await judge_answers(preset, preset.evaluate.judge, executor, after, before)
    unheard, won, lost = walkovers(prompts, after, before), {}, 0
    for axis, said in verdicts_by.items():
        missing = lost_verdicts(asked, said)
        won[axis], lost = unheard | outcomes(asked, [*said, *missing]), lost + len(missing)
    by_verdicts = by_judge(won)
    return _Compared(by_verdicts[0] | scored[0], by_verdicts[1] | scored[1], lost)


def _with_lost(decision: Decision, lost: int) -> Decision:
    if not lost:
        return decision
    why = f"{lost} of the judge's verdicts were not read; each counts against the candidate (alignery rejects)"
    return replace(decision, reasons=(*decision.reasons, why))


def _row(id: str, model: Row, against: str, decision: Decision, policy: Policy, seen: Sequence[str]) -> Row:
    spent = {"number": decision.number, "level": decision.level, "spent": decision.spent, "seen": seen}
    return {
        "id": id,
        "alias": ALIAS,
        "state": "promoted" if decision.promoted else "kept",
        "model": model["id"],
        "model_path": model["path"],
        "against": against,
        "decided_by": "gate",
        "reasons": list(decision.reasons),
        "figures": json.dumps([asdict(axis) for axis in decision.axes]),
        "policy": json.dumps(policy.model_dump(mode="json") | spent),
    }


def promote_manually(lake: Lake, run: Run, id: str, why: str) -> Decided:
    """Put a trained model in place, whatever a gate says of it.

    Raises:
        LakeUsageError: there is no such model.
    """
    model = model_registry.find(lake, id)
    return _placed(lake, run, "promoted", model["id"], model["path"], why)


def roll_back(lake: Lake, run: Run, why: str) -> Decided:
    """Put back in place what stood there before the current model.

    Raises:
        LakeUsageError: the preset's own model stands there.
    """
    before = model_registry.before(lake, ALIAS)
    return _placed(
        lake, run, "rolled back", before["model"] if before else None, before["model_path"] if before else None, why
    )


def _placed(lake: Lake, run: Run, state: str, model: str | None, path: str | None, why: str) -> Decided:
    placed = model_registry.current(lake, ALIAS)
    row = {
        "id": digest(ALIAS, state, model, datetime.now(UTC).isoformat()),
        "alias": ALIAS,
        "state": state,
        "model": model,
        "model_path": path,
        "against": placed["model"] if placed else None,
        "decided_by": "hand",
        "reasons": [why],
    }
    _record(lake, run, row)
    return Decided(model, path, state, [why])


def _record(lake: Lake, run: Run, row: dict[str, Any]) -> None:
    run.start()
    what = f"{row['state']} {Path(row['model_path']).name if row['model_path'] else 'to the preset’s own model'}"
    lake.ledger.write("decisions", [row], run_id=run.id, message=f"{row['alias']}: {what}")
