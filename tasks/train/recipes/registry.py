"""The recipes: by name, the settings of each, which say the view that it reads, and what trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.train.config import Report, Settings
from tasks.train.recipes import aligner, constitutional_sft, dpo, engrave, reward, sft, verbose


@dataclass(frozen=True)
class Recipe:
    config: type[Settings]
    train: Callable[[Path, Path, Path, Any], Report]
    answers: bool = True  # whether its model answers instructions, and so can be evaluated, or be trained further


RECIPES = {
    "sft": Recipe(sft.Config, sft.train),
    "engrave": Recipe(engrave.Config, engrave.train),
    "verbose": Recipe(verbose.Config, verbose.train),
    "constitutional_sft": Recipe(constitutional_sft.Config, constitutional_sft.train),
    "dpo": Recipe(dpo.Config, dpo.train),
    "aligner": Recipe(aligner.Config, aligner.train, answers=False),
    "reward": Recipe(reward.Config, reward.train, answers=False),
}
