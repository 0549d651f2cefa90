"""Every method on nano, in three walks over one lake, and the oracle's scores.

    python bench/methods.py [--accept 2000] [--home NEW_FOLDER]

1. Every method that nano supports, up to that many accepted instructions of Self-Instruct and as many of the forty
   red-teaming questions as its topics yield. Two further models answer for Aligner: `noisy` is nano with noise in its
   weights, `refusing` a script that refuses every request.
2. The same instructions with two samples each, which are compared; the first walk compares first answers with their
   last revisions.
3. Sixty instructions under prompts that nano was not trained on: topics for types of question, whether a task is a
   classification, and its instances. It mostly fails, and each failure has its reason.

Prints the Markdown of `docs/figures.md` (`bench/methods_figures.py` has the arithmetic). Raises where a row is lost
without a reason, or on its way from one step to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bench.methods_figures as figures
from alignery.config.methods import line_model
from alignery.config.preset import Preset, load
from alignery.config.schema import PromptSource
from alignery.pipeline.runs.refreshing import run_refresh
from nano.grammar import draw, full, parse, render
from nano.player import CHECKPOINT
from prompts import Library
from tasks.engines.specs import ScriptedSpec, TransformersSpec
from warehouse import Lake
from warehouse.query import status

NOISE = 0.3  # of each weight matrix's own standard deviation
UNTAUGHT = 60  # instructions of the third walk
QUESTIONS = 30  # of red-teaming, out of forty pairs of type and topic
SHORT = {"max_tokens": 96}
RED_TEAM: dict[str, Any] = {"count": 4, "seed_exemplars": 2, "new_exemplars": 1, "requests_per_round": 5}
RED_TEAM |= {"sampling": {"top_p": 1.0, **SHORT}, "topics": {"rounds": 0}}


def whole(accept: int, noisy: Path) -> Preset:
    """The first walk: the shipped preset, with everything else that nano supports."""
    nano = load("nano")
    generator = nano.models["generator"]
    upstreams = {
        "noisy": TransformersSpec(engine="transformers", model=str(noisy), batch_size=128, threads=1),
        "refusing": ScriptedSpec(engine="scripted", replies=["I can't help with that."]),
    }
    line = nano.line.model_dump(exclude={"decontaminate"})
    line["self_instruct"] |= {"accept": accept, "max_candidates": 20 * accept}
    line["red_team"] = RED_TEAM | {"accept": QUESTIONS}
    line["verbose"] = {}
    line["constitutional"] |= {"rounds": figures.ROUNDS}
    line["compare"] = {"pairs": "revision"}
    line["aligner"] |= {"upstreams": tuple(upstreams)}
    corrects = {"sampling": line["aligner"]["sampling"]}
    line["squad"] = {"members": [{}], "fit": ("4", "5"), "unfit": ("1", "2", "3")} | corrects
    line["rate"] = {"dimension": "overall"}
    return _made(nano, line, models={"generator": generator, **upstreams})


def sampled(whole: Preset) -> Preset:
    """The second walk: the first one's instructions, and two samples of each to compare."""
    line = whole.line.model_dump(include={"self_instruct", "red_team", "respond", "chunk"})
    line["compare"] = {"pairs": "samples", "sampling": SHORT}
    return _made(whole, line)


def untaught(whole: Preset, words: Path) -> Preset:
    """The third walk: topics, classification and instances, with a model that was not trained on any of them."""
    seeds = _with_outputs(Library("nano"))
    (words / "self_instruct").mkdir(parents=True, exist_ok=True)
    (words / "self_instruct/seeds.nano.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    line = whole.line.model_dump(include={"self_instruct", "respond", "chunk"})
    line["self_instruct"] |= {"accept": min(UNTAUGHT, line["self_instruct"]["accept"])}
    line["red_team"] = RED_TEAM | {"accept": 8, "topics": {"rounds": 1, "requests_per_type": 5}}
    demos = {"classification_demos": 4, "other_demos": 6, "demos": 6}  # as many as its context of 1,024 tokens holds
    line["instances"] = {"sampling": SHORT, "label_tokens": 96, **demos}
    line["reject_limit"] = 1.0
    return _made(whole, line, words=PromptSource(variant="nano", overlay=words))


def _made(preset: Preset, line: dict, **others: object) -> Preset:
    return preset.model_copy(update={"line": line_model(preset.registry).model_validate(line), **others})


def _with_outputs(library: Library) -> Iterator[dict[str, object]]:
    """nano's seeds with the answers that they should have, and two tasks of each topic whose answer is a label."""
    rng = random.Random(0)
    for seed in library.seeds():
        if intent := parse(seed.instruction):
            yield seed.model_dump() | {"output": full(intent, rng)}
    for topic in library.topics() * 2:
        asked = f"Name the topic of this: {render(draw(rng, 'howto', topic))}"
        yield {"topic": topic, "instruction": asked, "output": topic, "classification": True}


def add_noise(to: Path, scale: float = NOISE, seed: int = 0) -> None:
    """Save nano with Gaussian noise in its weight matrices, of so many standard deviations of each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.add_(scale * weights.std() * torch.randn_like(weights))
    model.save_pretrained(to)
    AutoTokenizer.from_pretrained(CHECKPOINT).save_pretrained(to)


async def walk(lake: Lake, accept: int, scratch: Path) -> None:
    """The three walks."""
    add_noise(scratch / "noisy")
    first = whole(accept, scratch / "noisy")
    for preset in (first, sampled(first), untaught(first, scratch / "words")):
        await run_refresh(preset, lake)


@contextmanager
def opened(home: Path | None) -> Iterator[Lake]:
    with tempfile.TemporaryDirectory() as other, Lake.open(home or Path(other)) as lake:
        yield lake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", type=int, default=2000)
    parser.add_argument("--home", type=Path, help="keeps the lake; if it is complete already, only prints the tables")
    given = parser.parse_args()
    with opened(given.home) as lake, tempfile.TemporaryDirectory() as scratch:
        if not status.runs(lake):
            asyncio.run(walk(lake, given.accept, Path(scratch)))
        print(figures.report(lake))


if __name__ == "__main__":
    main()
