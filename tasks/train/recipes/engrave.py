"""Principle engraving: the model learns its own principled answers, without the rules and thoughts that led to them.

Source: SELF-ALIGN (Dromedary, arXiv 2305.03047 §3.3 and §4), whose figures are for LLaMA-65B. The same: loss on the
answer only; the rules, exemplars and thoughts are pruned (the view `engrave` holds question and answer alone).
Departures:
1. The end token is learnt, so that answers stop by themselves; the paper has none.
2. LoRA's alpha and dropout, which the paper does not give, are Rewarded Soups'.
3. Fewer rows than the paper's make 240 steps or more: with powers of two, .7 to 1.4 times its 337. The warm-up is its
   100 of 337 as a share. See `tasks.train.schedule`.
4. 1,024 tokens for the paper's 512: `self_align` lets answers be that long.
5. The learning rate of all weights, which the paper does not train, is a tenth of the adapter's, as the handbook's is.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.train.config import Lora, Report, Settings, Source
from tasks.train.recipes import sft


class Config(Settings):
    """Engraving's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=768, rate=4e-5, lora_rate=4e-4, steps=240)  # 768, –, 4e-4, 337
    view: str = "engrave"
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(8, ge=1)  # our choice
    max_length: int = Field(1024, ge=8)  # 512
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # not given; our choice
    warmup: float = Field(0.3, ge=0)  # 100 steps of 337
    lora: Lora | None = Lora()  # r 16 on q, k, v, o


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Engrave the principled answers (`messages`) of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return sft.train(data, model, out, config, "engrave")
