"""Losses that TRL lacks, as pure functions; each test carries the arithmetic by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def soft_bradley_terry(chosen: Tensor, rejected: Tensor, p: Tensor) -> Tensor:
    """How badly two rewards estimate_refresh a judge who prefers `chosen` with probability p; the mean over the pairs.

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
