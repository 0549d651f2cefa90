"""What is learnt from several scored answers, on nano and by its oracle: `python bench/training/samples.py`.

One refresh of nano's own writing: instructions, `--k` answers to each, a mark for each of these, and two compared.
On it each recipe is trained from the base model, once a seed, and asked the 400 held-out prompts, greedily. `raft` goes
on for `--rounds` rounds: the model that the round before made draws the samples, and is trained on the best of them.
`reward` learns from the comparisons, then scores the samples, and `raft by the reward model` learns the best of those.

Figures are means over prompts and seeds with the 95 % interval of a bootstrap that draws both again. ↑ and ↓: the means
over the seeds, prompt by prompt, are above or below the base model's by the exact test of `tasks.evaluate.exact`, at
0.025 either way. `--recipes rrhf pro` trains these alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
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
from bench.training.learning import POLICY, SMALL, TUNE, answers, figure, scored
from bench.training.scorers import Scored
from tasks.engines import parse_spec
from tasks.evaluate import exact
from tasks.methods.registry import built_in
from tasks.step import Row
from warehouse import Lake
from warehouse.export.export import export
from warehouse.query import status
from warehouse.query.snapshots import release_of

LISTED = SMALL | {"epochs": 3, "learning_rate": 5e-4}
PAIRED = SMALL | {"epochs": 3, "learning_rate": 5e-4}
RECIPES: dict[str, Any] = {
    "raft": TUNE,
    "rrhf": LISTED,
    "pro": LISTED | {"learning_rate": 2e-4, "score_scale": 0.25},
    "dpo_norm": PAIRED,
    "dpo_sft": PAIRED,
    "cdpo": PAIRED,
    "simpo": PAIRED,
    "orpo": LISTED,
    "kto": PAIRED,
    "reward": PAIRED | {"learning_rate": 1e-4},
}
LEVEL = 0.025
# In the order in which they drew.
POLICIES = """
    SELECT p.* FROM policies p
    JOIN (SELECT model, min(created_at) AS at FROM attempts WHERE step = 'samples.sample' GROUP BY model) a
    ON a.model = p.policy WHERE p.scorer = 'rating' ORDER BY a.at
"""
Drawn = tuple[int, int]  # instructions, answers to each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", type=int, default=300, help="instructions that the recipes learn from")
    parser.add_argument("--k", type=int, default=8, help="answers to each")
    parser.add_argument("--rounds", type=int, default=3, help="of RAFT")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument(
        "--home", type=Path, help="keep the lakes and the models there; what is there is not made again"
    )
    given = parser.parse_args()
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    home_context = nullcontext(given.home) if given.home else tempfile.TemporaryDirectory()
    with home_context as folder, ProcessPoolExecutor(2, mp_context=context) as pool:
        home, drawn, found = Path(folder), (given.accept, given.k), dict[str, list[Scored]]()
        pool.submit(write, home / "data", drawn).result()
        for job in [pool.submit(taught, home, drawn, given.recipes, given.rounds, s) for s in range(given.seeds)]:
            scores, policies = job.result()
            for label, figures in scores.items():
                found.setdefault(label, []).append(figures)
    print(table(found))
    if "raft" in given.recipes:
        print(f"\nThe last seed's rounds of RAFT (view `policies`):\n\n{rounds_table(policies)}")
    print(f"\n{given.accept} instructions, {given.k} answers to each, seeds: {given.seeds}, ", end="")
    print(f"{(time.monotonic() - began) / 60:.0f} minutes.")


def prepared(accept: int, k: int) -> Preset:
    """The preset of samples, with so many of them, and two answers compared."""
    preset = load("nano-samples")
    line = preset.line.model_dump() | {
        "self_instruct": preset.line.self_instruct.model_copy(update={"accept": accept}),
        "samples": preset.line.samples.model_copy(update={"k": k}),
        "compare": {"sampling": {"temperature": 1.0, "max_tokens": 64}},
    }
    return preset.model_copy(update={"line": line_model(preset.registry).model_validate(line)})


def write(home: Path, drawn: Drawn) -> None:
    """The data that all recipes learn from, published as v1."""
    with Lake.open(home) as lake:
        refreshed(prepared(*drawn), lake, home, "v1")


def refreshed(preset: Preset, lake: Lake, home: Path, tag: str) -> None:
    """A run whose rows are published as that tag, once."""
    if any(row["name"] == tag for row in status.tags(lake)):
        return
    summary = asyncio.run(run_refresh(preset, lake))
    assert summary.state == "finished", summary.message
    tag_and_export(preset, lake, home, tag)


def taught(
    home: Path, drawn: Drawn, recipes: Sequence[str], rounds: int, seed: int
) -> tuple[dict[str, Scored], list[Row]]:
    """The figures of every model that the data trains with one seed, and what the rounds of RAFT drew."""
    place, preset = home / f"seed-{seed}", prepared(*drawn)
    if not place.exists():
        shutil.copytree(home / "data", place)
    base, models = Path(preset.spec("generator").model), dict[str, Path]()
    with Lake.open(place) as lake:
        for name in recipes:
            models[name] = trained(lake, place, "v1", name, base, seed)
        if reward := models.pop("reward", None):
            models["raft by the reward model"] = rewarded(preset, lake, place, reward, seed)
        for number in range(2, rounds + 1 if "raft" in models else 2):
            before = models["raft" if number == 2 else f"raft, round {number - 1}"]
            models[f"raft, round {number}"] = further(preset, lake, place, before, number, seed)
        policies = lake.rows(POLICIES)
    return {label: judged(preset, path, place) for label, path in {"base": base, **models}.items()}, policies


def judged(preset: Preset, model: Path, home: Path) -> Scored:
    """A model's figures on the held-out prompts, kept beside the lake."""
    path = home / "figures" / f"{model.name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(scored(answers(preset, model))), encoding="utf-8")
    found: Scored = json.loads(path.read_text(encoding="utf-8"))
    return found


