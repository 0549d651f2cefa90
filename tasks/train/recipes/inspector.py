"""An inspector: a classifier that reads a question and an answer, and says whether the answer is fit to be given.

Source: Aligners (Ngweta et al., arXiv 2403.04224) and its code: a binary classifier on question and answer, 0 for the
answer as it was and 1 for its correction; a squad (`tasks/methods/squad`) applies an aligner where the score is below
0.5. Departures:
1. A new head of one label on the model that the training starts from, which reads the two as a conversation; the
   paper's are BERT (base) on the two with [SEP] between.
2. An answer and its correction are learnt together, half of the loss each, so that the classes are balanced.
3. Copies, answers that their corrector left as they were, are left out and counted: they would be of both classes.
4. 3 epochs, the last of which is taken; the paper trains 40 and keeps the best by a validation set.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tasks.train.config import Report, Row, Source, TrainError
from tasks.train.dataset import read_corrections
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import fit_or_not
from tasks.train.recipes import reward


class Config(reward.Figures):
    """An inspector's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=8, rate=2e-5, lora_rate=2e-4)  # 8; 2e-5; LoRA: ten times that, our choice
    view: str = "qac"  # or qac_revised: what the constitution made of answers
    epochs: float = Field(3.0, gt=0)  # 40, the best of them


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach a copy of `model` to tell the answers of `data/train-*.parquet` from their corrections; it is put at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used, or every correction is a copy.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    given = read_corrections(data)
    rows, build = examples(given), partial(reward.trainer, loss=fit_or_not)
    if not rows:
        raise TrainError(
            f"{data}: correction: got {len(given)} rows, all of which repeat their answer, expected some that change "
            "it; correct more answers"
        )
    left_out = len(given) - len(rows)
    return fine_tune("inspector", rows, Path(model), out, config, build, reward.length, scores=True, left_out=left_out)


def examples(rows: Sequence[Row]) -> list[Row]:
    """Pairs of a correction (`chosen`) and its answer (`rejected`) as turns, without copies."""

    def turn(role: str, text: str) -> list[Row]:
        return [{"role": role, "content": text}]

    return [
        {
            "prompt": turn("user", row["question"]),
            "chosen": turn("assistant", row["correction"]),
            "rejected": turn("assistant", row["answer"]),
            "p": 1.0,
        }
        for row in rows
        if row["answer"].strip() != row["correction"].strip()
    ]
