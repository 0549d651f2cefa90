"""PRO: the best of a prompt's answers against all others, then the second against those below it, and so on.

Source: Preference Ranking Optimization (arXiv 2306.17492) and its code (DAMO-ConvAI, PRO). The same: the list-wise loss
with the differences of the scores as inverse temperatures, the SFT term's weight of .05 (n − 1)²; 2 epochs, 5e-6.
Departures:
1. Answers of the same score are not compared with each other, and the SFT term is a mean over tokens; see `losses.pro`.
2. `score_scale` multiplies the scores: the paper's are of one reward model, and marks from 1 to 5 spread further.
3. 2,048 tokens for the code's 512.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Settings, Source
from tasks.train.dataset import read_ranked
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import pro
from tasks.train.recipes.preferences import lists


class Config(Settings):
    """PRO's settings; a comment gives the code's figure."""

    source: ClassVar[Source] = Source(step=112, rate=5e-6, lora_rate=5e-5)  # 2 × 8 on each of 7 GPUs; 5e-6
    view: str = "ranked"
    sft_weight: float = Field(0.05, ge=0)  # .05
    score_scale: float = Field(1.0, gt=0)  # –
    epochs: float = Field(2.0, gt=0)  # 2
    batch_size: int = Field(2, ge=1)  # prompts; 2 on each of 7 GPUs
    max_length: int = Field(2048, ge=8)  # 512; 720 for summaries
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # not given; our choice


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` the order of the answers in `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = read_ranked(data), partial(trainer, config=config)
    return fine_tune("pro", rows, Path(model), out, config, build, lists.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    def loss(answers: lists.Answers) -> Any:
        return pro(answers.mean, config.score_scale * answers.scores, config.sft_weight)

    return lists.trainer(loss, shared, arguments)
