"""Verbose cloning: the base model learns the long answers that an engraved model gave when it was asked for length.

Source: SELF-ALIGN (Dromedary, arXiv 2305.03047 §3.4 and §4). The same: it starts from the base model, not from the
engraved one; 768 tokens; the words that asked for length are not among what is learnt.
Departures:
1. All other figures are engraving's, since the paper states none of its own.
2. No short prompts are put before the question: the view `verbose` holds question and answer alone.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tasks.train.config import Report, Settings
from tasks.train.recipes import engrave, sft


class Config(engrave.Config):
    """Verbose cloning's settings; a comment gives the paper's figure."""

    view: str = "verbose_cloning"
    max_length: int = Field(768, ge=8)  # 768


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Teach `model` the long answers (`messages`) of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return sft.train(data, model, out, config, "verbose")
