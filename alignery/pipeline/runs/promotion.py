"""Promotion: trained models go through the gate, one after the other; one that passes is then bound to its alias.

`alignery.pipeline.model_resolution` says what a promotion changes. An Aligner is judged in its stack: the current
generator and Aligners, against the same with the candidate in its place. A generator is judged without Aligners,
because it also writes, criticises and revises, and they would hide how it answers; besides, its stack must be worse on
no axis. The registry's rows are the gate's memory: how many decisions were made against the current stack, which
determines how much of the error budget a further one may spend, and which prompts were used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.config.preset import NO_AXIS, Preset
from alignery.config.schema import Alias, PresetError
from alignery.display import Displayed
from alignery.hashing import digest
from alignery.monitor.webhooks import Event
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.model_resolution import ALIAS, bind, bind_current, made_for, only_scores, unbound_scorers
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.answering import answer_prompts
from alignery.pipeline.runs.comparison import compared
from alignery.pipeline.runs.judging import check_judge, judge_shares_base
from alignery.pipeline.runs.people import explained, state
from alignery.pipeline.runs.training import base_spec
from alignery.pipeline.stack import Stack, stack_of, stackable
from alignery.untrusted import excerpt
from tasks.engines.specs import RewardSpec
from tasks.evaluate import HISTORY, PICTURES, confirm, history
from tasks.evaluate.gate import Decision, Policy, decide
from tasks.evaluate.plot import forest
from tasks.evaluate.suites.rows import all_prompts
from tasks.evaluate.trust import SELF_PREFERENCE
from tasks.step import Row
from warehouse import Lake, model_registry
from warehouse.query import status


@dataclass(frozen=True)
class Decided(Displayed):
    """A model and what was decided on it."""

    model: str | None
    path: str | None
    state: str  # promoted | kept | rolled back
    reasons: list[str]
    picture: str | None = None  # the file that shows a decision of the gate
    alias: str = ALIAS  # that it is a candidate for


async def promote_candidates(preset: Preset, lake: Lake, *, runner: TaskRunner = run_inline) -> list[Decided]:
    """The gate itself, with or without Prefect. A decision that was made is not made again, unless the policy, the
    held-out prompts or, where it counts them, people's marks on models' answers have changed.

    Raises:
        PresetError: the preset has no `evaluate` section or nothing to decide on, or an alias has no weights here.
        JudgeError: a judge decides, and did not pass its check; nothing was decided.
    """
    preset = bind_current(preset, lake, unbound_scorers(preset))  # a squad as a refresh has it
    if preset.evaluate is None:
        raise PresetError(f"preset {preset.name}: got no 'evaluate' section; the gate needs held-out prompts")
    policy, base = preset.gate, base_spec(preset)
    if not preset.has_axes:
        raise PresetError(f"preset {preset.name}: {NO_AXIS}")
    prompts = all_prompts(preset.evaluate.prompts, preset.evaluate.suites)
    # Suites, a judge's check and marks are left out if there are none: decisions from before they existed still hold.
    settings = preset.evaluate.model_dump(mode="json", exclude=None if preset.evaluate.suites else {"suites"})
    if settings["judge"] and settings["judge"]["check"] is None:
        del settings["judge"]["check"]
    people = state(preset, lake)
    scored = digest(policy.model_dump(mode="json"), settings, prompts, *([people] if people else []))
    decided = []
    with Run(lake, "promote", preset) as run:
        for alias, model in list(_candidates(preset, lake, base.identity())):
            current = bind_current(preset, lake, stackable(preset))
            # Whatever the incumbent was: a model that was kept back or rolled back is not tried at every promotion.
            id = digest(alias, model["id"], scored)
            before = [row for row in model_registry.decisions(lake) if row["decided_by"] == "gate"]
            if model["id"] == current.spec(alias).identity() or id in {row["id"] for row in before}:
                continue
            incumbent, candidate = stack_of(current), stack_of(bind(current, alias, model["path"]))
            decision, seen = await _judged(preset, lake, run, runner, before, incumbent, candidate)
            by = "judge" if preset.evaluate.deciding_judge else "oracle"
            row = _row(id, alias, model, decision, policy, seen) | {"against": incumbent.identity()}
            row["policy"] = json.dumps(row["policy"] | {"by": by} | _described(candidate))
            await asyncio.to_thread(_record, lake, run, row)
            picture = draw(decision, Path(model["path"]).name, lake.home / PICTURES)
            decided.append(Decided(row["model"], row["model_path"], row["state"], row["reasons"], str(picture), alias))
        run.end("finished", {str(one.path): one.state for one in decided})
    return decided


def draw(decision: Decision, name: str, folder: Path) -> Path:
    """The forest plot of a decision on a model, `gate-NAME.svg`; the next decision on the same model replaces it."""
    path = folder / f"gate-{name}.svg"
    folder.mkdir(parents=True, exist_ok=True)
    with effects.PICTURE_WRITE:
        path.write_text(forest(name, decision.reasons[0], decision.axes), encoding="utf-8")
    return path


def _draw_history(lake: Lake) -> None:
    """The picture of all decisions so far."""
    path = lake.home / PICTURES / HISTORY
    path.parent.mkdir(parents=True, exist_ok=True)
    with effects.PICTURE_WRITE:
        path.write_text(history.history(model_registry.decisions(lake, ALIAS)), encoding="utf-8")


def _candidates(preset: Preset, lake: Lake, base: str) -> Iterator[tuple[Alias, Row]]:
    """The models that were trained from the base or from one of these, whose recipe makes a part of the preset's stack,
    and that are there, the oldest first; each with the alias that it is for. The parts of a soup are none."""
    family, aliases = {base}, stackable(preset)
    parts = preset.retrain.soup.parts if preset.retrain and preset.retrain.soup else set()
    for model in status.models(lake):
        if model["base_id"] in family:
            family.add(model["id"])
            alias = made_for(preset, model["recipe"])
            if alias in aliases and model["recipe"] not in parts and Path(model["path"]).is_dir():
                yield alias, model


async def _judged(
    preset: Preset,
    lake: Lake,
    run: Run,
    runner: TaskRunner,
    before: Sequence[Row],
    incumbent: Stack,
    candidate: Stack,
) -> tuple[Decision, list[str]]:
    """The decision, and the marks of the prompts that it saw.

    Args:
        before: the gate's decisions so far.
    """
    assert preset.evaluate is not None
    config, policy = preset.evaluate, preset.gate
    number = 1 + sum(row["against"] == incumbent.identity() for row in before)
    known = {mark for row in before for mark in json.loads(row["policy"] or "{}").get("seen", ())}
    stacks = (incumbent, candidate)
    by_itself = candidate.is_more and incumbent.base != candidate.base
    with StepProgress() as progress:
        # One per stack: an executor reads the lake's state once, and stacks share parts.
        def executor() -> Executor:
            return Executor(lake, run, progress, runner, reject_limit=1.0)

        decides = config.deciding_judge
        if decides:
            await check_judge(preset, decides, executor())
        sides = (incumbent.alone, candidate.alone) if by_itself else stacks
        old, new = [await answer_prompts(preset, config, executor(), one.base, one) for one in sides]
        asked, reserved = confirm.split(old.prompts, policy.reserve)
        found = await compared(preset, executor(), asked, old, new)
        decision, lost, marked = decide(policy, found.before, found.after, number), found.lost, found.marked
        if decision.promoted and policy.reserve:
            fresh = confirm.unseen(reserved, known, policy.confirm)
            if not fresh:
                decision = confirm.used_up(policy, decision)
            else:
                again = await compared(preset, executor(), fresh, old, new)
                decision = confirm.confirmed(policy, decision, again.before, again.after)
                lost, marked = lost + again.lost, marked + again.marked
                asked = [*asked, *fresh]
        if decision.promoted and by_itself:
            old, new = [await answer_prompts(preset, config, executor(), one.base, one) for one in stacks]
            found = await compared(preset, executor(), asked, old, new)
            decision = _in_stack(decision, decide(policy, found.before, found.after, number))
            lost, marked = lost + found.lost, max(marked, found.marked)
    decision = explained(preset, lake, _with_lost(decision, lost), marked)
    models = [part["model"] for part in candidate.parts()]
    shares_base = await asyncio.to_thread(judge_shares_base, preset, lake, models) if decides else False
    if shares_base:
        decision = replace(decision, reasons=(*decision.reasons, SELF_PREFERENCE))
    return decision, [confirm.mark(row) for row in asked]


def _in_stack(decision: Decision, stacked: Decision) -> Decision:
    """A generator's promotion, which holds where its stack is shown to be worse on no axis by the margin."""
    if all(one.verdict in ("better", "same") for one in stacked.axes):
        moved = ", ".join(f"{one.axis} {one.before:.3f} → {one.after:.3f}" for one in stacked.axes)
        return replace(decision, reasons=(*decision.reasons, f"in its stack: worse on no axis ({moved})"))
    why = f"not promoted: by itself it is better, in its stack {stacked.reasons[0].removeprefix('not promoted: ')}"
    return replace(decision, promoted=False, reasons=(why, *decision.reasons))


