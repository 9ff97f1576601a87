"""The prefix trees of a forward pass in one row, without padding, and the answers that a model gives there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from csrm.model.reward import project
from csrm.model.tree import Tree, join
from csrm.train.last_layer import can_narrow, last_layer_at
from csrm.train.tree_attention import attention_of_row, attention_of_tokens


class TreeRow(NamedTuple):
    """Trees side by side.

    Shapes: `input_ids` and `position_ids` (1, T); `parents` (T,), the token before each in its own sequence (-1: none);
    `ends` (N,), the last token of each sequence, in the order of the sequences.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    parents: torch.Tensor
    ends: torch.Tensor


def lay_out(trees: Sequence[Tree]) -> TreeRow:
    """One row of all trees."""
    row = join(trees)
    tokens, positions = torch.tensor([row.tokens]), torch.tensor([row.positions])
    return TreeRow(tokens, positions, torch.tensor(row.parents), torch.tensor(row.leaves))


def row_states(model: Any, row: TreeRow, read: torch.Tensor | None = None) -> torch.Tensor:
    """The decoder's output, of a model with `use_tree_attention`.

    Args:
        model: a causal language model.
        row: T tokens.
        read: (N,), the tokens whose output is wanted (None: all). What they alone need is computed for them alone.

    Returns:
        Tensor (N or T, width).
    """
    if read is None or not can_narrow(model):
        states = _states(model, row)
        return states if read is None else states[read]
    attend = attention_of_tokens(read.tolist(), row.parents.tolist(), row.input_ids.device)
    with last_layer_at(model, read, attend):
        return _states(model, row)


def _states(model: Any, row: TreeRow) -> torch.Tensor:
    device = row.input_ids.device
    unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)  # transformers then makes no mask
    hidden: torch.Tensor = model.get_decoder()(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        attention_mask=unread,
        use_cache=False,
        tree=attention_of_row(row.parents.tolist(), device),
    ).last_hidden_state
    return hidden[0]


def row_logits(model: Any, row: TreeRow) -> torch.Tensor:
    """Logits of the next token after each sequence, (N, vocabulary), float32; the projection is computed there only."""
    return project(row_states(model, row, row.ends), model.get_output_embeddings())
