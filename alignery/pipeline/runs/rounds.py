"""`bootstrap`: rounds in which the model that earned its place writes the data of the next one.

Aligner's promise (arXiv 2402.02416, section 5), with the gate in it: refresh (correction is a part of it), publish,
retrain, judge; a model that is promoted writes the next round, and a round that promotes none is the last. Where the
preset stacks an Aligner, that is retrained and promoted too, and the next round is written by the two.
1. Each round accepts `line.self_instruct.accept` new instructions, which no earlier round has near-duplicates of.
2. Each round trains from the preset's own model, on the newest of all that the lake holds, as a retraining does.
A round is known by its tag, so that what was killed goes on in the round that it was in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignery.config.preset import Preset
from alignery.config.schema import Alias
from alignery.pipeline.executor import TaskRunner, run_inline
from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from alignery.pipeline.stack import stackable
from tasks.step import Row
from warehouse import Lake, model_registry
from warehouse.query import status
from warehouse.query.snapshots import check_name


@dataclass(frozen=True)
class Round:
    """One round: which models wrote it (none: those that stood there at first), and what the gate said."""

    tag: str
    writers: dict[Alias, str]  # alias → folder, of the models that earlier rounds had put in place
    promoted: dict[Alias, str]  # the same of those that this one put in place
    reasons: list[str]  # the gate's, a sentence a model
    new: bool  # False where an earlier bootstrap had done it


@dataclass(frozen=True)
class BootstrapResult:
    """The rounds so far; `why` says why there is no further one, `state` whether that is well."""

    rounds: list[Round]
    state: str  # finished | short
    why: str


async def run_rounds(
    preset: Preset, lake: Lake, home: Path, rounds: int, name: str = "boot", *, runner: TaskRunner = run_inline
) -> BootstrapResult:
    """The bootstrap itself, with or without Prefect. Rounds that are done are not done again.

    Raises:
        LakeUsageError, PresetError, EngineDown, RejectLimitExceeded, TrainingStopped: as each part of a round does.
    """
    check_name(lake, f"{name}-1")
    preset = preset.model_copy(update={"follow": tuple(dict.fromkeys((*preset.follow, *stackable(preset))))})
    done: list[Round] = []
    writers: dict[Alias, str] = {}
    for number in range(1, rounds + 1):
        tag, before = f"{name}-{number}", lake.snapshot()
        if not _is_published(lake, tag):
            summary = await run_refresh(preset, lake, runner=runner)
            if summary.message:
                return BootstrapResult(done, "short", f"round {number} has no data yet: {summary.message}")
            tag_and_export(preset, lake, home, tag)
        # A round that another one followed had been judged.
        if not _is_published(lake, f"{name}-{number + 1}"):
            await train_recipes(preset, lake, home, tag, runner=runner)
            await promote_candidates(preset, lake, runner=runner)
        verdicts = _verdicts(lake, tag)
        promoted = {row["alias"]: row["model_path"] for row in verdicts if row["state"] == "promoted"}
        reasons = [f"{Path(row['model_path']).name}: {row['reasons'][0]}" for row in verdicts]
        done.append(Round(tag, writers, promoted, reasons, new=lake.snapshot() != before))
        writers = writers | promoted
        if not promoted:
            return BootstrapResult(
                done, "finished", f"round {number} did not help: the gate promoted none of its models"
            )
    return BootstrapResult(done, "finished", f"all {rounds} rounds helped")


def _is_published(lake: Lake, tag: str) -> bool:
    return any(row["name"] == tag and row["export_path"] for row in status.tags(lake))


def _verdicts(lake: Lake, tag: str) -> list[Row]:
    """The gate's decisions on the models that a round trained, the oldest first."""
    own = {row["id"] for row in status.models(lake) if row["tag"] == tag}
    return [row for row in model_registry.decisions(lake) if row["model"] in own and row["decided_by"] == "gate"]
