"""Constitutional AI's supervised stage: the model learns its revisions of all rounds, and helpful answers among them.

Source: Constitutional AI (arXiv 2212.08073 §3) and the handbook's `recipes/constitutional-ai/sft`. The same: it starts
from the base model; one epoch; revisions of every round; the helpful mix (which the view `constitutional` makes).
Departures:
1. The figures are the handbook's, for a 7B model: the paper's are shares of its own pretraining (half its learning
   rate, constant; 1,024 sequences a step).
"""

from __future__ import annotations

from pathlib import Path

from tasks.train.config import Report, Settings
from tasks.train.recipes import sft


class Config(sft.Config):
    """The handbook's figures, as `sft` has them."""

    view: str = "constitutional"


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Teach `model` the revisions and helpful answers (`messages`) of `data/train-*.parquet`; the new model is `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return sft.train(data, model, out, config, "constitutional_sft")
