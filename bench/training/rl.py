"""What RL on a preference model teaches, on nano and by its oracle: `python bench/training/rl.py`.

One refresh by the preset `nano-rl`: instructions, answers, revisions, and comparisons of the two. Once a seed a model
is trained on the revisions, a preference model on the comparisons, and `grpo` from the former by the latter. All are
asked the held-out prompts, greedily. `hacked` has the number of words as its only reward: what the watch of `stop_when`
is for.

Figures are means over prompts and seeds with the 95 % interval of a bootstrap that draws both again. ↑ and ↓: `grpo`
against the model that it started from, by the exact test of `tasks.evaluate.exact` on the means over the seeds, prompt
by prompt, at 0.025 either way. `oracle` is that of the drawn answers: the mean of helpful, harmless and honest over
those it has a figure for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from alignery.config.methods import line_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from bench.training.learning import POLICY, answers, figure, scored
from bench.training.samples import change
from bench.training.scorers import Scored
from nano.oracle import score
from tasks.methods.registry import built_in
from tasks.train.config import Settings, TrainingFailed
from tasks.train.recipes.rl.curves import Points, panels
from warehouse import Lake
from warehouse.export.export import export
from warehouse.query import status
from warehouse.query.snapshots import release_of

VIEWS = ("constitutional", "soft_preferences")
START, RL, HACKED = "constitutional_sft", "grpo", "hacked"
Drawn = dict[str, Points]  # figure → its curve
Found = tuple[dict[str, Scored], Drawn, str]  # a seed's figures, its curves, and what the watch said of the hacked one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", type=int, help="instructions to learn from; the preset's if left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", default="{}", help="further settings of grpo, as JSON")
    parser.add_argument("--picture", type=Path, help="draw the curves there, as SVG")
    parser.add_argument("--home", type=Path, help="keep the lake and the models there; what is there is not made again")
    given = parser.parse_args()
    began, home_context = time.monotonic(), nullcontext(given.home) if given.home else tempfile.TemporaryDirectory()
    context = multiprocessing.get_context("spawn")
    with home_context as folder, ProcessPoolExecutor(2, mp_context=context) as pool:
        home = Path(folder)
        pool.submit(write, home / "data", given.accept).result()
        changes = json.loads(given.set)
        jobs = [pool.submit(taught, home, given.accept, seed, changes) for seed in range(given.seeds)]
        found = [job.result() for job in jobs]
    print(table([one for one, _, _ in found]))
    for seed, (_, curves, why) in enumerate(found):
        ends = ", ".join(f"{name} {points[0][1]:.3g} → {points[-1][1]:.3g}" for name, points in curves.items())
        print(f"\nseed {seed}: {ends}\n{HACKED}: {why}")
    print(f"\nseeds: {given.seeds}, {(time.monotonic() - began) / 60:.0f} minutes.")
    if given.picture:
        figures = {
            name: {f"seed {seed}": curves[name] for seed, (_, curves, _) in enumerate(found)} for name in found[0][1]
        }
        given.picture.write_text(panels("grpo on nano's preference model, a point a step", figures), encoding="utf-8")


def prepared(accept: int | None) -> Preset:
    preset = load("nano-rl")
    if accept is None:
        return preset
    fewer = {"self_instruct": preset.line.self_instruct.model_copy(update={"accept": accept})}
    line = line_model(preset.registry).model_validate(preset.line.model_dump() | fewer)
    return preset.model_copy(update={"line": line})


def write(home: Path, accept: int | None) -> None:
    """The data that all learn from, published as v1, once."""
    preset = prepared(accept)
    with Lake.open(home) as lake:
        if not any(row["name"] == "v1" for row in status.tags(lake)):
            summary = asyncio.run(run_refresh(preset, lake))
            assert summary.state == "finished", summary.message
            tag_and_export(preset, lake, home, "v1")
        release = release_of(lake, "v1")
    with Lake.open(home, snapshot=release.snapshot_id) as pinned:
        for view in VIEWS:
            if not (place := home / "exports" / f"v1-{view}").exists():
                export(pinned, [view], place, release=release, licences={})


def taught(home: Path, accept: int | None, seed: int, changes: Mapping[str, Any]) -> Found:
    """One seed's models, their figures and curves."""
    preset, place = prepared(accept), home / f"seed-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    base = Path(preset.spec("generator").model)
    start = trained(preset, home, place, START, base, {"seed": seed})
    reward = trained(preset, home, place, "reward", base, {"seed": seed})
    after = trained(preset, home, place, RL, start, {"seed": seed, "reward_model": reward, **changes})
    found = {"base": judged(preset, base, place), START: judged(preset, start, place), RL: judged(preset, after, place)}
    hack = {**changes, "seed": seed, "rules": {"words": 1.0}, "learning_rate": 1e-4, "beta": 0.001, "epochs": 40}
    try:
        trained(preset, home, place, RL, start, hack, HACKED)
        why = "not stopped"
    except TrainingFailed as error:
        why = str(error)
    return found, drawn(after), why