def _with_lost(decision: Decision, lost: int) -> Decision:
    if not lost:
        return decision
    why = f"{lost} of the judge's verdicts were not read; each counts against the candidate (alignery rejects)"
    return replace(decision, reasons=(*decision.reasons, why))


def _described(stack: Stack) -> Row:
    """What is recorded of the judged stack, if it is more than a generator."""
    return {"stack": stack.identity(), "parts": stack.parts()} if stack.is_more else {}


def _row(id: str, alias: Alias, model: Row, decision: Decision, policy: Policy, seen: Sequence[str]) -> Row:
    spent = {"number": decision.number, "level": decision.level, "spent": decision.spent, "seen": seen}
    return {
        "id": id,
        "alias": alias,
        "state": "promoted" if decision.promoted else "kept",
        "model": model["id"],
        "model_path": model["path"],
        "decided_by": "gate",
        "reasons": list(decision.reasons),
        "figures": json.dumps([asdict(axis) for axis in decision.axes]),
        "policy": policy.model_dump(mode="json") | spent,
    }


def promote_manually(lake: Lake, run: Run, id: str, why: str, alias: Alias | None = None) -> Decided:
    """Bind a trained model to its alias, whatever the gate says of it.

    Args:
        alias: to bind it to; by default the one that its recipe makes models for.

    Raises:
        LakeUsageError: there is no such model.
        PresetError: there is no such alias, or it is none for this kind of model.
    """
    preset = run.preset
    known = {*preset.registry.aliases, *preset.models, *preset.follow}
    if alias and alias not in known:
        raise PresetError(f"--alias: got {excerpt(alias, 80)!r}, expected one of {sorted(known)}; correct it")
    model = model_registry.find(lake, id)
    _check_kind(preset, model, alias)
    alias = alias or made_for(preset, model["recipe"]) or ALIAS
    return _place(lake, run, alias, "promoted", model["id"], model["path"], why)


