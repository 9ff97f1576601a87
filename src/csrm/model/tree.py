"""Prefix sharing: many token sequences as one row in which each shared prefix is computed once.

Sequences that start alike (one conversation under several configurations, one prompt with several responses) become
a prefix tree. Each node keeps the position it has in its own sequence and sees exactly its ancestors, so scores and
gradients equal those of separate sequences.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Tree(NamedTuple):
    """A prefix tree laid out in a row: parents come before children."""

    tokens: list[int]
    positions: list[int]
    parents: list[int]
    leaves: list[int]

    def __len__(self) -> int:
        return len(self.tokens)


class TreeBatch(NamedTuple):
    """Trees padded to one length, ready for a causal language model.

    Shapes: `input_ids` and `position_ids` (B, L); `attention_mask` (B, 1, L, L), True where attention is allowed;
    `rows` and `columns` (N,) give the place of each sequence's last token, in the order of the sequences.
    """

    input_ids: "torch.Tensor"
    position_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    rows: "torch.Tensor"
    columns: "torch.Tensor"


def build_tree(sequences: Sequence[Sequence[int]]) -> Tree:
    """Lay out token sequences as a prefix tree, depth first; `leaves[i]` is the node of the last token of sequence i.

    Raises:
        ValueError: if a sequence is empty.
    """
    tree = Tree([], [], [], [-1] * len(sequences))
    children: dict[tuple[int, int], int] = {}
    for index in sorted(range(len(sequences)), key=lambda i: tuple(sequences[i])):
        sequence = sequences[index]
        if not sequence:
            raise ValueError("cannot place an empty sequence in a prefix tree")
        node = -1
        for depth, token in enumerate(sequence):
            child = children.get((node, token))
            if child is None:
                child = children[node, token] = len(tree.tokens)
                tree.tokens.append(token)
                tree.positions.append(depth)
                tree.parents.append(node)
            node = child
        tree.leaves[index] = node
    return tree


def join(trees: Sequence[Tree]) -> Tree:
    """Lay out several trees side by side in one row; none sees another, and the leaves keep their order."""
    row = Tree([], [], [], [])
    for tree in trees:
        offset = len(row)
        row.tokens.extend(tree.tokens)
        row.positions.extend(tree.positions)
        row.parents.extend(parent + offset if parent >= 0 else -1 for parent in tree.parents)
        row.leaves.extend(leaf + offset for leaf in tree.leaves)
    return row


def collate(trees: Sequence[Tree], pad_id: int) -> TreeBatch:
    """Pad trees to one length; padding sees only itself, and nothing sees padding."""
    import torch

    length = max(map(len, trees))
    ids = torch.full((len(trees), length), pad_id)
    positions = torch.zeros((len(trees), length), dtype=torch.long)
    mask = torch.eye(length, dtype=torch.bool).repeat(len(trees), 1, 1)
    rows: list[int] = []
    columns: list[int] = []
    for row, tree in enumerate(trees):
        size = len(tree)
        ids[row, :size] = torch.tensor(tree.tokens)
        positions[row, :size] = torch.tensor(tree.positions)
        _fill_ancestors(mask[row], tree)
        rows += [row] * len(tree.leaves)
        columns += tree.leaves
    return TreeBatch(ids, positions, mask[:, None], torch.tensor(rows), torch.tensor(columns))


def _fill_ancestors(mask: "torch.Tensor", tree: Tree) -> None:
    """Let each node see its ancestors: a node sees what its parent sees, and itself.

    A run of nodes in which each is the child of the one before is filled at once.
    """
    import torch

    start, size = 0, len(tree)
    while start < size:
        end = start + 1
        while end < size and tree.parents[end] == end - 1:
            end += 1
        parent = tree.parents[start]
        if parent >= 0:
            mask[start:end] |= mask[parent]
        mask[start:end, start:end] |= torch.ones((end - start, end - start), dtype=torch.bool).tril()
        start = end
