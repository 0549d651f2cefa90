"""The watch on reward hacking, on figures written by hand."""

import pytest

from tasks.train.recipes.rl.watch import StopWhen, distinct, exceeded, figures

GOOD = {"reward": 0.0, "kl": 0.0, "length": 20.0, "distinct_2": 0.6, "perplexity": 3.0}


def steps(**last):
    return [GOOD] * 5 + [GOOD | {"reward": 2.0}] * 3 + [GOOD | {"reward": 4.0} | last] * 5


def test_a_reward_that_rises_alone_is_no_fault():
    assert exceeded(StopWhen(), steps()) is None


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"length": 41.0}, r"answers went from 20 to 41 tokens, where stop_when.length allows 2 times"),
        ({"length": 9.0}, r"answers went from 20 to 9 tokens"),
        ({"kl": 61.0}, r"answers are 61 nats from the start model, where stop_when.kl allows 60"),
        ({"distinct_2": 0.14}, r"distinct-2 fell from 0.6 to 0.14, where stop_when.distinct_2 keeps 0.25 of it"),
        ({"perplexity": 61.0}, r"perplexity under the start model rose from 3 to 61, where .* allows 20 times"),
    ],
)
def test_each_figure_has_its_bound(last, words):
    import re

    why = exceeded(StopWhen(), steps(**last))
    assert why is not None
    assert why.startswith("reward 0 → 4, while ")
    assert re.search(words, why)
    (name,) = last
    assert exceeded(StopWhen.model_validate({name: None}), steps(**last)) is None


def test_one_step_is_not_enough_to_stop_for():
    assert exceeded(StopWhen(), [GOOD] * 9 + [GOOD | {"length": 50.0}]) is None
    assert exceeded(StopWhen(), [GOOD] * 8 + [GOOD | {"length": 500.0}]) is None, "fewer steps than two windows"


def test_the_figures_of_a_step():
    rows = [
        {"completion": "a b a b", "reward": 1.0, "kl": 2.0, "start_logp": -6.0, "tokens": 4},
        {"completion": "A b", "reward": 3.0, "kl": 0.0, "start_logp": -2.0, "tokens": 2},
    ]
    found = figures(rows)
    assert found == {
        "reward": 2.0,
        "kl": 1.0,
        "length": 3.0,
        "distinct_2": 2 / 4,
        "perplexity": pytest.approx(2.718281828 ** (8 / 6)),
    }
    assert distinct(["one"], 2) == 0.0
