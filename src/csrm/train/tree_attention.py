"""Attention of training: prefix trees side by side in one row, block by block, without a mask over the whole row.

A row is laid out depth first. Queries are taken in blocks of consecutive tokens; the keys of a block are the ancestors
of its tokens and the block itself, so that cost and memory grow with the length of a path and not with the row's.
Gradients are written out: what branches share is added up in float32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

NAME = "csrm_tree"
# Tokens of a block: small ones see few keys in vain, large ones are few products.
ON_PROCESSOR, ON_ACCELERATOR = 128, 1024


class Block(NamedTuple):
    """Consecutive queries [start, stop), the ranges of keys they see, and who sees which (bool, queries x keys)."""

    start: int
    stop: int
    ranges: list[tuple[int, int]]
    seen: torch.Tensor


def blocks(parents: Sequence[int], size: int) -> list[Block]:
    """Cut a row of trees into blocks of `size` queries.

    Args:
        parents: of each token the one before it in its own sequence (-1: none); parents come before children.
        size: queries of a block; the last one has fewer.
    """
    heads = list(range(len(parents)))  # the first token of the run of consecutive tokens that each one ends
    for token, parent in enumerate(parents):
        if parent == token - 1 and token:
            heads[token] = heads[token - 1]
    starts = range(0, len(parents), size)
    return [_block(parents, heads, start, min(start + size, len(parents))) for start in starts]


def _block(parents: Sequence[int], heads: Sequence[int], start: int, stop: int) -> Block:
    """The block of queries [start, stop)."""
    runs = [start, *(t for t in range(start + 1, stop) if parents[t] != t - 1), stop]
    paths = [_path(parents, heads, first, start) for first in runs[:-1]]
    needed = torch.zeros(stop, dtype=torch.bool)
    needed[start:] = True
    for first, last in (piece for path in paths for piece in path):
        needed[first:last] = True
    columns = needed.cumsum(0) - 1
    seen = torch.zeros(stop - start, int(columns[-1]) + 1, dtype=torch.bool)
    for first, last, path in zip(runs, runs[1:], paths, strict=False):
        for low, high in path:
            seen[first - start : last - start, columns[low] : columns[high - 1] + 1] = True
        own = columns[first]
        seen[first - start : last - start, own : own + last - first] = (
            torch.ones(last - first, last - first).tril().bool()
        )
    return Block(start, stop, _ranges(needed), seen)


def _path(parents: Sequence[int], heads: Sequence[int], token: int, cut: int) -> list[tuple[int, int]]:
    """The ancestors of a token as ranges, none of which crosses `cut`."""
    found, parent = [], parents[token]
    while parent >= 0:
        first, last = heads[parent], parent + 1
        found += [(first, cut), (cut, last)] if first < cut < last else [(first, last)]
        parent = parents[first]
    return found


def _ranges(needed: torch.Tensor) -> list[tuple[int, int]]:
    """Ranges of consecutive True values."""
    edges = torch.diff(needed.int(), prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
    return list(zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist(), strict=True))


class TreeAttention:
    """What every layer's attention does with one row.

    Args:
        parents: see `blocks`.
        like: a tensor of the model's number format, on its device.
    """

    def __init__(self, parents: Sequence[int], like: torch.Tensor) -> None:
        size = ON_PROCESSOR if like.device.type == "cpu" else ON_ACCELERATOR
        self.blocks = blocks(parents, size)
        self.masks: dict[torch.dtype, list[torch.Tensor]] = {}
        self.device = like.device

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
        """Attention of every token to its ancestors and itself.

        Args:
            query: (1, H, T, d).
            key: (1, K, T, d), where K divides H.
            value: (1, K, T, d).
            scaling: factor of the scores.

        Returns:
            Tensor (1, T, H, d).
        """
        masks = self._masks(value.dtype)
        attend: Any = _Attend.apply
        mixed: torch.Tensor = attend(
            query[0].to(value.dtype), key[0].to(value.dtype), value[0], scaling, self.blocks, masks
        )
        return mixed[None]

    def _masks(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """0 where a key is seen and -inf elsewhere, of each block."""
        if dtype not in self.masks:
            seen = (block.seen.to(self.device) for block in self.blocks)
            self.masks[dtype] = [
                torch.zeros(s.shape, dtype=dtype, device=s.device).masked_fill_(~s, -torch.inf) for s in seen
            ]
        return self.masks[dtype]


class _Attend(torch.autograd.Function):
    """softmax(q k^T scaling + mask) v of each block; the backward pass computes the softmax again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
        row: list[Block],
        masks: list[torch.Tensor],
    ) -> torch.Tensor:
        """Query (H, T, d), key and value (K, T, d) -> (T, H, d)."""
        mixed = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
        with torch.autocast(query.device.type, enabled=False):
            for block, mask in zip(row, masks, strict=True):
                weights = _weights(_queries(query, block, len(key)), _keys(key, block), scaling, mask)
                mixed[block.start : block.stop] = _tokens(torch.bmm(weights, _keys(value, block)), block)
        ctx.save_for_backward(query, key, value)
        ctx.scaling, ctx.row, ctx.masks = scaling, row, masks
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
            weights = _weights(queries, keys, ctx.scaling, mask)
            of_block = _queries(of_mixed, block, len(key))
            _add(of_value, torch.bmm(weights.transpose(1, 2), of_block), block)
            of_weights = torch.bmm(of_block, values.transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype) * ctx.scaling
            _add(of_key, torch.bmm(of_scores.transpose(1, 2), queries), block)
            of_queries = torch.bmm(of_scores, keys).view(len(query), -1, query.shape[2])
            of_query[:, block.start : block.stop] = of_queries
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None, None, None


def _weights(queries: torch.Tensor, keys: torch.Tensor, scaling: float, mask: torch.Tensor) -> torch.Tensor:
    """Attention weights of a block, (K, H / K * queries, keys)."""
    scores = torch.bmm(queries * scaling, keys.transpose(1, 2))
    scores.view(len(keys), -1, *mask.shape).add_(mask)
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


def use_tree_attention(model: Any) -> None:
    """Let a model's layers attend by `tree_attention`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
