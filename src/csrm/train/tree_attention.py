"""Attention of training: prefix trees side by side in one row, block by block, without a mask over the whole row.

A row is laid out depth first. Queries are taken in blocks of consecutive tokens; the keys of a block are the ancestors
of its tokens and the block itself, so that cost and memory grow with the length of a path and not with the row's.
Gradients are written out: what branches share is added up in float32.
"""

from collections.abc import Sequence
from typing import Any

import torch

from csrm.train.tree_blocks import Block, blocks, blocks_of

NAME = "csrm_tree"
# Tokens of a block: small ones see few keys in vain, large ones are few products.
ON_PROCESSOR, ON_ACCELERATOR = 128, 1024


class TreeAttention:
    """What a layer's attention does with one row.

    Args:
        row: blocks of all queries, in order.
        device: where the model is.
    """

    def __init__(self, row: list[Block], device: torch.device) -> None:
        self.row = row
        self.device = device
        self.masks: dict[torch.dtype, list[torch.Tensor]] = {}

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
        """Attention of every query to its ancestors and itself.

        Args:
            query: (1, H, Q, d), the queries of the blocks.
            key: (1, K, T, d), where K divides H.
            value: (1, K, T, d).
            scaling: factor of the scores.

        Returns:
            Tensor (1, Q, H, d).
        """
        attend: Any = _Attend.apply
        scaled, keys = (query[0] * scaling).to(value.dtype), key[0].to(value.dtype)
        mixed: torch.Tensor = attend(scaled, keys, value[0], self.row, self._masks(value.dtype))
        return mixed[None]

    def _masks(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """0 where a key is seen and -inf elsewhere, of each block's keys that not every query sees."""
        if dtype not in self.masks:
            partly = (block.seen[:, block.common :].to(self.device) for block in self.row)
            self.masks[dtype] = [
                torch.zeros(s.shape, dtype=dtype, device=s.device).masked_fill_(~s, -torch.inf) for s in partly
            ]
        return self.masks[dtype]


def attention_of_row(parents: Sequence[int], device: torch.device) -> TreeAttention:
    """Attention of every token of a row; see `blocks`."""
    return TreeAttention(blocks(parents, _size(device)), device)


def attention_of_tokens(tokens: Sequence[int], parents: Sequence[int], device: torch.device) -> TreeAttention:
    """Attention of some tokens of a row, which seldom lie beside each other: blocks of them are smaller."""
    return TreeAttention(blocks_of(tokens, parents, max(1, _size(device) // 16)), device)


def _size(device: torch.device) -> int:
    return ON_PROCESSOR if device.type == "cpu" else ON_ACCELERATOR


class _Attend(torch.autograd.Function):
    """softmax(q k^T + mask) v of each block; the backward pass computes the softmax again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        row: list[Block],
        masks: list[torch.Tensor],
    ) -> torch.Tensor:
        """Query (H, Q, d), scaled; key and value (K, T, d) -> (Q, H, d)."""
        mixed = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
        with torch.autocast(query.device.type, enabled=False):
            for block, mask in zip(row, masks, strict=True):
                weights = _weights(_queries(query, block, len(key)), _keys(key, block), block, mask)
                mixed[block.start : block.stop] = _tokens(torch.bmm(weights, _keys(value, block)), block)
        ctx.save_for_backward(query, key, value)
        ctx.row, ctx.masks = row, masks
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        of_mixed = gradients[0].transpose(0, 1)
        of_query = torch.empty_like(query)
        of_key, of_value = (torch.zeros(x.shape, dtype=torch.float32, device=x.device) for x in (key, value))
        for block, mask in zip(ctx.row, ctx.masks, strict=True):
            queries, keys, values = _queries(query, block, len(key)), _keys(key, block), _keys(value, block)
            weights = _weights(queries, keys, block, mask)
            of_block = _queries(of_mixed, block, len(key))
            _add(of_value, torch.bmm(weights.transpose(1, 2), of_block), block)
            of_weights = torch.bmm(of_block, values.transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            _add(of_key, torch.bmm(of_scores.transpose(1, 2), queries), block)
            of_query[:, block.start : block.stop] = torch.bmm(of_scores, keys).view(len(query), -1, query.shape[2])
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None, None


def _weights(queries: torch.Tensor, keys: torch.Tensor, block: Block, mask: torch.Tensor) -> torch.Tensor:
    """Attention weights of a block, (K, H / K * queries, keys)."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    scores.view(len(keys), -1, *block.seen.shape)[..., block.common :].add_(mask)
    return scores.softmax(-1)


def _queries(states: torch.Tensor, block: Block, groups: int) -> torch.Tensor:
    """(H, T, d) -> (K, H / K * queries, d): the heads that share a key head are one product."""
    return states.unflatten(0, (groups, -1))[:, :, block.start : block.stop].flatten(1, 2)


def _keys(states: torch.Tensor, block: Block) -> torch.Tensor:
    """(K, T, d) -> (K, keys, d)."""
    if len(block.ranges) == 1:
        first, last = block.ranges[0]
        return states[:, first:last]
    return torch.cat([states[:, first:last] for first, last in block.ranges], 1)


def _add(total: torch.Tensor, part: torch.Tensor, block: Block) -> None:
    """Add (K, keys, d) to (K, T, d) where the keys came from."""
    at = 0
    for first, last in block.ranges:
        total[:, first:last] += part[:, at : at + last - first]
        at += last - first


def _tokens(states: torch.Tensor, block: Block) -> torch.Tensor:
    """(K, H / K * queries, d) -> (queries, H, d)."""
    count = block.stop - block.start
    return states.unflatten(1, (-1, count)).permute(2, 0, 1, 3).flatten(1, 2)


def tree_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: TreeAttention | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a layer under `tree`; PyTorch's own for a caller who gives none.

    Raises:
        ValueError: if attention weights are to be dropped at random, which rows of trees are not made for.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if tree is None:
        given = {"scaling": scaling, "dropout": dropout, **others}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    if dropout:
        raise ValueError(f"the backbone drops attention weights (attention_dropout {dropout}): set it to 0 to train")
    return tree(query, key, value, module.scaling if scaling is None else scaling), None


def use_tree_attention(model: Any, longest: int | None = None) -> None:
    """Let a model's layers attend by `tree_attention`.

    Args:
        model: a causal language model.
        longest: tokens of the longest sequence that it will be given (None: any).

    Raises:
        ValueError: if a layer attends otherwise than to all tokens before, see `refuse_partial_attention`.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    refuse_partial_attention(model.config, longest)
    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def refuse_partial_attention(config: Any, longest: int | None) -> None:
    """Refuse models that rows of trees would compute otherwise than they are defined.

    Args:
        config: Transformers configuration of the model.
        longest: tokens of the longest sequence (None: any).

    Raises:
        ValueError: if scores are capped, a layer is of another kind than attention to all tokens before it, or
            sees fewer of them than `longest`.
    """
    text = config.get_text_config()
    fix = "choose a backbone of full attention, such as a Llama or Qwen3"
    kinds = set(getattr(text, "layer_types", None) or ["full_attention", "sliding_attention"])
    if other := sorted(kinds - {"full_attention", "sliding_attention"}):
        raise ValueError(f"the backbone has layers of kind {other}, training allows full_attention: {fix}")
    if cap := getattr(text, "attn_logit_softcapping", None):
        raise ValueError(f"the backbone caps attention scores (attn_logit_softcapping {cap}), allowed is none: {fix}")
    window = getattr(text, "sliding_window", None) if "sliding_attention" in kinds else None
    if window and (longest is None or longest > window):
        raise ValueError(
            f"the backbone's layers see {window} tokens (sliding_window), the longest sequence may have "
            f"{longest or 'any number'}: set train.max_length to {window} or less, or {fix}"
        )
