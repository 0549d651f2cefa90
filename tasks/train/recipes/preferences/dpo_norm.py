"""Length-normalised DPO: the reward of an answer is a mean over its tokens, so that long answers win nothing by length.

Source: Tülu 3 (arXiv 2411.15124, section 5), `dpo_norm` in its code, on preferences between answers of several models,
one of them the current policy. The loss is −log σ(β (h_c / |y_c| − h_r / |y_r|)), h as in DPO, by TRL's `sigmoid_norm`.
Departure:
1. The learning rate under LoRA, which the paper has not, is `dpo`'s.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tasks.train.config import Report, Source
from tasks.train.dataset import read_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import dpo


class Config(dpo.Config):
    """Length-normalised DPO's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=128, rate=5e-7, lora_rate=5e-5)  # 128; 5e-7
    view: str = "best_random"
    beta: float = Field(5.0, gt=0)  # 5
    epochs: float = Field(1.0, gt=0)  # 1


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` to prefer `chosen` to `rejected` in `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = read_preferences(data), partial(trainer, config=config)
    return fine_tune("dpo_norm", rows, Path(model), out, config, build, dpo.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    return dpo.trainer(shared, arguments | {"loss_type": ["sigmoid_norm"]}, config)
