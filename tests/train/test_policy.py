"""When a tag trains a model: every figure must hold, and the sentences say which one does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tasks.train.policy import Policy, decide

POLICY = Policy(new_accepted=100, reject_rate=0.4, duplicate_rate=0.3)


@pytest.mark.parametrize(
    ("figures", "retrain"),
    [
        ((100, 0.4, 0.3), True),  # at the limits it holds
        ((99, 0.0, 0.0), False),
        ((1000, 0.41, 0.0), False),
        ((1000, 0.0, 0.31), False),
    ],
)
def test_every_figure_must_hold(figures: tuple[int, float, float], retrain: bool) -> None:
    assert decide(POLICY, *figures, since="v1").retrain is retrain


def test_the_reasons_name_each_figure_that_holds_it_back_and_the_key_that_says_so() -> None:
    decision = decide(POLICY, 7, 0.5, 0.1, since="v3")
    assert decision.reasons == (
        "held back: 7 new accepted rows since v3, the last tag that trained a model; retrain_when.new_accepted asks "
        "for 100; 50.0% rejected; retrain_when.reject_rate allows 40%",
        "7 new accepted rows since v3, the last tag that trained a model; retrain_when.new_accepted asks for 100",
        "50.0% rejected; retrain_when.reject_rate allows 40%",
        "10.0% near-duplicates; retrain_when.duplicate_rate allows 30%",
    )
    first = decide(POLICY, 700, 0.0, 0.0, since=None)
    assert first.reasons[0] == "retrain: 700 new accepted rows and no model was trained on an earlier tag"


def test_it_is_strict() -> None:
    with pytest.raises(ValidationError, match="new_acepted"):
        Policy.model_validate({"new_acepted": 1})
    with pytest.raises(ValidationError, match="new_accepted"):
        Policy(new_accepted=0)
