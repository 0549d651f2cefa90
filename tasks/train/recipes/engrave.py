"""Principle engraving: the model learns its own principled answers, without the rules and thoughts that led to them.

Source: SELF-ALIGN (Dromedary, arXiv 2305.03047 §3.3 and §4), whose figures are for LLaMA-65B. The same: loss on the
answer only; the rules, exemplars and thoughts are pruned (the view `engrave` holds question and answer alone).
Departures:
1. The end token is learnt, so that answers stop by themselves; the paper has none.
2. LoRA's alpha and dropout, which the paper does not give, are Rewarded Soups'; so are the batches our choice of 8 × 96
   for the paper's 768.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.train.config import Lora, Report, Settings
from tasks.train.recipes import sft


class Config(Settings):
    """Engraving's settings; a comment gives the paper's figure."""

    view: str = "engrave"
    epochs: float = Field(1.0, gt=0)  # 1
    learning_rate: float = Field(4e-4, gt=0)  # 4e-4
    batch_size: int = Field(8, ge=1)  # 768 rows a step
    gradient_accumulation: int = Field(96, ge=1)
    max_length: int = Field(512, ge=8)  # 512
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # not given; our choice
    warmup: float = Field(100, ge=0)  # 100 steps
    lora: Lora | None = Lora()  # r 16 on q, k, v, o


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Engrave the principled answers (`messages`) of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or no weight moved.
    """
    return sft.train(data, model, out, config, "engrave")
