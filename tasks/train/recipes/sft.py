"""Supervised fine-tuning on conversations: the loss falls on the assistant's last turn and its end token.

Source: the handbook's `recipes/constitutional-ai/sft/config_anthropic.yaml`; completion-only loss as in
SELF-ALIGN's engraving (arXiv 2305.03047 §3.3) and Aligner (2402.02416 §3). The recipes `engrave`, `verbose`,
`constitutional_sft` and `aligner` are this with a source's own rows and figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Settings, Source
from tasks.train.dataset import read_sft
from tasks.train.fine_tune import fine_tune


class Config(Settings):
    """SFT's settings; a comment gives the handbook's figure."""

    # 8 × 4 on each of 8 GPUs; zephyr-7b-beta/sft/config_full 2e-5, config_qlora (r 16, α 16) 2e-4
    source: ClassVar[Source] = Source(step=32, rate=2e-5, lora_rate=2e-4)
    view: str = "sft"
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(8, ge=1)  # 8 on each of 8 GPUs
    max_length: int = Field(2048, ge=8)  # 2048
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"  # cosine


def train(data: Path, model: Path | str, out: Path, config: Settings, recipe: str = "sft") -> Report:
    """Fine-tune `model` on the `messages` of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return fine_tune(recipe, read_sft(data), Path(model), out, config, trainer, length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """TRL's trainer on `prompt` and `completion`, the loss on the latter."""
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(args=SFTConfig(completion_only_loss=True, **arguments), **shared)


def length(row: dict[str, Any]) -> int:
    """Tokens of a prepared row."""
    return len(row["input_ids"])
