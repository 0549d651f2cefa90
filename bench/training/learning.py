"""What the loop teaches, on nano and by its oracle: `python bench/training/learning.py [--accept 600] [--seeds 3]`.

`--recipes sft hindsight` trains these alone.

One refresh of nano's own writing is published. On it each recipe is trained, once a seed; the Aligner is stacked on the
base model and on two others; a base model is trained on what that Aligner corrected over what it had answered; and
beside that, rounds of bootstrapping go from a lake of their own. All are asked the held-out prompts, greedily.

Figures are means over prompts and seeds, with the 95 % interval of a bootstrap that draws both again. ↑ and ↓: the
difference from the base model, prompt by prompt, is away from zero by more than its interval. Scorers write nothing:
their figure is how often the better one of two answers scores higher, by the oracle, the base model's and the one of
`dpo`; 0.5 is chance. `salmon` is sent a principle of each axis, and negated the same one turned round. Of a chain of
thought the final answer is scored.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignery.config.methods import line_model, retrain_model
from alignery.config.preset import Preset, load
from alignery.config.schema import Retrain
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.rounds import run_rounds
from alignery.pipeline.runs.training import base_spec, train_recipes
from bench.training.scorers import SCORERS, Scored, scorers_figures
from nano.oracle import score
from tasks.engines.lazy import open_lazily
from tasks.evaluate import gate, held_out
from tasks.evaluate.plot import Figure, dots
from tasks.methods.aligner import method as aligner
from tasks.methods.registry import installed
from tasks.step import Outcome, Request, Row, Step, execute
from warehouse import Lake

POLICY = gate.Policy()
SMALL = {"batch_size": 16, "gradient_accumulation": 1, "max_length": 256, "threads": 1, "warmup": 0.1}
TUNE = SMALL | {"epochs": 3, "learning_rate": 5e-4}
PREFER = SMALL | {"epochs": 2, "learning_rate": 1e-4}
# From the base model, which never gives the better answers by itself, there is further to go than from an engraved one.
PREFER_FROM_BASE = SMALL | {"epochs": 3, "learning_rate": 5e-4, "view": "corrected"}
RECIPES: dict[str, Any] = {
    "start_from": {"dpo": "engrave"},
    "sft": TUNE,
    "engrave": TUNE | {"lora": None},
    "verbose": TUNE | {"lora": None},
    "constitutional_sft": TUNE,
    "hindsight": TUNE | {"view": "preferences", "max_length": 384},
    "tagged": TUNE | {"view": "preferences"},
    "chain_of_thought": TUNE,
    "dpo": PREFER,
    "aligner": TUNE | {"view": "qac_revised"},
    "reward": PREFER,
    "inspector": PREFER | {"view": "qac_revised"},
    "salmon": TUNE,
    "dialogue": TUNE,
}
# Two models to stack the Aligner on beside the base: one that learnt its revisions, and the best there is.
UPSTREAMS = ("constitutional_sft", "dpo")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", type=int, default=600, help="instructions that the recipes learn from")
    parser.add_argument("--per-round", type=int, default=200, help="instructions of a round of bootstrapping")
    parser.add_argument("--seeds", type=int, default=3)
    names = [name for name in RECIPES if name != "start_from"]
    parser.add_argument("--recipes", nargs="+", default=names, choices=names, help="dpo goes on from engrave")
    parser.add_argument("--picture", type=Path, help="draw the table there, as SVG")
    parser.add_argument("--home", type=Path, help="an empty folder, to keep the lakes and the models")
    given = parser.parse_args()
    began = time.monotonic()
    with nullcontext(given.home) if given.home else tempfile.TemporaryDirectory() as home:
        found = gathered(Path(home), given.accept, given.per_round, given.seeds, given.recipes)
    print(table(found))
    print(f"\n{given.accept} instructions, seeds: {given.seeds}, {(time.monotonic() - began) / 60:.0f} minutes.")
    if given.picture:
        figures = {label: {axis: figure(seeds, axis) for axis in POLICY.axes} for label, seeds in found.items()}
        given.picture.write_text(dots("Held-out prompts, by the oracle", figures), encoding="utf-8")


def gathered(home: Path, accept: int, per_round: int, seeds: int, names: Sequence[str]) -> dict[str, list[Scored]]:
    """Each row of the table, with the figures of each seed; rounds of bootstrapping only if all recipes are trained.

    Two processes of one thread each do the work.
    """
    found: dict[str, list[Scored]] = {}
    recipes = {name: config for name, config in RECIPES.items() if name in names}
    if "dpo" in recipes:
        recipes["start_from"] = RECIPES["start_from"]
    bootstraps = seeds if len(names) == len(RECIPES) - 1 else 0
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        data = pool.submit(write, learning, home / "data", accept)
        rounds = [pool.submit(bootstrapped, home / f"rounds-{seed}", per_round, seed) for seed in range(bootstraps)]
        data.result()
        trainings = [pool.submit(taught, home, accept, seed, recipes) for seed in range(seeds)]
        for job in (*trainings, *rounds):
            for label, figures in job.result().items():
                found.setdefault(label, []).append(figures)
    return found


def learning(accept: int) -> Preset:
    """nano's preset with long answers and judged pairs, and every recipe."""
    nano = load("nano")
    line = nano.line.model_dump() | {
        "self_instruct": nano.line.self_instruct.model_copy(update={"accept": accept}),
        "verbose": {"sampling": {"temperature": 0.7, "max_tokens": 96}},
        "compare": {"pairs": "revision"},
        "reason": {"k": 5, "sampling": {"temperature": 0.5, "max_tokens": 128}},
        "dialogue": load("nano-dialogue").line.dialogue,
    }
    return nano.model_copy(
        update={
            "line": line_model(nano.registry).model_validate(line),
            "retrain": retrain_model(installed()).model_validate(RECIPES),
        }
    )


