"""Bradley-Terry rankings from verdicts, with the cases that have no plain answer, and Aligner's table of w."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluate.judge import figures, report
from tasks.evaluate.length_control import logistic
from tasks.evaluate.ranking import ELO, Standing, rank, rankings, three_h
from tasks.step import Row


def played(a: str, b: str, *scores: float) -> list[Row]:
    return [{"prompt_id": str(n), "a": a, "b": b, "score": score} for n, score in enumerate(scores)]


def ranked(*verdicts: list[Row]) -> dict[str, Standing]:
    return {one.model: one for one in rank([row for some in verdicts for row in some])}


def test_two_models_differ_by_the_log_odds_of_their_wins() -> None:
    found = ranked(played("x", "y", *[1.0] * 600, *[0.0] * 150, *[0.5] * 250))
    assert list(found) == ["x", "y"]
    assert found["x"].strength - found["y"].strength == pytest.approx(np.log(725 / 275), abs=0.01)
    assert found["x"].strength == pytest.approx(-found["y"].strength)
    assert (found["x"].win, found["x"].tie, found["x"].lose) == (600, 250, 150)
    assert (found["y"].win, found["y"].tie, found["y"].lose) == (150, 250, 600)
    assert found["y"].high < 0 < found["x"].low
    assert ELO * np.log(10) == pytest.approx(400)


def test_models_that_never_met_are_ranked_through_the_one_that_both_met() -> None:
    found = ranked(played("a", "base", *[1.0] * 80, *[0.0] * 20), played("base", "c", *[1.0] * 70, *[0.0] * 30))
    assert list(found) == ["a", "base", "c"]
    assert {one.group for one in found.values()} == {0}
    assert found["a"].strength - found["c"].strength == pytest.approx(np.log(4) + np.log(7 / 3), abs=0.15)


def test_the_undefeated_and_the_winless_have_a_place_and_an_interval() -> None:
    found = ranked(played("best", "mean", *[1.0] * 20), played("mean", "worst", *[1.0] * 20))
    assert list(found) == ["best", "mean", "worst"]
    for one in found.values():
        assert -8 < one.low < one.strength < one.high < 8
    assert found["best"].strength > 2


def test_only_ties_are_equal_and_have_an_interval() -> None:
    found = ranked(played("x", "y", *[0.5] * 30))
    assert [one.strength for one in found.values()] == [0.0, 0.0]
    assert found["x"].low < -0.1 < 0.1 < found["x"].high


def test_groups_that_no_verdict_links_are_kept_apart_the_largest_first() -> None:
    found = ranked(
        played("u", "v", *[1.0] * 30), played("x", "y", 1.0, 0.5), played("y", "z", 1.0, 0.0), played("w", "z", 1.0)
    )
    assert {name: one.group for name, one in found.items()} == {"x": 0, "y": 0, "z": 0, "w": 0, "u": 1, "v": 1}
    assert list(found)[-2:] == ["u", "v"]
    for group in (0, 1):
        assert sum(one.strength for one in found.values() if one.group == group) == pytest.approx(0, abs=1e-9)


def test_nothing_is_ranked_from_nothing() -> None:
    assert rank([]) == []
    assert rankings([]) == []


def test_the_intervals_hold_the_truth_where_models_share_prompts_and_an_opponent() -> None:
    truth = np.array([0.8, 0.2, -0.2, -0.8])
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = []
        base = rng.normal(size=100)  # how good the answer of model 0 is on each prompt: all its games share it
        for other in (1, 2, 3):
            chance = logistic(truth[0] - truth[other] + base)
            rows += [row | {"prompt_id": str(n)} for n, won in enumerate(rng.random(100) < chance)
                     for row in played("0", str(other), float(won))]  # fmt: skip
        # What is estimated: the log-odds over prompts, which are nearer to 0 than those of one prompt.
        mean = [np.mean(logistic(truth[0] - truth[other] + np.random.default_rng(1).normal(size=100_000)))
                for other in (1, 2, 3)]  # fmt: skip
        apart = np.array([0.0, *(-np.log(one / (1 - one)) for one in mean)])
        found = ranked(rows)
        expected = apart - apart.mean()
        held += sum(found[str(n)].low <= expected[n] <= found[str(n)].high for n in range(4))
    assert held / 240 > 0.9


def test_rankings_are_by_dimension_and_judge() -> None:
    rows = [
        row | {"dimension": dimension, "judge": judge}
        for dimension, judge, score in (("helpful", "j", 1.0), ("helpful", "k", 0.0), ("harmless", "j", 0.5))
        for row in played("x", "y", *[score] * 5)
    ]
    found = [(one["dimension"], one["judge"], [place.model for place in one["models"]]) for one in rankings(rows)]
    assert found == [("helpful", "j", ["x", "y"]), ("helpful", "k", ["y", "x"]), ("harmless", "j", ["x", "y"])]


def test_aligners_table_has_w_of_each_model_by_suite_and_dimension_and_the_newest_counts() -> None:
    def stored(model: str, suite: str, dimension: str, *winners: str) -> list[Row]:
        asked = [{"prompt_id": str(n), "a_id": f"a{n}", "b_id": f"b{n}", "a": "long", "b": "longer", "first": first}
                 for n in range(len(winners)) for first in "ab"]  # fmt: skip
        verdicts = [row | {"winner": winners[int(row["prompt_id"])]} for row in asked]
        return [row | {"model": model} for row in figures(suite, report(asked, verdicts) | {"dimension": dimension})]

    columns, table = three_h(
        [
            *stored("dpo", "owls", "helpful", "a", "b"),
            *stored("dpo", "owls", "helpful", "a", "a"),
            *stored("dpo", "bats", "harmless", "b", "b"),
            *stored("sft", "owls", "helpful", "tie"),
            {"model": "sft", "suite": "owls", "metric": "helpful", "value": 0.5},
        ]
    )
    assert columns == ["owls: helpful", "bats: harmless"]
    assert {model: {column: cell[0] for column, cell in cells.items()} for model, cells in table.items()} == {
        "dpo": {"owls: helpful": 1.0, "bats: harmless": -1.0},
        "sft": {"owls: helpful": 0.0},
    }
    assert all(low < w < high or abs(w) == 1 for cells in table.values() for w, low, high in cells.values())
