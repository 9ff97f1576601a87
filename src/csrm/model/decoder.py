"""A decoder run along the walk of a prefix tree: the model's own layers, with attention along the paths.

The last layer computes keys and values of all tokens, and everything else at verdicts only. Architectures other than
those of `KNOWN` are scored with a mask in one row (`csrm.model.backends.local`).
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch

from csrm.model.attention import NAME
from csrm.model.path import LANES, PAGE, QUERIES, ROWS, Along, Path, runs
from csrm.model.walk import Piece

KNOWN = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
ROPES = frozenset({"default", "linear", "llama3", "yarn"})  # angles of a position do not depend on the length


def can_walk(model: Any) -> bool:
    """Whether `Decoder` knows the model: on a processor, of a known architecture, every layer sees all tokens."""
    config = model.config
    ropes = getattr(config, "rope_parameters", None) or {}
    return (
        type(model).__name__ in KNOWN
        and config._attn_implementation == NAME
        and model.device.type == "cpu"
        and getattr(config, "sliding_window", None) is None
        and ropes.get("rope_type") in ROPES
    )


@torch.inference_mode()
def same_bits(model: Any) -> bool:
    """Whether rows of this machine's products are the same bits however many there are: then scores are as well.

    One layer's weights times `ROWS` random rows, by themselves and among others (the smallest weights among as many as
    a pass has), and one attention product, of a token by itself and among others; tens of milliseconds.
    """
    layer = model.get_decoder().layers[0]
    linears = [module for module in layer.modules() if isinstance(module, torch.nn.Linear)]
    small = min(linears, key=lambda linear: linear.weight.numel())
    return all(_same_rows(linear, 25) for linear in linears) and _same_rows(small, 512) and _same_attention(model)


def _same_rows(linear: torch.nn.Linear, times: int) -> bool:
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, linear.in_features, generator=draw).to(linear.weight.dtype)
    return torch.equal(linear(rows.repeat(times, 1)), linear(rows).repeat(times, 1))


def _same_attention(model: Any) -> bool:
    config, weight, before = model.config, model.get_decoder().embed_tokens.weight, 2 * PAGE
    draw, size = torch.Generator().manual_seed(0), _head_size(config)
    path = Path(1, config.num_key_value_heads, size, before + QUERIES, weight)
    path.states.copy_(torch.randn(path.states.shape, generator=draw))
    queries = torch.randn(config.num_attention_heads, QUERIES, size, generator=draw).to(weight.dtype)
    return torch.equal(path.attend(0, queries, before)[:1], path.attend(0, queries[:, :1], before))


def token_bytes(model: Any) -> int:
    """Size of one token's keys and values in all layers."""
    config = model.config
    return 2 * config.num_hidden_layers * config.num_key_value_heads * _head_size(config) * int(model.dtype.itemsize)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


class Decoder:
    """Runs a model that `can_walk` along paths of at most `length` tokens."""

    def __init__(self, model: Any, length: int) -> None:
        self.body = model.get_decoder()
        config = self.body.config
        weight = self.body.embed_tokens.weight
        self.path = Path(len(self.body.layers), config.num_key_value_heads, _head_size(config), length, weight)
        positions = torch.arange(-(-length // LANES) * LANES, device=weight.device)
        self.angles: list[torch.Tensor] = self.body.rotary_emb(weight, positions[None])

    @torch.inference_mode()
    def run(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Hidden states that verdicts are read from, one row for each piece that ends a sequence, (N, width)."""
        placed = runs(pieces)
        along = Along(self.path, placed)
        tokens = [token for piece in pieces for token in piece.tokens]
        places = [piece.position + i for piece in pieces for i in range(len(piece.tokens))]
        spare = [0] * (-len(tokens) % ROWS)  # rows of no run
        hidden = self.body.embed_tokens(torch.tensor([tokens + spare]))
        angles = [table[:, places + spare] for table in self.angles]
        for layer in self.body.layers[:-1]:
            hidden = layer(hidden, position_embeddings=angles, along=along)
        rows = [run.stop - 1 for run in placed if run.ends]
        return self.body.norm(self._last(hidden, angles, along, rows))[0, : len(rows)]

    def _last(
        self, hidden: torch.Tensor, angles: Sequence[torch.Tensor], along: Along, rows: list[int]
    ) -> torch.Tensor:
        """The last layer at `rows`, and as many more as products need; (1, N or more, width)."""
        layer = self.body.layers[-1]
        keys, values = keys_values(layer, hidden, angles)
        read = rows + [0] * (-len(rows) % ROWS if rows else ROWS)

        def verdicts(number: int, query: torch.Tensor, key: Any, value: Any, scaling: float) -> torch.Tensor:
            return along.verdicts(number, query, keys, values, scaling)

        here = [table[:, read] for table in angles]
        result: torch.Tensor = layer(hidden[:, read], position_embeddings=here, along=verdicts)
        return result


def keys_values(layer: Any, hidden: torch.Tensor, angles: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of a layer for all tokens, each (1, key heads, T, size), as its own attention computes them."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    shape = (*hidden.shape[:2], -1, attention.head_dim)
    keys = attention.k_proj(normed).view(shape)
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    keys = keys.transpose(1, 2)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    return rotate(keys, keys, *angles)[1], attention.v_proj(normed).view(shape).transpose(1, 2)