def write(preset_for: Callable[[int], Preset], home: Path, accept: int) -> None:
    """What the preset for so many instructions writes in one refresh, published as v1. Presets cannot be pickled."""
    preset = preset_for(accept)
    with Lake.open(home) as lake:
        summary = asyncio.run(run_refresh(preset, lake))
        assert summary.state == "finished", summary.message
        tag_and_export(preset, lake, home, "v1")


def seeded(retrain: Mapping[str, Any], seed: int) -> Retrain:
    return retrain_model(installed()).model_validate(
        {name: config if name == "start_from" else config | {"seed": seed} for name, config in retrain.items()}
    )


def taught(home: Path, accept: int, seed: int, recipes: Mapping[str, Any]) -> dict[str, Scored]:
    """Every model that the data trains, with one seed, and what the Aligner makes of others' answers."""
    place = home / f"seed-{seed}"
    shutil.copytree(home / "data", place)
    preset = learning(accept)
    preset = preset.model_copy(update={"retrain": seeded(recipes, seed)})
    with Lake.open(place) as lake:
        models = {one.recipe: one.path for one in asyncio.run(train_recipes(preset, lake, place, "v1"))}
        if "aligner" in models:
            models["dpo on corrections"] = on_corrections(preset, lake, place, models["aligner"], seed)
    scorers = {name: models.pop(name) for name in SCORERS if name in models}
    corrector = models.pop("aligner", None)
    answered = {"base": answers(preset)}
    answered |= {name: answers(preset, path, thought=name == "chain_of_thought") for name, path in models.items()}
    upstreams = [name for name in ("base", *UPSTREAMS) if corrector and name in answered]
    stacked = {f"aligner on {name}": corrections(preset, corrector, answered[name]) for name in upstreams}
    found = {label: scored(rows) for label, rows in (answered | stacked).items()}
    if "dpo" not in answered:
        return found
    return found | scorers_figures(preset, scorers, [(answered[name], found[name]) for name in ("base", "dpo")])


def on_corrections(preset: Preset, lake: Lake, home: Path, corrector: Path, seed: int) -> Path:
    """The base model, trained on what a trained Aligner made of its answers, over these (Aligner, section 5)."""
    named = preset.spec("generator").model_copy(update={"model": str(corrector)})
    corrected = preset.model_copy(
        update={
            "models": {**preset.models, "aligner": named},
            "retrain": seeded({"dpo": PREFER_FROM_BASE}, seed),
        }
    )
    asyncio.run(run_refresh(corrected, lake))
    tag_and_export(corrected, lake, home, "corrected")
    (one,) = asyncio.run(train_recipes(corrected, lake, home, "corrected"))
    return one.path


