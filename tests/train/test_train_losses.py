"""The losses that TRL lacks, against arithmetic by hand."""

import math

import pytest
import torch

from tasks.train.losses import cdpo, orpo, pro, rrhf, simpo, soft_bradley_terry


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


def test_rrhf_by_hand():
    # Scores say 3 > 1 > 2. Pairs (worse, better): (1, 0): −1 − −2 = 1; (2, 0): −1.5 − −2 = .5; (2, 1): −1.5 − −1 < 0.
    # 1 + .5 = 1.5, and the best answer's −(−2) = 2.
    assert rrhf(torch.tensor([-2.0, -1.0, -1.5]), torch.tensor([3.0, 2.0, 1.0])).item() == pytest.approx(3.5)
    # In the right order only the best answer's own term is left, and a tie orders nobody.
    assert rrhf(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx(1.0)
    assert rrhf(torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 1.0])).item() == pytest.approx(1.0)


def test_rrhf_takes_one_list_as_one_row():
    """RRHF (6): the code's loss of a one-dimensional score tensor was 0."""
    slope = torch.tensor([-2.0, -1.0, -1.5], requires_grad=True)
    rrhf(slope, torch.tensor([3.0, 2.0, 1.0])).backward()
    assert slope.grad.tolist() == [-3.0, 1.0, 1.0]  # the best is in two pairs and in its own term


def test_pro_by_hand():
    # Scores 2, 1, 0; p −1, −1, −2. First against the others: gaps 1 and 2, its own inverse temperature the larger, 2:
    # log(e^(−1·2) + e^(−1·1) + e^(−2·2)) − (−1·2) = log(.135335 + .367879 + .018316) + 2 = −.650990 + 2 = 1.349010.
    # Second against the third: gap 1: log(e^−1 + e^−2) + 1 = log(.503215) + 1 = .313262. The last has none below it.
    logps, scores = torch.tensor([-1.0, -1.0, -2.0]), torch.tensor([2.0, 1.0, 0.0])
    assert pro(logps, scores, 0.0).item() == pytest.approx(1.349010 + 0.313262, abs=1e-5)
    # The SFT term: .05 (3 − 1)² = .2 times the best's 1.
    assert pro(logps, scores, 0.05).item() == pytest.approx(1.349010 + 0.313262 + 0.2, abs=1e-5)


def test_pro_does_not_set_answers_of_one_score_against_each_other():
    logps, scores = torch.tensor([-1.0, -1.0], requires_grad=True), torch.tensor([1.0, 1.0])
    assert pro(logps, scores, 0.0).item() == 0
    three = pro(torch.tensor([-1.0, -1.0, -2.0]), torch.tensor([1.0, 1.0, 0.0]), 0.0)
    assert three.item() == pytest.approx(2 * 0.313262, abs=1e-5)  # each against the third alone
    three = torch.tensor([-1.0, -1.0, -2.0], requires_grad=True)
    pro(three, torch.tensor([1.0, 1.0, 0.0]), 0.05).backward()
    assert torch.isfinite(three.grad).all()


def test_simpo_by_hand():
    # β 2, γ 1: 2 × (−1 − −2) − 1 = 1: −log σ(1) = .313262; the other way round −3: 3.048587.
    chosen, rejected = torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0])
    assert simpo(chosen, rejected, 2.0, 1.0).tolist() == pytest.approx([0.313262, 3.048587], abs=1e-5)


def test_orpo_by_hand():
    # P_c = e^−.5 = .606531: odds 1.541494, log .432752. P_r = e^−2 = .135335: odds .156518, log −1.854587.
    # Their difference 2.287339: −log σ = .096786; .5 + .1 × .096786 = .509679.
    assert orpo(torch.tensor(-0.5), torch.tensor(-2.0), 0.1).item() == pytest.approx(0.509679, abs=1e-5)
    assert math.isfinite(orpo(torch.tensor(0.0), torch.tensor(-2.0), 0.1).item())


def test_cdpo_by_hand():
    # β h = .1 × 5 = .5, p .8: .8 × .474077 + .2 × .974077 = .574077.
    assert cdpo(torch.tensor(5.0), torch.tensor(0.8), 0.1).item() == pytest.approx(0.574077, abs=1e-5)
    assert cdpo(torch.tensor(5.0), torch.tensor(1.0), 0.1).item() == pytest.approx(0.474077, abs=1e-5)  # DPO
    margin = torch.tensor(math.log(0.8 / 0.2) / 0.1, requires_grad=True)
    cdpo(margin, torch.tensor(0.8), 0.1).backward()
    assert margin.grad.item() == pytest.approx(0, abs=1e-7)