def trained(
    preset: Preset, home: Path, place: Path, recipe: str, base: Path, changes: Mapping[str, Any], name: str = ""
) -> Path:
    """The folder of the model that a recipe makes of the published rows, in this process."""
    out = place / (name or recipe)
    if out.exists():
        return out
    assert preset.retrain is not None
    given: Settings = preset.retrain.given()[recipe]
    config = type(given).model_validate(given.model_dump() | dict(changes))
    built_in().recipes[recipe].train(home / "data" / "exports" / f"v1-{config.view}" / "data", base, out, config)
    return out


def judged(preset: Preset, model: Path, place: Path) -> Scored:
    """A model's figures on the held-out prompts, kept beside it."""
    path = place / f"{model.name}.json"
    if not path.exists():
        path.write_text(json.dumps(scored(answers(preset, model))), encoding="utf-8")
    found: Scored = json.loads(path.read_text(encoding="utf-8"))
    return found


def drawn(model: Path) -> Drawn:
    """The curves of a training: the watch's figures, and the oracle's of the answers that were drawn."""
    import pyarrow.parquet as pq

    history = json.loads((model / "history.json").read_text(encoding="utf-8"))
    names = [name for name in history[0] if name.startswith("rollouts/")]
    curves: Drawn = {name.partition("/")[2]: [(row["step"], row[name]) for row in history] for name in names}
    by_step: dict[int, list[float]] = {}
    for part in sorted((model / "rollouts").glob("*.parquet")):
        for row in pq.read_table(part, columns=["step", "prompt", "completion"]).to_pylist():
            by_step.setdefault(row["step"], []).extend(oracle(row["prompt"][-1]["content"], row["completion"]))
    return curves | {"oracle": [(step, sum(found) / len(found)) for step, found in sorted(by_step.items()) if found]}


def oracle(prompt: str, answer: str) -> list[float]:
    """The figures of an answer on the gate's axes; none where the prompt is no sentence of the micro-world."""
    try:
        figures = score(prompt, answer)
    except ValueError:
        return []
    axes = ("helpful", "harmless", "abstains_on_unknown")
    return [figures[name] for name in axes if name in figures]


def table(found: Sequence[Mapping[str, Scored]]) -> str:
    """The Markdown: a row a model, an axis a column."""
    lines = ["| model | " + " | ".join(POLICY.axes) + " |", "|---|" + "---|" * len(POLICY.axes)]
    for label in found[0]:
        cells = []
        for axis in POLICY.axes:
            value, low, high = figure([one[label] for one in found], axis)
            before = {id: sum(one[START][axis][id] for one in found) / len(found) for id in found[0][START][axis]}
            mark = change(before, [one[label][axis] for one in found]) if label == RL else ""
            cells.append(f"{value:.3f} ({low:.2f}–{high:.2f}){mark}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
