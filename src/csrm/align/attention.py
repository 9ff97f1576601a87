"""Attention for decoding on a processor: the query heads that share a key head form one small matrix product.

PyTorch's CPU kernel handles one query row at a time and repeats the keys of grouped heads; for SmolLM2-135M with 96
rows this form halves a decoding step. Longer queries go to PyTorch's kernel, so prefill and training are unchanged.
"""

from typing import Any

NAME = "csrm_decode"


def register() -> str:
    """Make the implementation known to transformers; returns its name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, decode_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def decode_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Scaled dot-product attention with grouped heads.

    Args:
        module: the attention layer.
        query: (batch, heads, new tokens, width).
        key: (batch, key heads, tokens, width).
        value: as `key`.
        attention_mask: None, or boolean or additive, (batch, 1, new tokens, tokens).
        scaling: factor of the products; None: 1 / sqrt(width).
        options: for PyTorch's kernel.

    Returns:
        (batch, new tokens, heads, width), and no weights.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, heads, length, width = query.shape
    if length > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    groups = key.shape[1]
    queries = query.reshape(batch * groups, heads // groups, width)
    keys, values = (x.reshape(batch * groups, -1, width) for x in (key, value))
    weights = torch.bmm(queries, keys.transpose(1, 2)).float() * (width**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        mask = attention_mask.expand(batch, groups, 1, -1).reshape(batch * groups, 1, -1)
        weights = weights.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else weights + mask
    mixed = torch.bmm(weights.softmax(-1).to(value.dtype), values)
    return mixed.view(batch, heads, 1, width).transpose(1, 2), None
