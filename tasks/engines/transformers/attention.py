"""Grouped-query attention of one new token on a CPU, without a copy of keys and values for each query head."""

from __future__ import annotations

from typing import Any

from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_grouped"


def use_grouped_attention(model: Any) -> None:
    """Replace the SDPA attention of a model for single queries.

    Where there is a mask, transformers copies keys and values for each query head, which takes most of a decoding step
    after a long prompt.
    """
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **rest: Any
) -> tuple[Any, None]:
    """query (B, H, Q, D), key and value (B, K, W, D) → (B, Q, H, D); as transformers does it where Q is not 1."""
    batch, heads, queries, size = query.shape
    kv_heads = key.shape[1]
    per_head_mask = attention_mask is not None and attention_mask.shape[1] != 1
    if heads == kv_heads or queries > 1 or per_head_mask or rest.get("position_bias") is not None:
        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
        return found
    # The query heads of a group become the queries of their one key-value head.
    grouped = query.reshape(batch, kv_heads, heads // kv_heads, size)
    output = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return output.reshape(batch, heads, 1, -1).transpose(1, 2).contiguous(), None