def trained(lake: Lake, home: Path, tag: str, recipe: str, base: Path, seed: int) -> Path:
    """The folder of the model that a recipe makes of a tag's rows, in this process."""
    how = built_in().recipes[recipe]
    config = how.config(**RECIPES[recipe], seed=seed)
    folder, out = home / "exports" / f"{tag}-{config.view}", home / "trained" / f"{recipe}-{tag}"
    if out.exists():
        return out
    if not folder.exists():
        release = release_of(lake, tag)
        with Lake.open(home, snapshot=release.snapshot_id) as pinned:
            export(pinned, [config.view], folder, release=release, licences={})
    how.train(folder / "data", base, out, config)
    return out


def further(preset: Preset, lake: Lake, home: Path, before: Path, number: int, seed: int) -> Path:
    """RAFT's next round: from the model of the round before, on samples of its own, which the base model marks."""
    named = preset.spec("generator").model_copy(update={"model": str(before)})
    models = {**preset.models, "judge": preset.spec("generator"), "generator": named}
    refreshed(preset.model_copy(update={"models": models}), lake, home, f"round-{number}")
    return trained(lake, home, f"round-{number}", "raft", before, seed)


def rewarded(preset: Preset, lake: Lake, home: Path, reward: Path, seed: int) -> Path:
    """A model trained on the samples that a reward model finds the best."""
    spec = parse_spec({"engine": "reward", "model": str(reward), "threads": 1})
    line = preset.line.model_dump() | {"score": {"reward": True, "aspects": []}}
    models = {**preset.models, "reward": spec}
    one = preset.model_copy(update={"models": models, "line": line_model(preset.registry).model_validate(line)})
    refreshed(one, lake, home, "by-reward")
    return trained(lake, home, "by-reward", "raft", Path(preset.spec("generator").model), seed)


def table(found: Mapping[str, Sequence[Scored]]) -> str:
    """The Markdown: a row a model, an axis a column."""
    lines = ["| model | " + " | ".join(POLICY.axes) + " |", "|---|" + "---|" * len(POLICY.axes)]
    for label, seeds in found.items():
        cells = []
        for axis in POLICY.axes:
            value, low, high = figure(seeds, axis)
            mark = "" if label == "base" else change(found["base"][0][axis], [one[axis] for one in seeds])
            cells.append(f"{value:.3f} ({low:.2f}–{high:.2f}){mark}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def change(base: Mapping[str, float], seeds: Sequence[Mapping[str, float]]) -> str:
    """How the means over the seeds compare with the base model, by the exact test."""
    means = [sum(one[id] for one in seeds) / len(seeds) - value for id, value in base.items()]
    if exact.better(means) <= LEVEL:
        return " ↑"
    return " ↓" if exact.better([-mean for mean in means]) <= LEVEL else ""


def rounds_table(policies: Sequence[Row]) -> str:
    head = ("mean_score", "best_score", "worst_score", "distinct_2")
    lines = ["| round | samples | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    for number, row in enumerate(policies, 1):
        cells = " | ".join(f"{row[name]:.3f}" for name in head)
        lines.append(f"| {number} | {row['samples']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
