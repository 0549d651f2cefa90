"""What a training did to the weights as they are saved: how many tensors moved, and how far.

Weights near 0.02 lie 1e-4 apart in bfloat16, further than most of them move in a fine-tuning. Rounded to the nearest,
they would fall back to the base's; and what is saved in float32 falls back when an engine reads it in bfloat16. So they
are rounded up or down at random, with the probabilities that keep the mean (stochastic rounding, arXiv 1502.02551).
Each weight is off by less than one place, and a layer's output, a sum over thousands, keeps what was learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The relative update below which a model answers as its base does: of all weights, and of those under an adapter; our
# choice.
FLOOR, LORA_FLOOR = 1e-5, 1e-4


@dataclass(frozen=True)
class Change:
    """`update` is ‖saved − base‖ / ‖base‖ over the tensors that were trained, counted along trained − base: what
    rounding adds in other directions is no update. Where nothing was rounded it is the plain norm.
    """

    moved: int = 0  # tensors that differ as saved
    tensors: int = 0
    update: float = 0.0


def rounded(policy: Any, base: Any, dtype: Any, seed: int) -> Change:
    """Round the trained weights of `policy` to what `dtype` can hold, in place, and measure their way from `base`.

    Args:
        policy: the trained model, in float32.
        base: the model it was before, with the same tensors.
        dtype: in which it will be saved.
        seed: of the draws by which bfloat16 rounds.
    """
    import torch

    weights, before = dict(policy.named_parameters()), dict(base.named_parameters())
    draws = torch.Generator().manual_seed(seed)
    moved, along, way, whole = 0, 0.0, 0.0, 0.0
    for name, weight in weights.items():
        old, new = before[name].detach().cpu().float(), weight.detach().cpu().float()
        if torch.equal(old, new):
            continue
        step, saved = new - old, new if dtype == torch.float32 else stochastic(new, draws)
        weight.data.copy_(saved)  # and with it `new`, which may be the same memory
        moved += not torch.equal(saved.to(dtype), old.to(dtype))
        along += float(((saved - old) * step).sum(dtype=torch.float64))
        way += float(step.square().sum(dtype=torch.float64))
        whole += float(old.square().sum(dtype=torch.float64))
    return Change(moved, len(weights), along / (way * whole) ** 0.5 if way and whole else 0.0)


def stochastic(weights: Any, draws: Any) -> Any:
    """Float32 weights, each at one of the two bfloat16 values around it, drawn so that its mean is kept.

    A bfloat16 is the upper half of a float32: a draw from all lower halves, added, carries into the upper one as often
    as the lower half is great.
    """
    import torch

    lower = torch.randint(1 << 16, weights.shape, generator=draws, dtype=torch.int32)
    return ((weights.contiguous().view(torch.int32) + lower) & -(1 << 16)).view(torch.float32)
