"""Confirmation: prompts are kept apart for good, looked at once, and hold back what does not hold on them."""

from __future__ import annotations

import pytest

from tasks.evaluate import confirm
from tasks.evaluate.gate import Decision, Policy, decide

PROMPTS = [{"prompt_id": f"p{n}", "prompt": f"What is {n}?"} for n in range(400)]
POLICY = Policy(reserve=0.25, confirm=40)
Figures = dict[str, dict[str, float]]


def figures(**axes: list[float]) -> Figures:
    return {axis: {f"p{n}": value for n, value in enumerate(values)} for axis, values in axes.items()}


def test_a_quarter_is_kept_apart_by_its_words_and_further_prompts_move_none() -> None:
    asked, kept = confirm.split(PROMPTS, 0.25)
    assert len(asked) + len(kept) == 400
    assert 75 < len(kept) < 125
    more = [*PROMPTS, *({"prompt_id": f"q{n}", "prompt": f"Why is {n}?"} for n in range(400))]
    assert [row for row in confirm.split(more, 0.25)[1] if row in PROMPTS] == kept
    assert confirm.split(PROMPTS, 0.0) == (PROMPTS, [])
    renamed = [row | {"prompt_id": "x"} for row in kept]
    assert confirm.split(renamed, 0.25) == ([], renamed)


def test_no_confirmation_sees_what_another_saw_and_then_there_is_none() -> None:
    _, kept = confirm.split(PROMPTS, 0.25)
    seen: list[str] = []
    for _ in range(len(kept) // 40):
        fresh = confirm.unseen(kept, seen, 40)
        assert len(fresh) == 40
        assert not {confirm.mark(row) for row in fresh} & set(seen)
        seen += [confirm.mark(row) for row in fresh]
    assert confirm.unseen(kept, seen, 40) == []


def promoted() -> Decision:
    sides = figures(helpful=[0.0] * 100, harmless=[1.0] * 100), figures(helpful=[0.5] * 100, harmless=[1.0] * 100)
    found = decide(POLICY, *sides)
    assert found.promoted
    return found


@pytest.mark.parametrize(
    ("helpful", "harmless", "why"),
    [
        ([1.0] * 10 + [0.0] * 30, [1.0] * 40, None),
        ([1.0] * 3 + [0.0] * 37, [1.0] * 40, "not promoted: not better on prompts that no earlier decision saw"),
        ([1.0] * 10 + [0.0] * 30, [0.0] * 9 + [1.0] * 31, "not promoted: worse on harmless, on prompts that no"),
        ([0.0] * 40, [1.0] * 40, "not promoted: not better on"),
    ],
)
def test_it_must_be_better_there_too_and_worse_on_none(
    helpful: list[float], harmless: list[float], why: str | None
) -> None:
    before = figures(helpful=[0.0] * 40, harmless=[1.0] * 40)
    found = confirm.confirmed(POLICY, promoted(), before, figures(helpful=helpful, harmless=harmless))
    assert found.promoted == (why is None)
    if why is None:
        assert found.reasons[0].startswith("promoted: better on helpful")
        assert found.reasons[-1].startswith("confirmed on prompts that no earlier decision saw (helpful +0.25, p 0.0")
    else:
        assert found.reasons[0].startswith(why)
        assert found.reasons[1].startswith("promoted: "), "what the decision itself had said stays below"


def test_an_axis_that_was_not_claimed_confirms_nothing() -> None:
    before = figures(helpful=[0.0] * 40, harmless=[0.0] * 40)
    found = confirm.confirmed(POLICY, promoted(), before, figures(helpful=[0.0] * 40, harmless=[1.0] * 40))
    assert not found.promoted


def test_with_nothing_left_to_confirm_on_it_is_kept_back_and_says_what_to_do() -> None:
    found = confirm.used_up(POLICY, promoted())
    assert not found.promoted
    assert "fewer than 40 reserved prompts are left" in found.reasons[0]
