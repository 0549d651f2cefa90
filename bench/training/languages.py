"""What the two routes into a language teach, on nano and by its oracle: `python bench/training/languages.py`.

One refresh by the preset `nano-languages`, on the checkpoint that knows Spanish. Each route trains a model on its rows,
once a seed, and both are asked the held-out prompts in Spanish, greedily. The answers must be in Spanish too.

Figures are means over prompts and seeds with the 95 % interval of a bootstrap that draws both again. ↑ and ↓: the
difference from the base model, prompt by prompt, is away from zero by more than its interval.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from alignery.config.methods import line_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.training import train_recipes
from bench.training.learning import answers, scored, seeded, table, write
from bench.training.scorers import Scored
from warehouse import Lake

FUNNEL = """
    SELECT step, count(*) AS attempts, avg(CAST(state = 'accepted' AS INTEGER)) AS accepted
    FROM attempts WHERE step LIKE 'translate.%' GROUP BY step ORDER BY step
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", type=int, default=400, help="instructions, of which nine in ten are translated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="an empty folder, to keep the lakes and the models")
    given = parser.parse_args()
    began, found = time.monotonic(), dict[str, list[Scored]]()
    with (
        nullcontext(given.home) if given.home else tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        home = Path(folder)
        pool.submit(write, languages, home / "data", given.accept).result()
        yields = accepted_shares(home / "data")
        for job in [pool.submit(taught, home, given.accept, seed) for seed in range(given.seeds)]:
            for label, figures in job.result().items():
                found.setdefault(label, []).append(figures)
    print(table(found), yields, sep="\n\n")
    print(f"\n{given.accept} instructions, seeds: {given.seeds}, {(time.monotonic() - began) / 60:.0f} minutes.")


def languages(accept: int) -> Preset:
    preset = load("nano-languages")
    wanted = {"self_instruct": preset.line.self_instruct.model_copy(update={"accept": accept})}
    line = line_model(preset.registry).model_validate(preset.line.model_dump() | wanted)
    return preset.model_copy(update={"line": line})


def accepted_shares(home: Path) -> str:
    """How many attempts of each translating step were accepted, a line each."""
    with Lake.open(home) as lake:
        rows = lake.rows(FUNNEL)
    return "\n".join(f"{row['step']}: {row['accepted']:.1%} of {row['attempts']} attempts accepted" for row in rows)


def taught(home: Path, accept: int, seed: int) -> dict[str, Scored]:
    """The base model's figures and those of each route's model, trained with one seed."""
    place, preset = home / f"seed-{seed}", languages(accept)
    shutil.copytree(home / "data", place)
    assert preset.retrain is not None
    recipes = {name: config.model_dump() for name, config in preset.retrain.given().items()}
    preset = preset.model_copy(update={"retrain": seeded(recipes, seed)})
    with Lake.open(place) as lake:
        models = {one.recipe: one.path for one in asyncio.run(train_recipes(preset, lake, place, "v1"))}
    answered = {"base": answers(preset)} | {name: answers(preset, path) for name, path in models.items()}
    return {label: scored(rows) for label, rows in answered.items()}


if __name__ == "__main__":
    main()
