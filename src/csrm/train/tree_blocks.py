"""Blocks of a row of prefix trees: queries that are computed together, and the keys that any of them sees."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch


class Block(NamedTuple):
    """Queries [start, stop), the ranges of keys they see, and who sees which (bool, queries x keys).

    The first `common` keys are seen by every query.
    """

    start: int
    stop: int
    ranges: list[tuple[int, int]]
    seen: torch.Tensor
    common: int


def blocks(parents: Sequence[int], size: int) -> list[Block]:
    """Cut a row of trees into blocks of `size` queries.

    Args:
        parents: of each token the one before it in its own sequence (-1: none); parents come before children.
        size: queries of a block; the last one has fewer.
    """
    heads = _heads(parents)
    starts = range(0, len(parents), size)
    return [_block(parents, heads, start, min(start + size, len(parents))) for start in starts]


def blocks_of(tokens: Sequence[int], parents: Sequence[int], size: int) -> list[Block]:
    """Blocks of `size` queries each of some tokens of a row, in their order; see `blocks`."""
    heads = _heads(parents)
    paths = [[*_path(parents, heads, token), (token, token + 1)] for token in tokens]
    made = []
    for start in range(0, len(tokens), size):
        own = paths[start : start + size]
        made.append(_visible(start, own, [1] * len(own)))
    return made


def _heads(parents: Sequence[int]) -> list[int]:
    """The first token of the run of consecutive tokens that each one ends."""
    heads = list(range(len(parents)))
    for token, parent in enumerate(parents):
        if parent == token - 1 and token:
            heads[token] = heads[token - 1]
    return heads


def _block(parents: Sequence[int], heads: Sequence[int], start: int, stop: int) -> Block:
    """The block of the tokens [start, stop)."""
    edges = [start, *(t for t in range(start + 1, stop) if parents[t] != t - 1), stop]
    runs = list(pairwise(edges))
    paths = [[*_path(parents, heads, first), (first, last)] for first, last in runs]
    return _visible(start, paths, [last - first for first, last in runs], causal=True)


def _visible(
    start: int, paths: Sequence[Sequence[tuple[int, int]]], counts: Sequence[int], causal: bool = False
) -> Block:
    """The block of queries from `start` on, of which so many as `counts` says see each path.

    Args:
        start: number of the first query.
        paths: ranges of keys.
        counts: queries that see each path.
        causal: the queries are the last keys themselves, and see none after their own.
    """
    needed = torch.zeros(max(high for path in paths for _, high in path), dtype=torch.bool)
    for low, high in (piece for path in paths for piece in path):
        needed[low:high] = True
    columns = needed.cumsum(0) - 1
    queries, keys = sum(counts), int(columns[-1]) + 1
    seen = torch.zeros(queries, keys, dtype=torch.bool)
    for rows, path in zip(seen.split(list(counts)), paths, strict=True):
        for low, high in path:
            rows[:, columns[low] : columns[high - 1] + 1] = True
    if causal:
        seen[:, keys - queries :].tril_()
    return Block(start, start + queries, _ranges(needed), seen, int(seen.all(0).int().cumprod(0).sum()))


def _path(parents: Sequence[int], heads: Sequence[int], token: int) -> list[tuple[int, int]]:
    """The ancestors of a token as ranges."""
    found, parent = [], parents[token]
    while parent >= 0:
        first = heads[parent]
        found.append((first, parent + 1))
        parent = parents[first]
    return found


def _ranges(needed: torch.Tensor) -> list[tuple[int, int]]:
    """Ranges of consecutive True values."""
    edges = torch.diff(needed.int(), prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
    return list(zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist(), strict=True))
