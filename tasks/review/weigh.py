"""People's verdicts on two models' answers, in the gate: next to the judge's, and as a check of the judge.

On a prompt that people marked, an axis' figure is (1 - weight) times the judge's or oracle's plus weight times
people's: 1 for the answer that they prefer, a half each for a tie, the mean over people. The differences that the gate
tests stay between -1 and 1, and if the two models do not differ, both signs are equally likely, because people see the
answers blind. So the exact tests stay valid for every weight, as long as the choice of prompts to mark does not depend
on which model wrote what (`alignery marks queue` shows no models).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from tasks.step import Row

WORTH = {"first": 1.0, "tie": 0.5, "second": 0.0}  # of the first of a pair


class People(BaseModel):
    """People's marks in the gate. The weight is our choice: people's verdicts count as much as the judge's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(default=0.5, ge=0, le=1)  # of people's verdicts, on the prompts that they marked
    floor: float | None = Field(default=None, gt=0, lt=1)  # the judge's least agreement with people


def weighed(
    before: Mapping[str, Row], after: Mapping[str, Row], worth: Mapping[str, Row], weight: float
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Both models' figures with people's verdicts in them.

    Args:
        before, after: axis → prompt_id → figure, 0 to 1, as `tasks.evaluate.gate.per_prompt` gives them.
        worth: axis → prompt_id → what people's verdicts are worth to `after`, 0 to 1. Of a prompt without a figure on
            the axis they change nothing.
    """

    def mixed(figures: Mapping[str, Row], worth_of: Mapping[str, Row]) -> dict[str, Row]:
        return {
            axis: {
                id: value
                if (people_worth := worth_of.get(axis, {}).get(id)) is None
                else (1 - weight) * value + weight * people_worth
                for id, value in row.items()
            }
            for axis, row in figures.items()
        }

    others = {axis: {id: 1 - value for id, value in row.items()} for axis, row in worth.items()}
    return mixed(before, others), mixed(after, worth)


def mean_worth(verdicts: Sequence[str]) -> float:
    """What people's verdicts on a pair, one at least, are worth to its first: 0 to 1."""
    return sum(WORTH[verdict] for verdict in verdicts) / len(verdicts)


def distrust(axis: str, floor: float, compared: Row | None) -> str | None:
    """Why a judge may not decide on an axis; None if its agreement with people is shown to reach the floor.

    Args:
        compared: its agreement with people, as `alignery.pipeline.marks.agreement.compared` gives it: `low` is the
            lower end of the 95 % interval, which must reach the floor; None where people marked nothing that it judged.
    """
    if compared is None:
        return f"people marked no pair that the judge compared on {axis}, and gate.marks.floor is {floor:g}"
    if compared["low"] >= floor:
        return None
    figures = f"{compared['agree']:.2f} ({compared['low']:.2f} to {compared['high']:.2f}, {compared['pairs']} pairs)"
    return f"the judge agrees with people on {axis} in {figures}, and gate.marks.floor is {floor:g}"
