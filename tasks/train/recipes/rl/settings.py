"""The settings of `grpo`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.train.config import Settings, Source
from tasks.train.recipes.rl.watch import StopWhen

Rule = Literal["words", "distinct_words"]


class Config(Settings):
    """GRPO's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=16, rate=1e-6, lora_rate=1e-5)  # 1,024 answers, 64 a prompt; 1e-6
    view: str = "soft_preferences"  # whose prompts are answered; any with `prompt` or `messages`
    reward_model: Path | None = None  # a folder that `reward` made; a flow gives that of its own recipe `reward`
    rules: dict[Rule, float] = Field({})  # what a program counts in an answer, with its weight in the reward; none
    beta: float = Field(0.04, gt=0)  # .04
    k: int = Field(8, ge=2)  # answers a prompt; 64
    temperature: float = Field(1.0, gt=0)  # –; TRL's default 1
    max_tokens: int = Field(512, ge=1)  # of an answer; 1,024 with its prompt
    epochs: float = Field(1.0, gt=0)  # –; our choice
    batch_size: int = Field(4, ge=1)  # prompts a forward pass; our choice
    max_length: int = Field(2048, ge=8)  # prompts that leave no room for an answer within it are left out
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "constant_with_warmup"  # our choice
    stop_when: StopWhen = StopWhen()
