"""Grouped attention against PyTorch's kernel on this processor: milliseconds per layer, medians of interleaved runs.

    python benchmarks/attention.py --threads 2 --lengths 160 320 480

The shapes are SmolLM2-135M's (9 query heads, 3 key heads of 64), with 4 rows and a causal mask.
"""

import argparse
import time
from statistics import median

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from csrm.model.attention import grouped_attention

ROWS, HEADS, GROUPS, SIZE = 4, 9, 3, 64


class Layer(torch.nn.Module):
    """What PyTorch's kernel asks of its layer."""

    num_key_value_groups = HEADS // GROUPS
    is_causal = True


def inputs(length: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Query, key, value that need gradients, and an additive causal mask."""
    shapes = [(ROWS, heads, length, SIZE) for heads in (HEADS, GROUPS, GROUPS)]
    allowed = torch.ones(ROWS, 1, length, length, dtype=torch.bool).tril()
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return *(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes), mask


def seconds(attention: object, given: tuple[torch.Tensor, ...]) -> float:
    """Time of one forward and backward pass."""
    start = time.perf_counter()
    attention(Layer(), *given, dropout=0.0, scaling=SIZE**-0.5)[0].float().square().mean().backward()  # type: ignore[operator]
    return time.perf_counter() - start


def main() -> None:
    """Print one line per length: both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", type=int, nargs="+", default=[160, 320, 480])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.dtype}, {options.threads} threads, forward and backward, medians of {options.repeats}")
    for length in options.lengths:
        given = inputs(length, getattr(torch, options.dtype))
        kinds, warm = (sdpa_attention_forward, grouped_attention), 3
        pairs = [[seconds(kind, given) for kind in kinds] for _ in range(warm + options.repeats)][warm:]
        theirs, ours = (1e3 * median(column) for column in zip(*pairs, strict=True))
        print(f"{length:5d} tokens  kernel {theirs:7.1f} ms  grouped {ours:7.1f} ms  ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
