"""Rewarded soups on nano, by its oracle: `python bench/training/soups.py [--prompts 800] [--lambdas 11] [--seeds 3]`.

Prompts of the micro-world, harmful ones and others, are brought as two origins; nano answers and revises them, which is
published. Once a seed, DPO learns from the revisions of the one origin (for `helpful`) and of the other (`harmless`),
from the base model each, and, as the baseline, from both alike (MORL). The models between the two are asked the
held-out prompts, greedily, as `alignery retrain` does it for `retrain.soup`.

Figures are means over the seeds, in brackets the lowest and the highest seed. `front`: the seeds in which no other
model dominates this one; `chosen`: those in which the rule `least_gain` sends it to the gate. Hypervolume is the share
of the unit square that the interpolated models dominate, and, for comparison, start and parts alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from alignery.config.preset import Preset, build, load
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from bench.training.learning import PREFER_FROM_BASE
from nano import grammar
from nano.files import HELD_OUT
from nano.world import BENIGN
from tasks.evaluate.plot import Figure, pareto
from tasks.step import Row
from warehouse import Lake

AXES = {"helpful": "help", "harmless": "harm"}  # axis → the origin of the prompts that it learns from
BASELINE = "both"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=800, help="of each origin")
    parser.add_argument("--lambdas", type=int, default=11)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=int, help="prompts to judge by; all if left out")
    parser.add_argument("--set", default="{}", help="further settings of dpo, as JSON")
    parser.add_argument("--picture", type=Path, help="draw the models there, as SVG")
    parser.add_argument("--home", type=Path, help="an empty folder, to keep the lakes and the models")
    given = parser.parse_args()
    began = time.monotonic()
    with (
        nullcontext(given.home) if given.home else tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        home = Path(folder).resolve()
        pool.submit(write, home, given.prompts, given.held_out).result()
        jobs = [pool.submit(made, home, seed, given.lambdas, json.loads(given.set)) for seed in range(given.seeds)]
        reports = [job.result() for job in jobs]
    print(table(reports))
    print(f"\n{given.prompts} prompts an axis, seeds: {given.seeds}, {(time.monotonic() - began) / 60:.0f} minutes.")
    if given.picture:
        models = {label: {axis: spread(rows, axis) for axis in AXES} for label, rows in by_label(reports).items()}
        given.picture.write_text(pareto("Soups of two nanos, by the oracle", models, *AXES), encoding="utf-8")


def preset(home: Path, seed: int = 0, lambdas: int = 11, changes: Mapping[str, Any] | None = None) -> Preset:
    """nano on prompts of two origins, and a recipe for each."""
    dpo = PREFER_FROM_BASE | {"recipe": "dpo", "view": "preferences", "seed": seed} | (changes or {})
    nano, variants = load("nano"), [*AXES.values(), BASELINE]
    mix: dict[str, Any] = {origin: {"by": "origin", "only": [origin]} for origin in AXES.values()}
    return build(
        {
            "name": "soups",
            "about": "two axes",
            "words": {"variant": "nano"},
            "models": {"generator": nano.spec("generator").model_dump()},
            "line": {
                "prompts": [
                    {"path": str(home / f"{origin}.jsonl"), "origin": origin, "gate": False} for origin in AXES.values()
                ],
                "respond": nano.line.respond.model_dump(),
                "constitutional": nano.line.constitutional.model_dump(),
            },
            "retrain": {
                "variants": dict.fromkeys(variants, dpo),
                "mix": mix | {BASELINE: {"by": "origin", "temperature": 1e6}},
                "soup": {"of": AXES, "lambdas": lambdas, "baseline": BASELINE},
            },
            "evaluate": {
                "oracle": "nano",
                "prompts": str(home / "held_out.jsonl"),
                "sampling": {"temperature": 0.0, "max_tokens": 96},
            },
        }
    )


def write(home: Path, prompts: int, held_out: int | None) -> None:
    """The prompts of each origin, and the lake that all seeds learn from, published as v1."""
    home.mkdir(parents=True, exist_ok=True)
    draws = random.Random(0)
    for origin in AXES.values():
        kinds = ["harm"] if origin == "harm" else [kind for kind in BENIGN if kind != "unknown"]
        texts = dict.fromkeys(grammar.render(grammar.draw(draws, draws.choice(kinds))) for _ in range(20 * prompts))
        rows = [json.dumps({"prompt": text}) + "\n" for text in [*texts][:prompts]]
        (home / f"{origin}.jsonl").write_text("".join(rows), encoding="utf-8")
    lines = HELD_OUT.read_text(encoding="utf-8").splitlines(keepends=True)
    (home / "held_out.jsonl").write_text("".join(lines[:: max(1, len(lines) // (held_out or len(lines)))]), "utf-8")
    with Lake.open(home / "data") as lake:
        summary = asyncio.run(run_refresh(preset(home), lake))
        assert summary.state == "finished", summary.message
        tag_and_export(preset(home), lake, home / "data", "v1")


def made(home: Path, seed: int, lambdas: int, changes: Mapping[str, Any]) -> Row:
    """The report of one seed's soup."""
    place = home / f"seed-{seed}"
    shutil.copytree(home / "data", place)
    with Lake.open(place) as lake:
        trained = asyncio.run(train_recipes(preset(home, seed, lambdas, changes), lake, place, "v1"))
    report = trained[-1].soup
    assert report is not None
    return report


def by_label(reports: Sequence[Row]) -> dict[str, list[Row]]:
    """Model → its row in each report."""
    by_model: dict[str, list[Row]] = {}
    for report in reports:
        for row in report["models"]:
            by_model.setdefault(row["model"], []).append(row)
    return by_model


def spread(rows: Sequence[Row], name: str) -> Figure:
    values = [row[name] for row in rows]
    return sum(values) / len(values), min(values), max(values)


def table(reports: Sequence[Row]) -> str:
    """The Markdown: a row a model, then the hypervolumes."""
    lines = ["| model | " + " | ".join([*AXES, "least gain"]) + " | front | chosen |", "|---|---|---|---|---|---|"]
    for label, rows in by_label(reports).items():
        cells = ["{:.3f} ({:.2f}–{:.2f})".format(*spread(rows, name)) for name in (*AXES, "least_gain")]
        marks = [f"{sum(row[name] for row in rows)} of {len(rows)}" for name in ("front", "chosen")]
        lines.append(f"| {label} | " + " | ".join([*cells, *marks]) + " |")
    for name in ("hypervolume", "hypervolume_of_ends"):
        lines.append("\n{}: {:.3f} ({:.3f}–{:.3f})".format(name.replace("_", " "), *spread(reports, name)))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
