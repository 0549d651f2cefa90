"""Aligner's bootstrap beside the plain one, on nano: `python bench/training/stacking.py [--per-round 200] [--seeds 3]`.

Both go three rounds with the gate and the same line (a revision an answer). The plain bootstrap (`learning.py`) trains
nano on its revisions (`constitutional_sft`). The other one is the preset `nano-stack` (Aligner, arXiv 2402.02416,
section 5): an Aligner learns the revisions and is stacked on nano, which is trained on corrections of its own
answers, on one half of the prompts supervised and on the other by preference; then both again. After each round the
figures are of the stack in place, and of its generator without Aligners.

Means over 400 held-out prompts and the seeds, by the oracle, with the 95 % interval of a bootstrap that draws both
again; ↑ and ↓: away from the base model by more than the interval.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from learning import ROUNDS, answers, bootstrapped, corrections, scored, seeded, table
from scorers import Scored

from alignery.config.methods import line_model
from alignery.config.preset import Preset, load
from alignery.pipeline.runs.rounds import run_rounds
from warehouse import Lake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-round", type=int, default=200, help="instructions of a round")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="which of the two")
    parser.add_argument("--home", type=Path, help="a folder that keeps the lakes and the models: go on from there")
    given = parser.parse_args()
    began = time.monotonic()
    found: dict[str, list[Scored]] = {"base": [scored(answers(load("nano-stack")))]}
    spawn = multiprocessing.get_context("spawn")
    with (
        nullcontext(given.home) if given.home else tempfile.TemporaryDirectory() as home,
        ProcessPoolExecutor(given.workers, mp_context=spawn) as pool,
    ):
        due = [(arm, seed) for seed in range(given.seeds) for arm in given.arms]
        jobs = [pool.submit(ARMS[arm], Path(home) / f"{arm}-{seed}", given.per_round, seed) for arm, seed in due]
        for job in jobs:
            for label, figures in job.result().items():
                found.setdefault(label, []).append(figures)
    print(table(dict(sorted(found.items()))))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{given.per_round} instructions a round, seeds: {given.seeds}, {minutes:.0f} minutes.")


def preset_of(per_round: int, seed: int) -> Preset:
    preset = load("nano-stack")
    instruct = preset.line.self_instruct.model_copy(update={"accept": per_round})
    line = line_model(preset.registry).model_validate(preset.line.model_dump() | {"self_instruct": instruct})
    assert preset.retrain is not None
    retrain = {name: config.model_dump() for name, config in preset.retrain.given().items()}
    return preset.model_copy(
        update={"line": line, "retrain": seeded(retrain | {"start_from": preset.retrain.start_from}, seed)}
    )


def stacked(home: Path, per_round: int, seed: int) -> dict[str, Scored]:
    """The scores after each round: of the stack in place, and of its generator without Aligners."""
    preset = preset_of(per_round, seed)
    with Lake.open(home) as lake:
        done = asyncio.run(run_rounds(preset, lake, home, ROUNDS))
    found: dict[str, Scored] = {}
    promoted: dict[str, str] = {}
    for number in range(1, ROUNDS + 1):
        promoted |= done.rounds[number - 1].promoted if number <= len(done.rounds) else {}
        answered = answers(preset, promoted.get("generator"))
        found[f"its generator, round {number}"] = scored(answered)
        whole = corrections(preset, Path(promoted["aligner"]), answered) if "aligner" in promoted else answered
        found[f"stack, round {number}"] = scored(whole)
    rounds = "; ".join(f"{one.tag}: {', '.join(one.promoted) or 'nothing'}" for one in done.rounds)
    print(f"seed {seed}: promoted {rounds}; {done.why}", flush=True)
    return found


ARMS = {"stack": stacked, "plain": bootstrapped}

if __name__ == "__main__":
    main()
