"""RAFT: supervised fine-tuning on the best of each prompt's samples, round by round.

Source: RAFT (arXiv 2304.06767), algorithm 1. The same: K samples a prompt, of which the best is learnt ("local" in its
code); 2 epochs a round at 2e-5. One training is one round. Departures:
1. The rounds are `alignery bootstrap`'s under `rounds`, each on new prompts. Flat is a reward that is not above the
   highest before. Without `rounds` the gate ends them. The view `policies` has each round's reward and distinct-2.
2. A round goes on from the model of the round before where `start_from` says `current`, else from the preset's own.
3. A prompt whose samples are all the same words is left out.
4. The learning rate falls (cosine) and rises first, as `sft`'s, where LMFlow's is constant.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tasks.train.config import Report, Settings
from tasks.train.recipes import sft


class Config(sft.Config):
    """RAFT's settings; a comment gives the paper's figure."""

    view: str = "best"
    epochs: float = Field(2.0, gt=0)  # 2 a round


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Teach `model` the best answers (`messages`) of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    return sft.train(data, model, out, config, "raft")
