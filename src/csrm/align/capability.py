"""General capability before and after alignment: perplexity on neutral text, which no training text is like."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from csrm.align.policy import Policy
from csrm.bench.metrics import interval
from csrm.settings import MetricSettings


class Passage(BaseModel):
    """A text of its own."""

    model_config = ConfigDict(extra="forbid")

    id: str
    text: str


class Losses(NamedTuple):
    """Of each passage: the sum of its tokens' negative log-probabilities (nats), and their number."""

    nats: list[float]
    tokens: list[int]


def project_passages() -> Any:
    """The project's own neutral passages, as a file."""
    return files("csrm.data") / "project" / "neutral_text.jsonl"


def passage_losses(policy: Policy, passages: Sequence[Passage]) -> Losses:
    """Negative log-likelihood of each passage given its first token, without a chat template; products in float32.

    Raises:
        ValueError: if a passage has fewer than two tokens.
    """
    import torch

    nats, counts = [], []
    for passage in passages:
        ids = policy.tokenizer(passage.text, add_special_tokens=False, return_tensors="pt").input_ids.to(
            policy.model.device
        )
        if ids.shape[1] < 2:
            raise ValueError(f"passage {passage.id!r} has {ids.shape[1]} tokens: perplexity needs two or more")
        with torch.inference_mode():
            logits = policy.model(input_ids=ids).logits[0, :-1].float()
        nats.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item())
        counts.append(ids.shape[1] - 1)
    return Losses(nats, counts)


def compare_losses(before: Losses, after: Sequence[Losses], settings: MetricSettings, seed: int) -> dict[str, Any]:
    """Perplexity before and after, and their ratio; after alignment its logarithm is averaged over seeds.

    Every resample draws passages, the same on both sides, and seeds; intervals are percentiles.

    Args:
        before: of the policy.
        after: of the aligned policies, one a seed, on the same passages.
        settings: resamples and level.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    tokens = np.array(before.tokens, dtype=np.float64)
    passages = rng.integers(len(tokens), size=(settings.bootstrap, len(tokens)))
    seeds = rng.integers(len(after), size=(settings.bootstrap, len(after)))
    sums = np.array([losses.nats for losses in after])
    drawn = tokens[passages].sum(1)
    first = np.array(before.nats)[passages].sum(1) / drawn
    second = np.array([sums[s].mean(0)[p].sum() for s, p in zip(seeds, passages, strict=True)]) / drawn
    value = sum(before.nats) / tokens.sum(), sums.mean(0).sum() / tokens.sum()
    parts = {"before": (value[0], first), "after": (value[1], second), "ratio": (value[1] - value[0], second - first)}
    counts = {"n": int(tokens.sum()), "n_passages": len(tokens)}
    return {name: {**_cell(mean, draws, settings.level), **counts} for name, (mean, draws) in parts.items()}


def _cell(nats: float, draws: Any, level: float) -> dict[str, float | None]:
    low, high, _ = interval(np.exp(draws), level)
    return {"value": float(np.exp(nats)), "low": low, "high": high}
