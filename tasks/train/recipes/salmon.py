"""A reward model that follows principles: it is sent one with each answer, and scores by that, or against it.

Source: SALMON (arXiv 2310.05910, §3.2-3.3). The same: preferences are made under a principle each; the reward model
reads the principle beside prompt and answer; some principles are negated, and their preferences turned round, so that
the words must be read to know which answer is better. So what is rewarded can be changed by words, without another
training. Departures:
1. One principle an example. The paper shows a few at once and takes the preference of the one that tells the answers
   apart the most: for that each pair needs a judgement under every principle, and ours has one (`compare`).
2. A negated principle is the same words under others that turn it round (`prompts/score/principled.yaml`); the paper's
   were written by people.
3. Labels are soft, the judge's probabilities, as `reward` has them; a negated one has 1 − p in effect.
4. The figures are `reward`'s, which are the paper's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from prompts import Library, Message, Prompt
from tasks.train.config import Report, Row, TrainError
from tasks.train.dataset import read_principled
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import reward

PROMPT = "score/principled"


class Config(reward.Figures):
    """SALMON's settings."""

    view: str = "principled_preferences"
    negated: float = Field(0.5, ge=0, lt=1)  # share of the rows whose principle is turned round; the paper: at random
    variant: Literal["full", "nano"] = "full"  # of the words; a flow gives its preset's
    overlay: Path | None = None


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach a copy of `model` to score the answers of `data/train-*.parquet` by their principles, and put it at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        PromptError: the words cannot be read.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    prompt = Library(config.variant, config.overlay).prompt(PROMPT)
    rows = examples(prompt, read_principled(data), config)
    return fine_tune("salmon", rows, Path(model), out, config, reward.trainer, reward.length, scores=True)


def examples(prompt: Prompt, rows: Sequence[Row], config: Config) -> list[Row]:
    """Each pair under its principle, or under the opposite with its sides changed."""
    draws, found = random.Random(config.seed), []
    for row in rows:
        negated = draws.random() < config.negated
        better, worse = (row["rejected"], row["chosen"]) if negated else (row["chosen"], row["rejected"])
        asked = [*row["prompt"][:-1], *sent(prompt, row["prompt"][-1]["content"], row["principle"], negated)]
        found.append({"prompt": asked, "chosen": better, "rejected": worse, "p": row["p"]})
    return found


def sent(prompt: Prompt, instruction: str, principle: str, negated: bool = False) -> list[Message]:
    """The turns before the answer.

    Raises:
        TrainError: the words are no conversation whose last turn is the user's.
    """
    turns = prompt.render(instruction=instruction, answers=[], principle=principle, negated=negated)
    if isinstance(turns, str) or not turns or turns[-1]["role"] != "user":
        raise TrainError(
            f"{prompt.path}: got words that do not end with the user's turn; a reward model scores the next one"
        )
    return list(turns)
