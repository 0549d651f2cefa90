"""The section `retrain.soup`, and what it must fit: the recipes of the retraining, and the axes of the gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from alignery.untrusted import excerpt
from tasks.train.soups.choice import Rule

SOUP = "soup"  # what the registry of models calls the recipe of such a model


class Soup(BaseModel):
    """Rewarded soups: the models of two recipes (or variants), one for each axis, and those between them.

    The figures are those of arXiv 2306.04488, but `choose`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: dict[str, str] = Field(
        min_length=2, max_length=2, description="axis of the gate → the recipe or variant whose model is for it"
    )
    lambdas: int = Field(default=11, ge=2, le=101, description="models from the first (λ 0) to the second (λ 1)")
    choose: Annotated[Rule, Field(union_mode="left_to_right")] = Field(
        default="least_gain",
        description="the λ that goes to the gate, 0 to 1; or least_gain, the best on its worse axis",
    )
    baseline: str | None = Field(
        default=None, description="a recipe or variant that learns from both axes' rows (MORL), to compare with"
    )

    @property
    def parts(self) -> set[str]:
        """The recipes and variants whose models are no candidates by themselves."""
        return {*self.of.values(), *([self.baseline] if self.baseline else [])}

    def check(self, runs: Collection[str], start_from: Mapping[str, str], answering: Collection[str]) -> None:
        """Raises ValueError if the parts are missing, write no answers, or have different starts.

        Args:
            runs: the recipes and variants of the retraining.
            start_from: which of them starts from which other.
            answering: those whose models answer instructions.
        """
        named: list[tuple[str, str | None]] = [(f"of.{axis}", name) for axis, name in self.of.items()]
        for field, name in [*named, ("baseline", self.baseline)]:
            if name is not None and name not in runs:
                raise ValueError(
                    f"soup.{field}: got {excerpt(name, 60)!r}, expected one of {[*runs]}; correct it, or add it"
                )
            if name is not None and name not in answering:
                raise ValueError(f"soup.{field}: got {name!r}, whose model answers no instructions; choose another")
        first, second = self.of.values()
        if first == second:
            raise ValueError(f"soup.of: got {first!r} for both axes, expected two; add a variant for one of them")
        if len({start_from.get(name) for name in self.of.values()}) > 1:
            starts = " and ".join(f"{name} from {start_from.get(name, 'base')}" for name in self.of.values())
            raise ValueError(f"soup.of: got {starts}, expected one start for both; correct start_from")
        if not isinstance(self.choose, str) and not 0 <= self.choose <= 1:
            raise ValueError(
                f"soup.choose: got {self.choose:g}, expected a number from 0 to 1, or least_gain; correct it"
            )


def check_axes_of(soup: Soup, known: Collection[str]) -> None:
    """Raises ValueError if the evaluation has no figures for an axis."""
    if not known:
        raise ValueError("retrain.soup: got one without `evaluate`, whose prompts every λ is asked; add that section")
    if unknown := next((axis for axis in soup.of if axis not in known), None):
        raise ValueError(
            f"retrain.soup.of: got the axis {excerpt(unknown, 60)!r}, expected one of {[*known]}, which evaluate and "
            "gate have; correct it"
        )
