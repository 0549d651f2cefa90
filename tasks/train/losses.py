"""Losses that TRL lacks, as pure functions; each test carries the arithmetic by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def soft_bradley_terry(chosen: Tensor, rejected: Tensor, p: Tensor) -> Tensor:
    """How badly two rewards foretell a judge who prefers `chosen` with probability p; the mean over the pairs.

    −[p log σ(r_c − r_r) + (1 − p) log σ(r_r − r_c)]: Bradley and Terry's model, with the normalised probabilities of
    the feedback model as its targets (Constitutional AI, arXiv 2212.08073, section 4.1). Its least value is at
    r_c − r_r = log(p / (1 − p)); p = 1 is the loss of hard labels.

    Args:
        chosen, rejected: rewards, (B,), unbounded.
        p: (B,), 0 to 1.

    Returns:
        (), in nats.
    """
    from torch.nn.functional import logsigmoid

    margin = chosen - rejected
    return -(p * logsigmoid(margin) + (1 - p) * logsigmoid(-margin)).mean()


def fit_or_not(chosen: Tensor, rejected: Tensor, p: Tensor) -> Tensor:
    """The binary cross-entropy of an inspector, whose logit s says that an answer is fit to be given: the mean of
    −log σ(s) over corrections (`chosen`) and of −log σ(−s) over the answers that needed them (`rejected`).

    Each answer is judged by itself, so that zero is the border: Bradley and Terry's differences have none. Aligners
    (Ngweta et al., arXiv 2403.04224), whose classifier's labels are 1 and 0.

    Args:
        chosen, rejected: logits, (B,), unbounded.
        p: (B,), how sure it is that a correction is the better one; 1 for all, as the corrections' labels are hard.

    Returns:
        (), in nats an answer.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    return (cross_entropy(chosen, p) + cross_entropy(rejected, 1 - p)) / 2


def rrhf(logps: Tensor, scores: Tensor) -> Tensor:
    """How badly a model's own order of a prompt's answers fits that of their scores, and how little it says the best.

    Σ_{r_i < r_j} max(0, p_i − p_j) − p_best (RRHF, arXiv 2304.05302, equations 2 to 4): p is an answer's
    log-probability divided by its tokens; no margin; both terms weigh the same. Departure: the second term, the
    cross-entropy of the best answer, is a mean over its tokens as p is, where equation 4 adds them up.

    Args:
        logps: p of each answer, (K,), in nats a token.
        scores: (K,), any scale; answers of the same score have no order.

    Returns:
        (), in nats.
    """
    worse, better = logps[:, None], logps[None, :]
    is_worse = scores[:, None] < scores[None, :]
    return ((worse - better).clamp(min=0) * is_worse).sum() - logps[scores.argmax()]


def pro(logps: Tensor, scores: Tensor, sft_weight: float) -> Tensor:
    """A list's ranking: each answer against all that score lower, the more so the further these are below it.

    −Σ_k log[ exp(p_k / T_k) / (exp(p_k / T_k) + Σ_{r_i < r_k} exp(p_i / T_ki)) ] − w (n − 1)² p_best, with
    T_ki = 1 / (r_k − r_i) and T_k = min_i T_ki (PRO, arXiv 2306.17492, equations 6 to 9, and its code's w). p is an
    answer's log-probability divided by its tokens. Departures: answers of the same score are not compared with each
    other, where T would be infinite; the last term is a mean over tokens, where the code adds them up (its issue 53).

    Args:
        logps: p of each answer, (K,), in nats a token.
        scores: (K,); their differences are the inverse temperatures, so that their scale matters.
        sft_weight: w; the code has 0.05.

    Returns:
        (), in nats.
    """
    import torch

    gaps = scores[:, None] - scores[None, :]  # (K, K): how far each is above each
    below = gaps > 0
    own = logps * gaps.amax(1)  # the smallest temperature is that of the largest gap
    others = (logps[None, :] * gaps).masked_fill(~below, -torch.inf)
    each = torch.logsumexp(torch.cat([own[:, None], others], 1), 1) - own
    return (each * below.any(1)).sum() - sft_weight * (len(logps) - 1) ** 2 * logps[scores.argmax()]


def simpo(chosen: Tensor, rejected: Tensor, beta: float, gamma: float) -> Tensor:
    """−log σ(β (p_c − p_r) − γ): DPO without a reference, with a margin (SimPO, arXiv 2405.14734, equation 6).

    Args:
        chosen, rejected: p, log-probabilities divided by their answer's tokens, any shape, in nats a token.
        beta: how a difference of 1 nat counts.
        gamma: the margin that the difference, times β, is to have.
    """
    from torch.nn.functional import logsigmoid

    return -logsigmoid(beta * (chosen - rejected) - gamma)


def orpo(chosen: Tensor, rejected: Tensor, weight: float) -> Tensor:
    """−p_c − λ log σ(log odds_c − log odds_r): SFT with an odds ratio (ORPO, arXiv 2403.07691, equations 6 and 7).

    odds = P / (1 − P), where P = exp(p) and p is a log-probability divided by its answer's tokens.

    Args:
        chosen, rejected: p, below 0, any shape, in nats a token.
        weight: λ.
    """
    import torch
    from torch.nn.functional import logsigmoid

    def log_odds(logps: Tensor) -> Tensor:
        return logps - torch.log(-torch.expm1(logps.clamp(max=-1e-6)))  # an answer of probability 1 has no odds

    return -chosen - weight * logsigmoid(log_odds(chosen) - log_odds(rejected))


def cdpo(margin: Tensor, p: Tensor, beta: float) -> Tensor:
    """−[p log σ(β h) + (1 − p) log σ(−β h)]: DPO with soft labels (cDPO, Mitchell 2023, "A note on DPO with noisy
    preferences", equation 3; each pair has its own p, where the note has one for all).

    Its least value is at β h = log(p / (1 − p)): a judge who is unsure moves the model little.

    Args:
        margin: h, how much more the model prefers `chosen` than the reference does, in nats, any shape.
        p: how probable it is that `chosen` is the better one, 0 to 1, the same shape.
        beta: as of DPO.
    """
    from torch.nn.functional import logsigmoid

    return -(p * logsigmoid(beta * margin) + (1 - p) * logsigmoid(-beta * margin))
