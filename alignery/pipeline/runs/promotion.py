"""Promotion: trained models go through the gate, one after the other; what passes is the model from then on.

`alignery.pipeline.model_resolution` says what a promotion changes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignery.config.preset import Preset, PresetError
from alignery.hashing import digest
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.model_resolution import ALIAS
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.evaluation import answer_prompts, judge_answers, oracle
from alignery.pipeline.runs.training import base_spec
from tasks.engines import TransformersSpec, VllmSpec
from tasks.evaluate.gate import Decision, Policy, by_judge, decide, per_prompt
from tasks.evaluate.judge import outcomes, walkovers
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


async def promote_candidates(preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline) -> list[Decided]:
    """The gate itself, with or without Prefect. A decision that was made is not made again.

    Raises:
        PresetError: the preset has no `evaluate` section, or its generator has no weights.
    """
    if preset.evaluate is None:
        raise PresetError(f"preset {preset.name}: got no 'evaluate' section; the gate needs held-out prompts")
    policy, base = preset.gate, base_spec(preset)
    scored = digest(policy.model_dump(mode="json"), preset.evaluate.model_dump(mode="json"))
    decided = []
    with Run(lake, "promote", preset) as run:
        answering = {name for name, recipe in preset.registry.recipes.items() if recipe.answers}
        for model in list(_candidates(lake, base, answering)):
            placed = model_registry.current(lake, ALIAS)
            incumbent = base.model_copy(update={"model": placed["model_path"]}) if placed else base
            # Whatever stood there then: what was kept, or rolled back, does not come again with every promotion.
            id = digest(ALIAS, model["id"], scored)
            if model["id"] == incumbent.identity() or id in {row["id"] for row in model_registry.decisions(lake)}:
                continue
            candidate = base.model_copy(update={"model": model["path"]})
            decision = await _judged(preset, lake, run, runner, policy, incumbent, candidate)
            row = _row(id, model, incumbent.identity(), decision, policy)
            await asyncio.to_thread(_record, lake, run, row)
            decided.append(Decided(row["model"], row["model_path"], row["state"], row["reasons"]))
        run.end("finished", {str(one.path): one.state for one in decided})
    return decided


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
    policy: Policy,
    incumbent: TransformersSpec | VllmSpec,
    candidate: TransformersSpec | VllmSpec,
) -> Decision:
    assert preset.evaluate is not None
    with StepProgress() as progress:
        executor = Executor(lake, run, progress, runner, reject_limit=1.0)
        old, new = [await answer_prompts(preset, preset.evaluate, executor, spec) for spec in (incumbent, candidate)]
        if preset.evaluate.oracle:
            score, _ = oracle(preset.evaluate.oracle)
            return decide(policy, *(per_prompt(policy, side.prompts, side.answers, score) for side in (old, new)))
        assert preset.evaluate.judge is not None
        asked, verdicts_by = await judge_answers(preset, preset.evaluate.judge, executor, new.answers, old.answers)
        unheard = walkovers(new.prompts, new.answers, old.answers)
        return decide(policy, *by_judge({axis: unheard | outcomes(asked, said) for axis, said in verdicts_by.items()}))


def _row(id: str, model: Row, against: str, decision: Decision, policy: Policy) -> Row:
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
        "policy": policy.model_dump_json(),
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