def bootstrapped(home: Path, per_round: int, seed: int) -> dict[str, Scored]:
    """The model in place after each round; a round that does not help leaves the one before, and ends it.

    A round is small, and revises once, so that there is room for the next one to help.
    """
    nano = load("nano")
    line = nano.line.model_dump() | {
        "self_instruct": nano.line.self_instruct.model_copy(update={"accept": per_round}),
        "constitutional": nano.line.constitutional.model_copy(update={"rounds": 1}),
        "self_align": None,
    }
    recipes = seeded({"constitutional_sft": TUNE}, seed)
    preset = nano.model_copy(
        update={"line": line_model(nano.registry).model_validate(line), "retrain": recipes, "follow": ("generator",)}
    )
    with Lake.open(home) as lake:
        done = asyncio.run(run_rounds(preset, lake, home, ROUNDS))
    found, in_place = {}, None
    for number in range(ROUNDS):
        in_place = done.rounds[number].promoted.get("generator", in_place) if number < len(done.rounds) else in_place
        found[f"bootstrap, round {number + 1}"] = scored(answers(preset, in_place))
    print(f"seed {seed}: {done.why}", flush=True)
    return found


def answers(preset: Preset, model: Path | str | None = None, thought: bool = False) -> list[Row]:
    """A model's answers to the held-out prompts, rows {prompt_id, prompt, text}; the base model's if none is named.

    Args:
        thought: the model thinks first, on a line by itself; what follows "Answer:" is its answer.
    """
    assert preset.evaluate is not None
    prompts = held_out.load(preset.evaluate.prompts)
    step = held_out.answer(preset.library(), preset.evaluate.sampling, "held out")
    if thought:
        step = replace(step, prompt=replace(step.prompt, stop=()))
    texts = asked(preset, step, prompts, model)
    if thought:
        texts = [text.rpartition("Answer:")[2].strip() for text in texts]
    return [row | {"text": text} for row, text in zip(prompts, texts, strict=True)]


def corrections(preset: Preset, corrector: Path, answered: list[Row]) -> list[Row]:
    """What an Aligner makes of answers; one whose correction is not accepted stays as it is."""
    assert preset.line.aligner is not None
    rows = [
        {"instruction_id": row["prompt_id"], "response_id": row["prompt_id"]}
        | {"instruction": row["prompt"], "response": row["text"]}
        for row in answered
        if row["text"]
    ]
    step = aligner.correct(preset.library(), preset.line.aligner)
    texts = dict(zip((row["response_id"] for row in rows), asked(preset, step, rows, corrector), strict=True))
    return [row | {"text": texts.get(row["prompt_id"]) or row["text"]} for row in answered]


def asked(preset: Preset, step: Step, rows: list[Row], model: Path | str | None) -> list[str]:
    """A model's accepted replies, "" for those that are not."""
    spec = base_spec(preset)

    async def ask() -> list[Row]:
        async with open_lazily(spec.model_copy(update={"model": str(model)}) if model else spec) as engine:
            outcome = Outcome(step, step.fingerprint(engine))
            await asyncio.gather(*(execute(Request(step, row, engine), {}, outcome) for row in rows))
        return outcome.records

    name = step.parents[-1]
    found = {record[name]: record["text"] for record in asyncio.run(ask())}
    return [found.get(row[name], "") for row in rows]


def scored(rows: list[Row]) -> Scored:
    return gate.per_prompt(POLICY, rows, rows, score)


def figure(seeds: Sequence[Scored], axis: str) -> Figure:
    """The mean over prompts and seeds, and its 95 % interval: seeds are drawn again, and prompts."""
    prompts = sorted(set.intersection(*(set(one[axis]) for one in seeds)))
    values = np.array([[one[axis][id] for id in prompts] for one in seeds])
    rng = np.random.default_rng(0)
    means = [
        values[rng.integers(len(seeds), size=len(seeds))][:, rng.integers(len(prompts), size=len(prompts))].mean()
        for _ in range(2000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def change(base: Sequence[Scored], seeds: Sequence[Scored], axis: str) -> str:
    """How a row compares with the base model on an axis."""
    old = base[0][axis]
    differences = [{axis: {id: value - old[id] for id, value in one[axis].items()}} for one in seeds]
    _, low, high = figure(differences, axis)
    return " ↑" if low > 0 else " ↓" if high < 0 else ""


def table(found: Mapping[str, Sequence[Scored]]) -> str:
    """The Markdown: a row a model, an axis a column."""
    lines = ["| model | " + " | ".join(POLICY.axes) + " |", "|---|" + "---|" * len(POLICY.axes)]
    for label, seeds in found.items():
        cells = []
        for axis in POLICY.axes:
            value, low, high = figure(seeds, axis)
            mark = "" if label.startswith(("base", *SCORERS)) else change(found["base"], seeds, axis)
            cells.append(f"{value:.3f} ({low:.2f}–{high:.2f}){mark}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
