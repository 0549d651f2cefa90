"""`bootstrap`: rounds in which the model that earned its place writes the data of the next one.

Aligner's promise (arXiv 2402.02416, section 5), with the gate in it: refresh (correction is a part of it), publish,
retrain, judge; a model that is promoted writes the next round, and a round that promotes none is the last. Where the
preset stacks an Aligner, that is retrained and promoted too, and the next round is written by the two.
1. Each round accepts `line.self_instruct.accept` new instructions, which no earlier round has near-duplicates of.
2. Each round trains from the preset's own model, or from the one that wrote it (`start_from: {…: current}`), on the
   newest of all that the lake holds, as a retraining does.
A round is known by its tag, so that what was killed goes on in the round that it was in.

With the section `rounds` they are RAFT's (2304.06767, algorithm 1): the model that a round trains writes the next one,
whatever the gate says of it, and learns from the samples of its own round; they end when the mean reward of the samples
has not been above that of all rounds before for `patience` rounds in a row. That is read before a round is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignery.config.preset import Preset
from alignery.config.schema import Alias, Mixing
from alignery.pipeline.executor import TaskRunner, run_inline
from alignery.pipeline.model_resolution import bind, bind_current
from alignery.pipeline.runs.promotion import promote_candidates
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from alignery.pipeline.stack import stackable
from tasks.stage import GENERATOR
from tasks.step import Row
from warehouse import Lake, LakeUsageError, model_registry
from warehouse.query import status
from warehouse.query.snapshots import check_name, resolve
from warehouse.query.trained_on import runs_since

_RANKING = ("reward", "propositions", "rating", "verifier")  # scorers, in the order of the view `ranked`


@dataclass(frozen=True)
class Reward:
    """What the samples of the model that wrote a round were worth: see the view `policies`."""

    policy: str  # the model's identity
    scorer: str
    samples: int
    mean_score: float
    best_score: float  # mean over the prompts, of the best sample of each
    distinct_2: float | None  # 0 to 1


@dataclass(frozen=True)
class Round:
    """One round: which models wrote it (none: those in place at the start), and what the gate said."""

    tag: str
    writers: dict[Alias, str]  # alias → folder, of the models that earlier rounds had put in place, or passed on
    promoted: dict[Alias, str]  # the same of those that this one put in place
    reasons: list[str]  # the gate's, a sentence a model
    new: bool  # False where an earlier bootstrap had done it
    reward: Reward | None = None  # None: no samples, or scores that do not compare from round to round
    trained: str | None = None  # under `rounds`, the folder of the model that the next round is written by


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
        policy = done[-1].trained if done else None
        if not _is_published(lake, tag):
            summary = await run_refresh(_written_by(preset, policy), lake, runner=runner)
            if summary.message:
                return BootstrapResult(done, "short", f"round {number} has no data yet: {summary.message}")
            tag_and_export(preset, lake, home, tag)
        reward = _reward(preset, lake, tag, policy)
        if why := _stops(preset, done, reward):
            done.append(Round(tag, writers, {}, [], lake.snapshot() != before, reward))
            return BootstrapResult(done, "finished" if reward else "short", why)
        # A round that another one followed had been judged.
        if not _is_published(lake, f"{name}-{number + 1}"):
            await train_recipes(_of_round(preset, lake, done, tag), lake, home, tag, policy=policy, runner=runner)
            if preset.evaluate or not preset.rounds:
                await promote_candidates(preset, lake, runner=runner)
        verdicts = _verdicts(lake, tag)
        promoted = {row["alias"]: row["model_path"] for row in verdicts if row["state"] == "promoted"}
        reasons = [f"{Path(row['model_path']).name}: {row['reasons'][0]}" for row in verdicts]
        trained = _trained(lake, tag, preset.rounds.recipe) if preset.rounds else None
        done.append(Round(tag, writers, promoted, reasons, lake.snapshot() != before, reward, trained))
        writers = writers | promoted | ({GENERATOR: trained} if trained else {})
        if not promoted and not trained:
            return BootstrapResult(
                done, "finished", f"round {number} did not help: the gate promoted none of its models"
            )
    return BootstrapResult(done, "finished", f"all {rounds} rounds {'are done' if preset.rounds else 'helped'}")


def _is_published(lake: Lake, tag: str) -> bool:
    return any(row["name"] == tag and row["export_path"] for row in status.tags(lake))


def _verdicts(lake: Lake, tag: str) -> list[Row]:
    """The gate's decisions on the models that a round trained, the oldest first."""
    own = {row["id"] for row in status.models(lake) if row["tag"] == tag}
    return [row for row in model_registry.decisions(lake) if row["model"] in own and row["decided_by"] == "gate"]


