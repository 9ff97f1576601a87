"""Attention along the paths of a prefix tree, without a mask between branches and without copies of shared keys.

A path's keys and values lie in a buffer by position. The tree is walked depth first: each run of tokens writes its own
keys at their positions and attends to what lies before, whatever computed it. Every row of every product is the same
sequence of additions however the tree branches, where it is cut into passes, and what runs beside it: scores do not
depend on company, as long as the matrix products' rows do not (`tests/unit/model/test_decoder.py`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from csrm.model.walk import Piece

QUERIES = 64  # tokens whose scores are computed at once: with the keys they stay in the processor's cache
PAGE = 192  # keys whose weighted values are added up in one product: an order of additions that no length changes
LANES = 16  # widths are multiples of it, so that a softmax adds up in one order
ROWS = 8  # products of fewer rows are computed in another order


class Prefix(NamedTuple):
    """Keys and values of a prefix, (layers, 2, key heads, tokens, size of a head)."""

    tokens: tuple[int, ...]
    states: torch.Tensor


class Run(NamedTuple):
    """A piece of a pass: its rows [start, stop), the position of the first, and the `Prefix` to lay before it."""

    start: int
    stop: int
    position: int
    known: Any
    ends: tuple[int, ...]


def runs(pieces: Sequence[Piece]) -> list[Run]:
    """Place the pieces of a pass one after the other in a row."""
    placed, start = [], 0
    for piece in pieces:
        stop = start + len(piece.tokens)
        placed.append(Run(start, stop, piece.position, piece.known, piece.ends))
        start = stop
    return placed


class Path:
    """Keys and values of one path, in every layer.

    Args:
        layers: number of layers.
        heads: number of key heads.
        size: numbers in a head.
        length: longest path, tokens.
        like: a tensor of the model's number format and device.
    """

    def __init__(self, layers: int, heads: int, size: int, length: int, like: torch.Tensor) -> None:
        room = _ceil(length, LANES) + LANES
        self.states = like.new_zeros(layers, 2, heads, room, size)
        self.future = like.new_full((QUERIES, QUERIES + 2 * LANES), -torch.inf).triu(1)

    def prefix(self, tokens: Sequence[int]) -> Prefix:
        """A copy of the path's first tokens, which the caller names."""
        return Prefix(tuple(tokens), self.states[:, :, :, : len(tokens)].clone())

    def lay(self, layer: int, run: Run, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write a run's keys and values, (key heads, tokens of the pass, size), at their positions."""
        states = self.states[layer]
        if run.known is not None:
            states[:, :, : run.position] = run.known.states[layer][:, :, : run.position]
        end = run.position + run.stop - run.start
        states[0, :, run.position : end] = keys[:, run.start : run.stop]
        states[1, :, run.position : end] = values[:, run.start : run.stop]

    def attend(self, layer: int, queries: torch.Tensor, position: int) -> torch.Tensor:
        """Attention of consecutive tokens to the path up to each of them.

        Args:
            layer: number of the layer.
            queries: (H, n, size), scaled; n at most `QUERIES`.
            position: of the first of them.

        Returns:
            Tensor (n, H, size).
        """
        keys, values = self.states[layer]
        heads, count, size = queries.shape
        groups, width = keys.shape[0], _ceil(position + count, LANES)
        together = _at_least(queries.reshape(groups, heads // groups, count, size))
        shape = (*together.shape[:3], width)
        scores = torch.bmm(together.flatten(1, 2), keys[:, :width].transpose(1, 2))
        scores.view(shape)[..., position:] += self.future[: shape[2], : width - position]
        weights = scores.softmax(-1)
        mixed = torch.bmm(weights[..., :PAGE], values[:, : min(width, PAGE)])
        for page in range(PAGE, width, PAGE):
            mixed.baddbmm_(weights[..., page : page + PAGE], values[:, page : min(width, page + PAGE)])
        return mixed.view(*shape[:3], size)[:, :, :count].permute(2, 0, 1, 3).reshape(count, heads, size)


class Along:
    """What a layer's attention does for a pass: all rows attend (`__call__`), or verdict rows only (`verdicts`)."""

    def __init__(self, path: Path, placed: Sequence[Run]) -> None:
        self.path = path
        self.runs = placed

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of every token of the pass.

        Args:
            layer: number of the layer.
            query: (1, H, T, size).
            key: (1, K, T, size), where K divides H.
            value: (1, K, T, size).
            scaling: factor of the scores.

        Returns:
            Tensor (1, T, H, size); rows of no run are 0.
        """
        mixed = query.new_zeros(query.shape[2], query.shape[1], query.shape[3])
        for run in self.runs:
            self.path.lay(layer, run, key[0], value[0])
            for start in range(run.start, run.stop, QUERIES):
                stop = min(run.stop, start + QUERIES)
                queries = query[0, :, start:stop] * scaling
                mixed[start:stop] = self.path.attend(layer, queries, run.position + start - run.start)
        return mixed[None]

    def verdicts(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of the tokens that verdicts are read after; all tokens' keys and values join the path.

        Args:
            layer: number of the layer.
            query: (1, H, N, size), the verdicts' in the order of the runs; further rows get 0.
            key: (1, K, T, size).
            value: (1, K, T, size).
            scaling: factor of the scores.

        Returns:
            Tensor (1, N, H, size).
        """
        mixed, row = query.new_zeros(query.shape[2], query.shape[1], query.shape[3]), 0
        for run in self.runs:
            self.path.lay(layer, run, key[0], value[0])
            if run.ends:
                last = run.position + run.stop - run.start - 1
                mixed[row : row + 1] = self.path.attend(layer, query[0, :, row : row + 1] * scaling, last)
                row += 1
        return mixed[None]


def _at_least(queries: torch.Tensor) -> torch.Tensor:
    """Queries (K, heads a key head, n, size) with empty tokens added, until a product has `ROWS` rows."""
    _, heads, count, _ = queries.shape
    missing = -(-ROWS // heads) - count
    return torch.nn.functional.pad(queries, (0, 0, 0, missing)) if missing > 0 else queries


def _ceil(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
