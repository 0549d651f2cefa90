"""RRHF: the model learns to find likelier what scores higher, and to say the best of a prompt's answers.

Source: RRHF (arXiv 2304.05302) and its code. The same: the ranking loss without a margin and the cross-entropy of the
best answer, 1:1 (the code's default of 100 is not what its scripts say); 3 epochs, 64 prompts a step. Departures:
1. The cross-entropy is a mean over the best answer's tokens; see `losses.rrhf`. The code's is over the padded length.
2. Any number of answers a prompt, and of prompts a batch; the code works with one prompt a batch only.
3. 2,048 tokens for the paper's 192 (Wombat: 512); the learning rate under LoRA is ten times that of all weights.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Settings, Source
from tasks.train.dataset import read_ranked
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import rrhf
from tasks.train.recipes.preferences import lists


class Config(Settings):
    """RRHF's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=64, rate=2e-5, lora_rate=2e-4)  # 1 × 8 on each of 8 GPUs; 2e-5
    view: str = "ranked"
    epochs: float = Field(3.0, gt=0)  # 3
    batch_size: int = Field(2, ge=1)  # prompts; 1 on each of 8 GPUs
    max_length: int = Field(2048, ge=8)  # 192; Wombat 512
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"  # cosine, as its scripts
    warmup: float = Field(0.03, ge=0)  # .03, as its scripts


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` the order of the answers in `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = read_ranked(data), partial(trainer, config=config)
    return fine_tune("rrhf", rows, Path(model), out, config, build, lists.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    return lists.trainer(lambda answers: rrhf(answers.mean, answers.scores), shared, arguments)
