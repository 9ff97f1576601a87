"""The two responses of a preference pair share what is computed of their prompt, under TRL's trainers.

The prompt, a configuration and a user's turn, is often longer than both responses. TRL gives the decoder rows (prompt,
response, padding); here the decoder lays them out as a prefix tree, computes each token once at its own position, and
gives every row its hidden states back. What is made of them stays TRL's: log-probabilities of the responses, the loss,
its log, and the reference, which is the same call with the adapter switched off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from csrm.model.decoder import KNOWN
from csrm.model.tree import build_tree
from csrm.train.tree_attention import use_tree_attention
from csrm.train.tree_row import lay_out, row_states


def can_share(model: Any) -> bool:
    """Whether a decoder takes prefix trees: on a processor, of a known architecture, every layer sees all tokens."""
    config = model.config
    plain = not (getattr(config, "sliding_window", None) or getattr(config, "attention_dropout", None))
    return type(model).__name__ in KNOWN and model.device.type == "cpu" and plain


@contextmanager
def shared_prefixes(model: Any) -> Iterator[None]:
    """Within the block, the decoder computes what rows of a batch share from their beginning once, where it can."""
    if not can_share(model):
        yield
        return
    attention = model.config._attn_implementation
    use_tree_attention(model)
    decoder = model.get_decoder()
    forward = decoder.forward

    def shared(self: Any, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        placed = options.get("position_ids") is not None  # a tree already
        if placed or options.get("use_cache") is not False or attention_mask is None:
            return forward(input_ids=input_ids, attention_mask=attention_mask, **options)
        return BaseModelOutput(last_hidden_state=shared_states(model, input_ids, attention_mask.bool()))

    decoder.forward = MethodType(shared, decoder)
    try:
        yield
    finally:
        del decoder.forward
        model.set_attn_implementation(attention)


def shared_states(model: Any, input_ids: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The decoder's output for every row; that of padding is some token's.

    Args:
        model: a causal language model with `use_tree_attention`.
        input_ids: (B, L).
        kept: (B, L), False at padding.

    Returns:
        Tensor (B, L, width).
    """
    tree = build_tree([row[real].tolist() for row, real in zip(input_ids, kept, strict=True)])
    places = torch.zeros_like(input_ids)
    places[kept] = torch.tensor([node for leaf in tree.leaves for node in _path(tree.parents, leaf)])
    return torch.nn.functional.embedding(places, row_states(model, lay_out([tree])))


def _path(parents: list[int], node: int) -> list[int]:
    """The nodes from the root to `node`."""
    nodes = []
    while node >= 0:
        nodes.append(node)
        node = parents[node]
    return nodes[::-1]
