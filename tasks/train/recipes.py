"""The recipes: by name, the view that each reads, its settings, and what trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.train import aligner, constitutional_sft, dpo, engrave, reward, sft, verbose
from tasks.train.common import Report, Settings


@dataclass(frozen=True)
class Recipe:
    view: str  # of the lake, and shape of its export
    config: type[Settings]
    train: Callable[[Path, Path, Path, Any], Report]
    answers: bool = True  # whether its model answers instructions, and so can be evaluated, or be trained further


RECIPES = {
    "sft": Recipe("sft", sft.Config, sft.train),
    "engrave": Recipe("engrave", engrave.Config, engrave.train),
    "verbose": Recipe("verbose_cloning", verbose.Config, verbose.train),
    "constitutional_sft": Recipe("constitutional", constitutional_sft.Config, constitutional_sft.train),
    "dpo": Recipe("preferences", dpo.Config, dpo.train),
    "aligner": Recipe("qac", aligner.Config, aligner.train, answers=False),
    "reward": Recipe("soft_preferences", reward.Config, reward.train, answers=False),
}
