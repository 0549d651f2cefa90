"""ORPO: supervised fine-tuning on the chosen answers, with a penalty on the odds of the rejected ones.

Source: ORPO (arXiv 2403.07691), section 4; figures of its Mistral-7B. It needs neither a reference nor a training
before it: the paper starts from the pretrained model. Departures:
1. The trainer is ours: TRL's is experimental, and cuts and joins conversations in another way than its other trainers.
2. The learning rate under LoRA, which the paper has not, is ten times that of all weights.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Settings, Source
from tasks.train.dataset import read_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import orpo
from tasks.train.recipes.preferences import lists


class Config(Settings):
    """ORPO's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=64, rate=5e-6, lora_rate=5e-5)  # 64; 5e-6
    view: str = "best_random"
    weight: float = Field(0.1, ge=0)  # λ .1
    epochs: float = Field(5.0, gt=0)  # 5
    batch_size: int = Field(2, ge=1)  # our choice
    max_length: int = Field(2048, ge=8)  # 2048
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # linear


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` the answers `chosen`, and not `rejected`, of `data/train-*.parquet`; the new model is `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = lists.pairs(read_preferences(data)), partial(trainer, config=config)
    return fine_tune("orpo", rows, Path(model), out, config, build, lists.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    def loss(answers: lists.Answers) -> Any:
        chosen, rejected = answers.mean
        return orpo(chosen, rejected, config.weight)

    return lists.trainer(loss, shared, arguments)