def _check_kind(preset: Preset, model: Row, alias: Alias | None) -> None:
    """Refuse a model that only scores for an alias that writes, and the reverse."""
    scorers = preset.registry.scorers(preset.line.configs)
    scoring = scorers | {name for name, spec in preset.models.items() if isinstance(spec, RewardSpec)}
    name = Path(model["path"]).name
    if only_scores(preset, model["recipe"]) and alias not in scoring:
        raise PresetError(
            f"--alias: got {alias or 'none'}, and {name} only scores; expected the alias of a model that scores, "
            f"{f'one of {sorted(scoring)}' if scoring else 'of which this preset has none'}; name it"
        )
    if alias in scorers and not only_scores(preset, model["recipe"]):
        raise PresetError(
            f"--alias: got {alias}, which only scores, for {name}, which writes text; expected a trained inspector; "
            "name another alias or model"
        )


def roll_back(lake: Lake, run: Run, why: str, alias: Alias = ALIAS) -> Decided:
    """Bind an alias to the model that it had before the current one.

    Raises:
        LakeUsageError: the alias has the preset's own model.
    """
    before = model_registry.before(lake, alias) or {"model": None, "model_path": None}
    return _place(lake, run, alias, "rolled back", before["model"], before["model_path"], why)


def _place(lake: Lake, run: Run, alias: Alias, state: str, model: str | None, path: str | None, why: str) -> Decided:
    current = model_registry.current(lake, alias)
    row = {
        "id": digest(alias, state, model, datetime.now(UTC).isoformat()),
        "alias": alias,
        "state": state,
        "model": model,
        "model_path": path,
        "against": current["model"] if current else None,
        "decided_by": "hand",
        "reasons": [why],
    }
    _record(lake, run, row)
    return Decided(model, path, state, [why], alias=alias)


def _record(lake: Lake, run: Run, row: dict[str, Any]) -> None:
    run.start()
    what = f"{row['state']} {Path(row['model_path']).name if row['model_path'] else 'to the preset’s own model'}"
    lake.ledger.write("decisions", [row], run_id=run.id, message=f"{row['alias']}: {what}")
    if row["state"] != "rolled back":
        event: Event = "promoted" if row["state"] == "promoted" else "held_back"
        facts = {name: row[name] for name in ("alias", "state", "model", "against", "decided_by")}
        run.decided(row["id"], event, **facts)
    _draw_history(lake)
