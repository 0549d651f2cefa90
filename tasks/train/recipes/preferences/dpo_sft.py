"""DPO with a term of supervised fine-tuning on the chosen answers, which keeps them from growing unlikely.

Source: Iterative Reasoning Preference Optimization (arXiv 2404.19733, equation 1), L_DPO + α L_NLL with α 1: KL to the
reference (in DPO) and SFT in one loss. Departures:
1. The SFT term is a mean over all the chosen tokens of a batch (TRL's `sft`); the paper's over each answer's.
2. All other figures are `dpo`'s: the paper's are of answers that reason.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.train.config import Report
from tasks.train.dataset import read_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import dpo


class Config(dpo.Config):
    """The settings of DPO with SFT; a comment gives the paper's figure."""

    view: str = "best_random"
    sft_weight: float = Field(1.0, ge=0)  # α 1


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` to prefer `chosen`, and to say it, by `data/train-*.parquet`; the new model is `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = read_preferences(data), partial(trainer, config=config)
    return fine_tune("dpo_sft", rows, Path(model), out, config, build, dpo.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    both = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, config.sft_weight]}
    return dpo.trainer(shared, arguments | both, config)
