"""Drawing the next token of each row, with the row's own sampling and its own random numbers.

A row's noise comes from its own generator, so a reply does not depend on which others share its batch (up to the
rounding of the model's own sums, which is about 1e-6 in float32). The draw is the Gumbel-max trick: the argmax of
logits plus Gumbel noise is an exact sample of their softmax (Gumbel 1954; Maddison et al., arXiv 1411.0030, section 2).
The order is the field's: penalties on tokens already written, temperature, top-k, then top-p on what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.engines.protocol import Sampling

HEAD = 128  # top-p first looks at this many likeliest tokens, and sorts the whole vocabulary only if needed


@dataclass
class Dice:
    """One row's sampling, its random numbers, and how often it has written each token (if penalties ask)."""

    sampling: Sampling
    generator: Any
    counts: Any = None  # (V,)

    @classmethod
    def of(cls, sampling: Sampling, vocabulary: int, device: Any) -> Dice:
        generator = torch.Generator(device)
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed)
        penalised = sampling.frequency_penalty or sampling.presence_penalty
        return cls(sampling, generator, torch.zeros(vocabulary, device=device) if penalised else None)


def draw(logits: Any, dice: Sequence[Dice]) -> list[int]:
    """One token id a row. `logits` (B, V) float32 is changed in place."""
    for row, die in enumerate(dice):
        if die.counts is not None:
            logits[row] -= die.sampling.frequency_penalty * die.counts
            logits[row] -= die.sampling.presence_penalty * (die.counts > 0)
    warm = [row for row, die in enumerate(dice) if die.sampling.temperature > 0]
    if warm:
        hot = [dice[row] for row in warm]
        scores = logits[warm] / _column([die.sampling.temperature for die in hot], logits)
        scores = _filtered(scores, hot)
        noise = torch.empty_like(scores)
        for place, die in enumerate(hot):
            noise[place].uniform_(generator=die.generator)
        # -log(-log u) is a Gumbel variate; u = 0 gives -inf, which is never the largest.
        logits[warm] = scores.sub_(noise.log_().neg_().log_())
    tokens: list[int] = logits.argmax(-1).tolist()
    for token, die in zip(tokens, dice, strict=True):
        if die.counts is not None:
            die.counts[token] += 1
    return tokens


def _filtered(scores: Any, dice: Sequence[Dice]) -> Any:
    cut = [row for row, die in enumerate(dice) if die.sampling.top_k > 0 or die.sampling.top_p < 1]
    if cut:
        samplings = [dice[row].sampling for row in cut]
        scores[cut] = keep_top(scores[cut], [s.top_k for s in samplings], [s.top_p for s in samplings])
    return scores


def keep_top(scores: Any, top_k: Sequence[int], top_p: Sequence[float]) -> Any:
    """Scores (B, V) with all but each row's top-k, and of these the smallest set whose mass reaches top-p, at -inf."""
    vocabulary = scores.shape[-1]
    k = _column([k or vocabulary for k in top_k], scores)
    # A sum of all probabilities may round to less or more than 1, so 1 means off.
    p = _column([p if p < 1 else torch.inf for p in top_p], scores)
    head = min(vocabulary, max(HEAD, *(k for k in (*top_k, 0))))
    values, index = scores.topk(head)
    kept, enough = _kept(values, scores, k, p)
    if not enough:
        values, index = scores.sort(descending=True)
        kept, _ = _kept(values, scores, k, p)
    values = values.masked_fill(~kept, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter(-1, index, values)


def _kept(values: Any, scores: Any, k: Any, p: Any) -> tuple[Any, bool]:
    """Which of the descending `values` (B, H) are kept, and whether these H decide it for every row."""
    rank = torch.arange(values.shape[-1], device=values.device)
    inside = rank < k
    topmost = values.masked_fill(~inside, -torch.inf).logsumexp(-1, keepdim=True)
    # Top-p counts mass among the top-k, or in the whole vocabulary where top-k is off.
    total = torch.where(k < scores.shape[-1], topmost, scores.logsumexp(-1, keepdim=True))
    mass = (values - total).exp().cumsum(-1)
    decided = (k <= values.shape[-1]) | (mass[:, -1:] >= p)
    # A token is kept if the likelier ones have not yet reached p; the likeliest always is.
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1)
    return inside & (before < p), bool(decided.all()) or values.shape[-1] == scores.shape[-1]


def _column(values: Sequence[float], like: Any) -> Any:
    return torch.tensor(values, dtype=torch.float32, device=like.device).unsqueeze(-1)
