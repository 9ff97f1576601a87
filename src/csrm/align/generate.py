"""Batched sampling with a shared prefill: one forward pass a prompt, however many responses it gets.

Every response draws from its own generator, seeded by the caller, so that it does not depend on what else is in the
batch (up to rounding of the batched matrix products).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from csrm.align.policy import Policy

NUCLEUS = 512  # candidates looked at first; rows whose nucleus is larger are sorted in full


class Generation(NamedTuple):
    """Token ids of a response without its end token; `finished` says that the end token was drawn."""

    tokens: list[int]
    finished: bool


class Sampling(NamedTuple):
    """How tokens are drawn."""

    max_new_tokens: int
    temperature: float
    top_p: float


def generate(
    policy: Policy,
    prompts: Sequence[list[int]],
    seeds: Sequence[Sequence[int]],
    sampling: Sampling,
    batch_rows: int = 96,
    progress: Callable[[int], object] = lambda done: None,
) -> list[list[Generation]]:
    """Sample `len(seeds[i])` responses to prompt i; the order of the prompts is kept.

    Args:
        policy: the model, in evaluation mode.
        prompts: token ids of the rendered prompts.
        seeds: for every prompt one seed a response; all prompts get the same number.
        sampling: length, temperature and nucleus.
        batch_rows: responses decoded together.
        progress: called with the number of prompts done after each batch.

    Raises:
        ValueError: if a prompt with its longest response would exceed the positions that the policy knows.
    """
    _check_lengths(policy.model.config.get_text_config(), prompts, sampling.max_new_tokens)
    width = len(seeds[0]) if seeds else 1
    size = max(1, batch_rows // width)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    results: list[list[Generation]] = [[] for _ in prompts]
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        noise = _noise([seed for i in batch for seed in seeds[i]], sampling.max_new_tokens)
        rows = _decode(policy, [prompts[i] for i in batch], width, noise, sampling)
        for position, i in enumerate(batch):
            results[i] = rows[position * width : (position + 1) * width]
        progress(len(batch))
    return results


def pick(logits: Any, uniforms: Any, temperature: float, top_p: float, candidates: int = NUCLEUS) -> Any:
    """Draw one token a row by inverting the cumulative distribution of its nucleus.

    Args:
        logits: (rows, vocabulary).
        uniforms: (rows,) numbers in [0, 1).
        temperature: divides the logits.
        top_p: the nucleus is the smallest set of likeliest tokens with at least this probability (1: all tokens).
        candidates: how many likeliest tokens are sorted first.

    Returns:
        Token ids, (rows,).
    """
    if top_p >= 1:
        cumulative = (logits.float() / temperature).softmax(-1).cumsum(-1)
        target = uniforms.unsqueeze(-1) * cumulative[:, -1:]
        return (cumulative <= target).sum(-1).clamp(max=logits.shape[-1] - 1)
    k = min(candidates, logits.shape[-1])
    likely, ids = (logits.float() / temperature).softmax(-1).topk(k)
    before = likely.cumsum(-1) - likely
    kept = likely * (before < top_p)
    target = uniforms.unsqueeze(-1) * kept.sum(-1, keepdim=True)
    position = (kept.cumsum(-1) <= target).sum(-1, keepdim=True)
    last = (kept > 0).sum(-1, keepdim=True) - 1
    tokens = ids.gather(-1, position.minimum(last)).squeeze(-1)
    wide = likely.sum(-1) < top_p
    if k < logits.shape[-1] and bool(wide.any()):
        tokens[wide] = pick(logits[wide], uniforms[wide], temperature, top_p, logits.shape[-1])
    return tokens


def _check_lengths(config: Any, prompts: Sequence[list[int]], new_tokens: int) -> None:
    """Refuse what does not fit: beyond its positions a policy writes noise, and says nothing about it."""
    limit: int | None = getattr(config, "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0)
    if limit is not None and longest + new_tokens > limit:
        over = sum(len(prompt) + new_tokens > limit for prompt in prompts)
        raise ValueError(
            f"a prompt of {longest} tokens and up to {new_tokens} new ones make {longest + new_tokens}, the policy has "
            f"{limit} positions (max_position_embeddings), which {over} of {len(prompts)} prompts exceed: shorten "
            "prompts or configurations, show fewer exchanges (cosa.shots), lower max_new_tokens, or take a policy with "
            "more positions"
        )


def _noise(seeds: Sequence[int], length: int) -> Any:
    """Uniform numbers, (length, rows); row j depends on seed j alone."""
    import torch

    return torch.stack([torch.rand(length, generator=torch.Generator().manual_seed(s)) for s in seeds], dim=1)


def _decode(
    policy: Policy, prompts: Sequence[list[int]], width: int, noise: Any, sampling: Sampling
) -> list[Generation]:
    """Decode `width` responses to each prompt of one batch; finished rows leave the batch once they are half of it."""
    import torch

    device = policy.model.device
    noise = noise.to(device)
    with torch.inference_mode():
        cache, mask, logits = _prefill(policy, prompts, width)
        rows = torch.arange(len(prompts) * width, device=device)
        tokens: list[list[int]] = [[] for _ in range(len(prompts) * width)]
        done = [False] * len(tokens)
        for step in range(sampling.max_new_tokens):
            drawn = pick(logits, noise[step, rows], sampling.temperature, sampling.top_p)
            live = _append(rows.tolist(), drawn.tolist(), tokens, done, policy.stop_ids)
            if not any(live) or step + 1 == sampling.max_new_tokens:
                break
            if 2 * sum(live) <= len(live):
                kept = torch.tensor([i for i, alive in enumerate(live) if alive], device=device)
                cache.batch_select_indices(kept)
                rows, mask, drawn = rows[kept], mask[kept], drawn[kept]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            logits = _step(policy, drawn.unsqueeze(-1), mask, cache)
    return [Generation(ids, end) for ids, end in zip(tokens, done, strict=True)]


def _append(
    rows: list[int], drawn: list[int], tokens: list[list[int]], done: list[bool], stop_ids: frozenset[int]
) -> list[bool]:
    """Record the drawn tokens of unfinished rows; returns which rows of the batch are still unfinished."""
    for row, token in zip(rows, drawn, strict=True):
        if not done[row]:
            if token in stop_ids:
                done[row] = True
            else:
                tokens[row].append(token)
    return [not done[row] for row in rows]


def _prefill(policy: Policy, prompts: Sequence[list[int]], width: int) -> tuple[Any, Any, Any]:
    """Cache, attention mask and next-token logits of the left-padded prompts, each repeated `width` times."""
    import torch
    from transformers import DynamicCache

    longest, device = max(map(len, prompts)), policy.model.device
    ids = torch.tensor([[policy.pad_id] * (longest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    cache = DynamicCache()
    logits = _step(policy, ids, mask, cache)
    cache.batch_repeat_interleave(width)
    return cache, mask.repeat_interleave(width, 0), logits.repeat_interleave(width, 0)


def _step(policy: Policy, ids: Any, mask: Any, cache: Any) -> Any:
    """Next-token logits (rows, vocabulary); positions count real tokens only, so padding never shifts them."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = policy.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]
