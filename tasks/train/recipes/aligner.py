"""Aligner: the model learns to correct answers, asked in the very words in which it will be asked to.

Source: Aligner (arXiv 2402.02416, section 3 and table 18). The same: a question and an answer in, the correction and
its end token out, and the loss on these alone; first an identity warm-up, in which a fifth of the answers are their
own corrections, then all of it, from there.
Departures:
1. The words are `aligner/correct`; a row names the words it was corrected under (`template_id`), and those of other
   words are left out and counted, since a corrector answers only to the words that it was trained with. Revisions
   (`view: qac_revised`) were made under none: they are taken.
2. AdamW's betas are (.9, .999); the paper's (.9, .95).
3. The warm-up is trained as long as the rest, as the paper does not say; `warm_up: 0` leaves it out, as it says that
   practice often does.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from alignery import effects
from prompts import Library, Prompt
from tasks.engines.identity import form_of
from tasks.train.checkpoint_dir import check_folders
from tasks.train.config import Report, Row, Settings, Source, TrainError
from tasks.train.dataset import read_corrections
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import sft


class Config(Settings):
    """The Aligner's settings; a comment gives the paper's figure."""

    # 4 × 8 on each of 8 GPUs; 2e-5; under LoRA, which the paper has not, ten times that, as the handbook
    source: ClassVar[Source] = Source(step=32, rate=2e-5, lora_rate=2e-4)
    view: str = "qac"  # or qac_revised: what the constitution made of answers
    epochs: float = Field(3.0, gt=0)  # 3; 4 for 70B
    batch_size: int = Field(4, ge=1)  # 4 on each of 8 GPUs
    max_length: int = Field(4096, ge=8)  # 2048; question, answer and correction, of up to 1,500 and 2,048 tokens
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"  # cosine
    warmup: float = Field(0.03, ge=0)  # .03
    warm_up: float = Field(0.2, ge=0, le=1)  # share of the rows in the identity warm-up; 10,000 of 50,000
    variant: Literal["full", "nano"] = "full"  # of the words; a flow gives its preset's
    overlay: Path | None = None


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` the corrections of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used, or no row was corrected under the words of the config.
        PromptError: the words cannot be read.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    base = Path(model)
    check_folders(base, out)
    prompt = Library(config.variant, config.overlay).prompt("aligner/correct").in_form(form_of(str(base)))
    found = read_corrections(data)
    rows = [row for row in found if row["template_id"] in (None, prompt.hash)]
    if not rows:
        raise TrainError(
            f"{data}: template_id: got no row of {len(found)} that was corrected under {prompt.path} ({prompt.hash}); "
            "give the words that they were corrected under: variant, overlay"
        )
    start = _warmed_up(rows, prompt, base, out, config)
    learnt = [example(prompt, row, row["correction"]) for row in rows]
    left_out = len(found) - len(rows)
    report = fine_tune("aligner", learnt, start, out, config, sft.trainer, sft.length, left_out=left_out, base=base)
    if start != base:
        with effects.WORK_CLEAR:
            shutil.rmtree(start, ignore_errors=True)
    return report


def _warmed_up(rows: Sequence[Row], prompt: Prompt, base: Path, out: Path, config: Config) -> Path:
    """The folder of the model that has learnt to repeat a share of the answers, which a killed run may have left."""
    sampled = random.Random(config.seed).sample(rows, round(config.warm_up * len(rows)))
    if not sampled:
        return base
    learnt = [example(prompt, row, row["answer"]) for row in sampled]
    place = out.with_name(f".{out.name}.warm-up")
    if not place.exists():
        fine_tune("aligner warm-up", learnt, base, place, config, sft.trainer, sft.length)
    return place


def example(prompt: Prompt, row: Row, correction: str) -> Row:
    """A row of the trainer: the words as they are sent, and the correction as the reply to them."""
    asked = prompt.render(question=row["question"], answer=row["answer"])
    if isinstance(asked, str):
        # A text is gone on with: the space is the first of the reply's tokens, as in generation.
        return {"prompt": asked, "completion": f" {correction}"}
    return {"prompt": asked, "completion": [{"role": "assistant", "content": correction}]}
