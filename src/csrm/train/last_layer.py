"""The last layer where its output is read: elsewhere nothing but its keys and values is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from csrm.model.decoder import keys_values

KNOWN = frozenset({"llama", "mistral", "qwen2", "qwen3"})  # model types whose layers `keys_values` knows


def can_narrow(model: Any) -> bool:
    """Whether the last layer can be computed at some tokens only: the architecture is known, however wrapped."""
    return model.get_decoder().config.model_type in KNOWN


@contextmanager
def last_layer_at(model: Any, read: torch.Tensor, attend: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Within the block, the last layer gets the tokens `read` alone, and keys and values of all.

    The layer itself is left as it is, so that what is hooked to its call (sharded weights, activations computed again)
    acts as before. Keys and values are made within its attention, which belongs to what is computed again.

    Args:
        model: a causal language model that `can_narrow`, with `use_tree_attention`.
        read: (N,), tokens of the row.
        attend: attention of these tokens, as `TreeAttention`: queries, keys, values, scaling -> mixed values.
    """

    def narrowed(layer: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        (hidden,), angles = given, options["position_embeddings"]

        def tree(query: torch.Tensor, key: Any, value: Any, scaling: float) -> torch.Tensor:
            return attend(query, *keys_values(layer, hidden, angles), scaling)

        here = tuple(table[:, read] for table in angles)
        return (hidden[:, read],), {**options, "position_embeddings": here, "tree": tree}

    hook = model.get_decoder().layers[-1].register_forward_pre_hook(narrowed, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
