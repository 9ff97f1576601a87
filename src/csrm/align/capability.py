"""General capability before and after alignment: perplexity on neutral text, which no training text is like."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from csrm.align.policy import Policy
from csrm.bench.bootstrap import Floats
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
    """Perplexity before and after alignment, and their ratio; see `resample`.

    Args:
        before: of the policy.
        after: of the aligned policies, one a seed, on the same passages.
        settings: resamples and level.
        seed: of the bootstrap.
    """
    found = resample(before.nats, [losses.nats for losses in after], before.tokens, settings, seed)
    counts = {"n": sum(before.tokens), "n_passages": len(before.tokens)}
    names = ("before", "after", "ratio")
    cells = (_cell(np.exp(mean), np.exp(draws), settings.level) for mean, draws in found)
    return {name: {**cell, **counts} for name, cell in zip(names, cells, strict=True)}


def compare_values(
    before: Sequence[float], after: Sequence[Sequence[float]], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    """Mean of a value of each document before and after alignment, and their difference; see `resample`."""
    found = resample(before, after, [1] * len(before), settings, seed)
    names = ("before", "after", "difference")
    cells = (_cell(mean, draws, settings.level) for mean, draws in found)
    return {name: {**cell, "n": len(before)} for name, cell in zip(names, cells, strict=True)}


def resample(
    before: Sequence[float], after: Sequence[Sequence[float]], sizes: Sequence[int], settings: MetricSettings, seed: int
) -> list[tuple[float, Floats]]:
    """Sum of values over sum of sizes: before, after (mean over seeds), and after minus before, with their resamples.

    Every resample draws texts, the same on both sides, and seeds.
    """
    rng = np.random.default_rng(seed)
    one, many, size = np.array(before), np.array(after), np.array(sizes, dtype=np.float64)
    texts = rng.integers(len(size), size=(settings.bootstrap, len(size)))
    seeds = rng.integers(len(many), size=(settings.bootstrap, len(many)))
    drawn = size[texts].sum(1)
    first = one[texts].sum(1) / drawn
    second = np.array([many[s].mean(0)[t].sum() for s, t in zip(seeds, texts, strict=True)]) / drawn
    means = float(one.sum() / size.sum()), float(many.mean(0).sum() / size.sum())
    return [(means[0], first), (means[1], second), (means[1] - means[0], second - first)]


def _cell(value: float, draws: Floats, level: float) -> dict[str, float | None]:
    low, high, _ = interval(draws, level)
    return {"value": float(value), "low": low, "high": high}
