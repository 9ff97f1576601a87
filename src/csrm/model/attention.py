"""Attention on a processor: the query heads that share a key head are one matrix product.

PyTorch's kernel repeats the keys for every query head; with a prefix tree's mask and a few hundred tokens the plain
products below take less time. For scoring: training attends by `csrm.train.tree_attention`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "csrm_grouped"


def grouped_attention(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    scaling: float | None = None,
    dropout: float = 0.0,
    along: "Callable[..., torch.Tensor] | None" = None,
    **others: Any,
) -> tuple["torch.Tensor", None]:
    """softmax(q k^T scaling + mask) v.

    Without a mask of numbers (a caller of its own, who generates text, say) PyTorch's kernel is used.

    Args:
        module: the attention layer.
        query: (B, H, S, d).
        key: (B, K, T, d), where K divides H.
        value: (B, K, T, d).
        attention_mask: (B, 1, S, T), added to the scores.
        scaling: factor of the scores (default: d ** -.5).
        dropout: for PyTorch's kernel.
        along: attention of its own of who calls the layer (`csrm.model.path`), instead of this one.
        others: what PyTorch's kernel is given besides.

    Returns:
        Tensor (B, S, H, d), and no weights.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if along is not None:
        return along(module.layer_idx, query, key, value, module.scaling if scaling is None else scaling), None
    if attention_mask is None or attention_mask.dtype == torch.bool:
        given = {"scaling": scaling, "dropout": dropout, **others}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    batch, heads, length, size = query.shape
    groups, seen = key.shape[1], key.shape[2]
    together = (query * (size**-0.5 if scaling is None else scaling)).reshape(batch, groups, -1, size)
    scores = (together @ key.transpose(2, 3)).view(batch, heads, length, seen) + attention_mask
    mixed = scores.softmax(-1).view(batch, groups, -1, seen) @ value
    return mixed.view(batch, heads, length, size).transpose(1, 2).contiguous(), None


def use_grouped_attention(model: Any) -> None:
    """Replace PyTorch's attention kernel by `grouped_attention` where the model is on a processor and uses it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
