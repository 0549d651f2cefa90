"""SimPO: pairs by the mean log-probability of their tokens, with a margin and without a reference model.

Source: SimPO (arXiv 2405.14734) and its code; figures of its Llama-3-Base-8B. Departures:
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
from tasks.train.losses import simpo
from tasks.train.recipes.preferences import lists


class Config(Settings):
    """SimPO's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=128, rate=6e-7, lora_rate=6e-6)  # 128; 6e-7 (3e-7 to 1e-6)
    view: str = "best_random"
    beta: float = Field(2.0, gt=0)  # 2 (2 to 10)
    gamma: float = Field(1.0, ge=0)  # 1: half of β
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(2, ge=1)  # 2 on each of 4 GPUs
    max_length: int = Field(2048, ge=8)  # 2048
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"  # cosine


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` to prefer `chosen` to `rejected` in `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = lists.pairs(read_preferences(data)), partial(trainer, config=config)
    return fine_tune("simpo", rows, Path(model), out, config, build, lists.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    def loss(answers: lists.Answers) -> Any:
        chosen, rejected = answers.mean
        return simpo(chosen, rejected, config.beta, config.gamma)

    return lists.trainer(loss, shared, arguments)
