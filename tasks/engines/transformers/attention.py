"""Attention of one new token on a CPU, where several heads share keys and values (grouped-query attention)."""

from __future__ import annotations

from typing import Any

from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_grouped"


def use_grouped_attention(model: Any) -> None:
    """Let the heads that share keys and values read them together, if the model's attention is PyTorch's.

    Transformers copies keys and values for each head when there is a mask; with long prompts that is most of a step.
    """
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **rest: Any
) -> tuple[Any, None]:
    """Of a query (B, H, 1, D) and keys (B, K, W, D) the output (B, 1, H, D); other queries go transformers' own way."""
    batch, heads, count, size = query.shape
    groups = key.shape[1]
    of_heads = attention_mask is not None and attention_mask.shape[1] != 1
    if heads == groups or count > 1 or of_heads or rest.get("position_bias") is not None:
        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
        return found
    together = query.reshape(batch, groups, heads // groups, size)
    seen = scaled_dot_product_attention(together, key, value, attn_mask=attention_mask, scale=scaling)
    return seen.reshape(batch, heads, 1, -1).transpose(1, 2).contiguous(), None
