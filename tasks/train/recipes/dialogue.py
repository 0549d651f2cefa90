"""Dialogues: supervised fine-tuning on every turn of the assistant's, and on none of the person's.

Source: Baize (arXiv 2304.01196), section 3.2, and its version 1.5. The same: one epoch, learning rate 2e-4 under LoRA;
the loss falls on the assistant's turns alone (version 1.5; the first has it on all). Departures:
1. A dialogue is one row for each turn of the assistant's, with the turns before it as the prompt: their losses are
   those that a mask over the whole would leave. TRL's `assistant_only_loss` needs a chat template with generation
   markers, which most models have not; this needs none, and reads the first turns several times over.
2. 2,048 tokens; the paper cuts at 512.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tasks.train.config import Report, Row, Settings, Source
from tasks.train.dataset import read_sft
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import sft


class Config(sft.Config):
    """The settings on dialogues; a comment gives the paper's figure."""

    # batch 64; 2e-4 under LoRA (7B); all weights, which the paper has not, as the handbook's SFT
    source: ClassVar[Source] = Source(step=64, rate=2e-5, lora_rate=2e-4)
    view: str = "dialogues"


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Teach `model` the assistant's turns in the `messages` of `data/train-*.parquet`; put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return fine_tune("dialogue", by_turn(read_sft(data)), Path(model), out, config, sft.trainer, sft.length)


def by_turn(rows: Sequence[Row]) -> list[Row]:
    """Each conversation (prompt and completion) as a row for every turn of the assistant's, the first one first."""
    found = []
    for row in rows:
        turns = [*row["prompt"], *row["completion"]]
        spoken = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
        found += [{"prompt": turns[:place], "completion": turns[place : place + 1]} for place in spoken]
    return found
