"""KTO: each answer by itself is desirable or not, measured against how far the model is from the reference at large.

Source: KTO (arXiv 2402.01306), by TRL; figures of the paper's section 4. Each pair gives a desirable and an undesirable
answer, so that both weigh the same. Departures:
1. A forward pass has two answers at least, since the reference point is a mean over it; a setting of one is refused.
2. The learning rate under LoRA, which the paper has not, is ten times that of all weights.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Row, Settings, Source, TrainError
from tasks.train.dataset import read_preferences
from tasks.train.fine_tune import fine_tune


class Config(Settings):
    """KTO's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=32, rate=5e-7, lora_rate=5e-6)  # 32; 5e-7
    view: str = "best_random"
    beta: float = Field(0.1, gt=0)  # .1
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(8, ge=2)  # answers; our choice
    max_length: int = Field(2048, ge=8)  # 2048
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # linear


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` to say `chosen` and not `rejected` of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used, or a forward pass has one answer.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = unpaired(read_preferences(data)), partial(trainer, config=config)
    return fine_tune("kto", rows, Path(model), out, config, build, length)


def unpaired(pairs: list[Row]) -> list[Row]:
    """Each answer of the pairs with its label, one below another."""
    sides = (("chosen", True), ("rejected", False))
    return [
        {"prompt": row["prompt"], "completion": row[side], "label": label} for row in pairs for side, label in sides
    ]


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    """TRL's trainer. Without a ref_model it reads the same folder again (or, under LoRA, turns the adapter off)."""
    from trl import KTOConfig, KTOTrainer

    if arguments["per_device_train_batch_size"] < 2:
        raise TrainError(
            "kto: batch_size: got 1 answer a forward pass, as few rows leave it, expected 2 or more; give batch_size "
            "and gradient_accumulation: 1, or more rows"
        )
    return KTOTrainer(args=KTOConfig(beta=config.beta, **arguments), **shared)


def length(row: dict[str, Any]) -> int:
    """Tokens of a prepared row."""
    return len(row["prompt_ids"]) + len(row["completion_ids"])
