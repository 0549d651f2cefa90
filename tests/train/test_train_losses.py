"""The losses that TRL lacks, against arithmetic by hand."""

import math

import pytest
import torch

from tasks.train.losses import soft_bradley_terry


def loss(chosen, rejected, p):
    return soft_bradley_terry(*map(torch.tensor, (chosen, rejected, p))).item()


def test_soft_labels_by_hand():
    # σ(1.5) = 0.817574, log σ(1.5) = −0.201413, log σ(−1.5) = −1.701413: .8 × 0.201413 + .2 × 1.701413 = 0.501413
    assert loss([2.0], [0.5], [0.8]) == pytest.approx(0.501413, abs=1e-6)
    # σ(−1) = 0.268941, log σ(−1) = −1.313262, log σ(1) = −0.313262: .6 × 1.313262 + .4 × 0.313262 = 0.913262
    assert loss([0.0], [1.0], [0.6]) == pytest.approx(0.913262, abs=1e-6)
    assert loss([2.0, 0.0], [0.5, 1.0], [0.8, 0.6]) == pytest.approx((0.501413 + 0.913262) / 2, abs=1e-6)


def test_a_sure_judge_gives_the_loss_of_hard_labels():
    assert loss([1.0], [-1.0], [1.0]) == pytest.approx(math.log(1 + math.exp(-2)))
    assert loss([1.0], [-1.0], [0.0]) == pytest.approx(math.log(1 + math.exp(2)))
    assert loss([7.0], [7.0], [0.9]) == pytest.approx(math.log(2))


def test_it_is_least_where_the_rewards_say_what_the_judge_says():
    chosen = torch.tensor([math.log(0.8 / 0.2)], requires_grad=True)
    soft_bradley_terry(chosen, torch.zeros(1), torch.tensor([0.8])).backward()
    assert chosen.grad.item() == pytest.approx(0, abs=1e-7)
    # Away from there the slope is σ(margin) − p.
    chosen = torch.tensor([0.0], requires_grad=True)
    soft_bradley_terry(chosen, torch.zeros(1), torch.tensor([0.8])).backward()
    assert chosen.grad.item() == pytest.approx(0.5 - 0.8)


def test_rewards_that_are_far_apart_stay_finite():
    assert loss([500.0], [-500.0], [0.75]) == pytest.approx(250.0)
