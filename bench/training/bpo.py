"""What a rewriter in front of a model is worth, on nano and by its oracle: `python bench/training/bpo.py`.

One refresh of the preset `nano-bpo`, published. On it the recipe `rewriter` is trained from the base model, once a
seed, and `dpo` on the preferences. The held-out prompts are then answered, greedily, by the base model and by that of
`dpo`: as they are, as the trained rewriter puts them, and as nano itself does, untrained. ΔWR is the share of prompts
on which a row is better than the base model on the prompts as they are, less the share on which it is worse; better and
worse go by the sum of the oracle's figures that a prompt has. Means over prompts and seeds with the 95 % interval of a
bootstrap that draws both again.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from learning import SMALL, asked, figure, scored, seeded
from scorers import Scored

from alignery.config.methods import line_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.refreshing import run_refresh
from alignery.pipeline.runs.training import train_recipes
from tasks.evaluate import held_out
from tasks.methods.prompt_optimization.method import rewrite
from tasks.step import Row
from warehouse import Lake

BASE = "base, as asked"
RECIPES: dict[str, Any] = {
    "rewriter": SMALL | {"epochs": 2, "learning_rate": 2e-4},
    "dpo": SMALL | {"epochs": 3, "learning_rate": 5e-4, "view": "preferences"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", type=int, default=300, help="instructions of the refresh")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="an empty folder, to keep the lake and the models")
    given = parser.parse_args()
    found: dict[str, list[Scored]] = {}
    with nullcontext(given.home) if given.home else tempfile.TemporaryDirectory() as home:
        preset = prepared(given.accept)
        with Lake.open(Path(home)) as lake:
            summary = asyncio.run(run_refresh(preset, lake))
            assert summary.state == "finished", summary.message
            published = tag_and_export(preset, lake, Path(home), "v1")
            for seed in range(given.seeds):
                one = preset.model_copy(update={"retrain": seeded(RECIPES, seed)})
                models = {t.recipe: t.path for t in asyncio.run(train_recipes(one, lake, Path(home), "v1"))}
                for label, rows in answered(preset, models).items():
                    found.setdefault(label, []).append(scored(rows))
    print(table(found))
    print(f"\n{given.accept} instructions, {published.rows['optimized']} rewrites, seeds: {given.seeds}.")


def prepared(accept: int) -> Preset:
    preset = load("nano-bpo")
    fewer = preset.line.self_instruct.model_copy(update={"accept": accept})
    line = line_model(preset.registry).model_validate(preset.line.model_dump() | {"self_instruct": fewer})
    return preset.model_copy(update={"line": line})


def answered(preset: Preset, models: dict[str, Path]) -> dict[str, list[Row]]:
    """Each row of the table: the answers {prompt_id, prompt, text} of a model to the prompts in some words."""
    assert preset.evaluate is not None
    prompts = held_out.load(preset.evaluate.prompts)
    words = {
        "as asked": [row["prompt"] for row in prompts],
        "rewritten": rewrites(preset, prompts, models["rewriter"]),
        "rewritten by nano, untrained": rewrites(preset, prompts, None),
    }
    step = held_out.answer(preset.library(), preset.evaluate.sampling, "held out")
    found = {}
    for name, model in (("base", None), ("dpo", models["dpo"])):
        for how, texts in words.items():
            rows = [row | {"asked": text} for row, text in zip(prompts, texts, strict=True)]
            replies = asked(preset, step, rows, model)
            found[f"{name}, {how}"] = [row | {"text": text} for row, text in zip(prompts, replies, strict=True)]
    return found


def rewrites(preset: Preset, prompts: list[Row], model: Path | None) -> list[str]:
    """The prompts as a rewriter puts them; one whose rewrite is not accepted stays as it is."""
    rows = [{"instruction_id": row["prompt_id"], "instruction": row["prompt"]} for row in prompts]
    step = rewrite(preset.library(), preset.line.prompt_optimization)
    return [text or row["prompt"] for text, row in zip(asked(preset, step, rows, model), prompts, strict=True)]


def gained(base: Scored, found: Scored) -> Scored:
    """ΔWR's terms: 1 for a prompt on which the sum of the oracle's figures is above the base's, -1 where below."""
    axes = [axis for axis in base if base[axis]]
    prompts = {id for axis in axes for id in base[axis]}

    def total(figures: Scored, id: str) -> float:
        return sum(figures[axis].get(id, 0.0) for axis in axes)

    sums = {id: total(found, id) - total(base, id) for id in prompts}
    return {"ΔWR": {id: float((gain > 0) - (gain < 0)) for id, gain in sums.items()}}


def table(found: dict[str, list[Scored]]) -> str:
    """The Markdown: a row a model and words, ΔWR and an axis a column."""
    axes = list(found[BASE][0])
    lines = ["| model, prompts | ΔWR | " + " | ".join(axes) + " |", "|---|---|" + "---|" * len(axes)]
    for label, seeds in found.items():
        won = [gained(base, one) for base, one in zip(found[BASE], seeds, strict=True)]
        cells = [figure(won, "ΔWR"), *(figure(seeds, axis) for axis in axes)]
        shown = [f"{value:.3f} ({low:.2f}–{high:.2f})" for value, low, high in cells]
        lines.append(f"| {label} | {' | '.join(['–' if label == BASE else shown[0], *shown[1:]])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
