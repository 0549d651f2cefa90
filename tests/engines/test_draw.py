"""The draw itself: filters against sums by hand, and Gumbel-max against the softmax that it samples."""

from __future__ import annotations

import math

import pytest

from tasks.engines import Sampling


@pytest.fixture(scope="module")
def torch():
    import torch

    return torch


def test_top_k_then_top_p_keep_what_a_hand_would(torch):
    from tasks.engines.transformers.sampling import keep_top

    # Probabilities .5 .25 .15 .1, out of order.
    scores = torch.tensor([[0.25, 0.1, 0.5, 0.15]]).log()

    def kept(top_k, top_p):
        return torch.isfinite(keep_top(scores, [top_k], [top_p]))[0].nonzero().flatten().tolist()

    assert kept(0, 1.0) == [0, 1, 2, 3]
    assert kept(2, 1.0) == [0, 2]
    assert kept(0, 0.4) == [2]
    assert kept(0, 0.7) == [0, 2]
    assert kept(0, 0.8) == [0, 2, 3]
    assert kept(2, 0.6) == [2]  # of .5 and .25 the first alone has two thirds
    assert kept(3, 0.7) == [0, 2]  # .5/.9 < .7 ≤ .75/.9
    assert kept(1, 0.01) == [2]


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 0.9), (0, 0.999), (300, 0.9), (5, 1.0), (700, 1.0)])
def test_the_short_cut_through_the_likeliest_equals_a_full_sort(torch, top_k, top_p):
    from tasks.engines.transformers.sampling import keep_top

    scores = torch.randn(6, 1000, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 6, 6)[:, None]
    found = torch.isfinite(keep_top(scores.clone(), [top_k] * 6, [top_p] * 6))
    for row in range(6):
        order = scores[row].argsort(descending=True)[: top_k or 1000].tolist()
        probabilities = scores[row][order].double().softmax(-1).tolist()
        want, mass = set(), 0.0
        for token, probability in zip(order, probabilities, strict=True):
            if mass < top_p:
                want.add(token)
            mass += probability
        assert len(want ^ set(found[row].nonzero().flatten().tolist())) <= 1  # rounding at the very edge


def test_draws_follow_the_softmax_at_the_rows_own_temperature(torch):
    from tasks.engines.transformers.sampling import Dice, draw

    logits, count = torch.tensor([2.0, 1.0, 0.0, -9.0]), 4000
    for temperature in (0.5, 1.0, 2.0):
        die = Dice.of(Sampling(temperature=temperature, seed=3), 4, "cpu")
        drawn = [draw(logits.clone().unsqueeze(0), [die])[0] for _ in range(count)]
        want = (logits / temperature).softmax(-1).tolist()
        for token in range(4):
            spread = math.sqrt(want[token] * (1 - want[token]) / count)
            assert abs(drawn.count(token) / count - want[token]) < 4 * spread + 1e-3


def test_rows_keep_their_own_settings_in_one_draw(torch):
    from tasks.engines.transformers.sampling import Dice, draw

    dice = [
        Dice.of(Sampling(temperature=0.0), 3, "cpu"),
        Dice.of(Sampling(temperature=5.0, top_k=1, seed=1), 3, "cpu"),
        Dice.of(Sampling(temperature=0.0, frequency_penalty=0.6), 3, "cpu"),
    ]
    logits = torch.tensor([[0.0, 1.0, 0.5]] * 3)
    found = [draw(logits.clone(), dice) for _ in range(3)]
    assert [row[0] for row in found] == [1, 1, 1]
    assert [row[1] for row in found] == [1, 1, 1]
    assert [row[2] for row in found] == [1, 2, 1]  # 1.0, then .4 against .5, then .4 against -.1
