"""cDPO: DPO with soft labels, so that a pair of which the judge is unsure moves the model little.

Source: Mitchell 2023, "A note on DPO with noisy preferences and relationship to IPO" (conservative DPO); the soft
labels are Constitutional AI's (arXiv 2212.08073, section 4.1), the normalised probabilities of the judge. Departures:
1. Each pair has the probability that the judge gave, where the note has one rate of wrong labels for all.
2. All figures but the label are `dpo`'s, since the note gives none.
3. The reference's log-probabilities are computed once, before the training.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tasks.train.config import Report
from tasks.train.dataset import read_soft_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import cdpo
from tasks.train.recipes import dpo
from tasks.train.recipes.preferences import lists


class Config(dpo.Config):
    """cDPO's settings."""

    view: str = "soft_preferences"


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` to prefer as the judge of `data/train-*.parquet` did, and as surely; the new model is `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows, build = lists.pairs(read_soft_preferences(data)), partial(trainer, config=config)
    return fine_tune("cdpo", rows, Path(model), out, config, build, lists.length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config) -> Any:
    def loss(answers: lists.Answers) -> Any:
        chosen, rejected = answers.sums - answers.reference
        return cdpo(chosen - rejected, answers.scores[0], config.beta)

    return lists.trainer(loss, shared, arguments, reference=True)