def _trained(lake: Lake, tag: str, recipe: str) -> str:
    """The folder of the newest model of a recipe on a tag.

    Raises:
        LakeUsageError: there is none, for the rounds of this name were begun with another recipe.
    """
    found = [row["path"] for row in status.models(lake) if (row["tag"], row["recipe"]) == (tag, recipe)]
    if not found:
        raise LakeUsageError(
            f"{tag}: got no model of rounds.recipe {recipe!r}, for other recipes were trained on it; start over under "
            "another name (--name)"
        )
    return str(found[-1])


def _written_by(preset: Preset, policy: str | None) -> Preset:
    """The preset whose generator is the model that the round before passed on, if it did."""
    if policy is None:
        return preset
    others = tuple(alias for alias in preset.follow if alias != GENERATOR)
    return bind(preset.model_copy(update={"follow": others}), GENERATOR, policy)


def _reward(preset: Preset, lake: Lake, tag: str, policy: str | None) -> Reward | None:
    """The scores that the samples of a round's generator had at the round's tag, by the scorer that ranks them.

    They are of all that this model has drawn by then, so what it draws later does not change a round that is done.
    """
    if not preset.has_comparable_scores:
        return None
    at = resolve(lake, tag)
    wrote = _written_by(preset, policy) if policy else bind_current(preset, lake, (GENERATOR,), at)
    identity = wrote.spec(GENERATOR).identity()
    with Lake.open(lake.place, schema=lake.schema, snapshot=at) as pinned:
        found = status.scores_of(pinned, identity)
    for scorer in _RANKING:
        if row := found.get(scorer):
            figures = {name: row[name] for name in ("samples", "mean_score", "best_score", "distinct_2")}
            return Reward(identity, scorer, **figures)
    return None


def _stops(preset: Preset, done: Sequence[Round], reward: Reward | None) -> str | None:
    """Why the rounds end with the one that has this reward, before it is trained; None where they do not."""
    if preset.rounds is None:
        return None
    if reward is None:
        return f"round {len(done) + 1}: no sample of its generator has a score (alignery rejects), so it has no reward"
    rewards = [*(one.reward for one in done if one.reward), reward]
    means = [one.mean_score for one in rewards]
    best = means.index(max(means))
    flat = len(means) - 1 - best
    if flat < preset.rounds.patience:
        return None
    return (
        f"the mean reward of the samples has not risen for {flat} round{'s in a row' if flat > 1 else ''}: it was the "
        f"highest in round {best + 1} ({means[best]:.3f}), and is {means[-1]:.3f} in round {len(means)}"
    )


def _of_round(preset: Preset, lake: Lake, done: Sequence[Round], tag: str) -> Preset:
    """The preset whose recipe of the rounds learns from the rows that came since the round before, if it is to."""
    if preset.retrain is None or preset.rounds is None or preset.rounds.rows == "all" or not done:
        return preset
    recipe = preset.rounds.recipe
    view = preset.retrain.given()[recipe].view
    runs = runs_since(lake, view, resolve(lake, done[-1].tag), resolve(lake, tag))
    mix = {**preset.retrain.mix, recipe: Mixing(by="run_id", only=tuple(runs))}
    return preset.model_copy(update={"retrain": preset.retrain.model_copy(update={"mix": mix})})
