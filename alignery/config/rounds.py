"""The section `rounds`: a bootstrap that goes on from each round's model until the reward is flat."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field

from alignery.config.schema import Strict
from alignery.untrusted import excerpt
from tasks.stage import GENERATOR

SAMPLES, SCORE = "samples", "score"  # methods
JUDGE = "judge"  # an alias


class Rounds(Strict):
    """RAFT's rounds (arXiv 2304.06767, algorithm 1): the model that a round trains draws the samples of the next one.

    The gate decides which model the alias is bound to, and ends no round.
    """

    recipe: str = Field(description="the recipe or variant whose model draws the samples of the next round")
    patience: int = Field(default=3, ge=1, description="rounds in a row without a higher mean reward, then it stops")
    rows: Literal["own", "all"] = Field(
        default="own", description="own: the recipe learns from the round's samples alone; all: from all rounds'"
    )

    def check(self, answering: Collection[str], mixed: Collection[str], line: Mapping[str, Any]) -> None:
        """Raises ValueError where the recipe is not there, or nothing scores its model's samples.

        Args:
            answering: the recipes and variants of the retraining whose models are candidates for the generator.
            mixed: those whose rows are mixed.
            line: the methods that are run, and their settings.
        """
        if self.recipe not in answering:
            got = excerpt(repr(self.recipe), 60)
            raise ValueError(f"rounds.recipe: got {got}, expected one of {[*answering]} of retrain; correct it")
        if self.rows == "own" and self.recipe in mixed:
            raise ValueError(
                f"rounds.rows: got own, and retrain.mix.{self.recipe} chooses rows too; set rows: all, or drop the mix"
            )
        if missing := next((name for name in (SAMPLES, SCORE) if name not in line), None):
            raise ValueError(f"rounds: got no line.{missing}, and a round's reward is that of its samples; add it")
        if GENERATOR not in line[SAMPLES].models:
            raise ValueError(f"rounds: got {[*line[SAMPLES].models]} in line.samples.models; add {GENERATOR}")


def is_comparable(line: Mapping[str, Any], bound: Collection[str]) -> bool:
    """Whether what ranks samples is the same in every round: a judge that is not bound is the generator of the round.

    Args:
        line: the methods that are run, and their settings.
        bound: the aliases of the preset's models.
    """
    score = line.get(SCORE)
    return score is not None and (score.reward or JUDGE in bound or not (score.aspects or score.propositions))
