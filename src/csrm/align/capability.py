"""General capability before and after alignment: perplexity on neutral text, which no training text is like."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from csrm.align.policy import Policy
from csrm.bench.bootstrap import Floats
from csrm.bench.metrics import interval
from csrm.settings import MetricSettings

PERPLEXITY = "perplexity"
Resampled = tuple[float, Floats]
"""A value, and its resamples."""


class Passage(BaseModel):
    """A text of its own."""

    model_config = ConfigDict(extra="forbid")

    id: str
    text: str


class Measured(BaseModel):
    """What a policy makes of one text: a passage's negative log-likelihood in nats, or a document's value in a task."""

    model_config = ConfigDict(extra="forbid")

    measure: str
    id: str
    value: float
    size: int = 1
    """Tokens that the value sums over; 1 for a document."""


def project_passages() -> Any:
    """The project's own neutral passages, as a file."""
    return files("csrm.data") / "project" / "neutral_text.jsonl"


def measure_passages(policy: Policy, passages: Sequence[Passage]) -> list[Measured]:
    """Negative log-likelihood of each passage given its first token, without a chat template; products in float32.

    Raises:
        ValueError: if a passage has fewer than two tokens.
    """
    import torch

    found = []
    for passage in passages:
        ids = policy.tokenizer(passage.text, add_special_tokens=False, return_tensors="pt").input_ids.to(
            policy.model.device
        )
        if ids.shape[1] < 2:
            raise ValueError(f"passage {passage.id!r} has {ids.shape[1]} tokens: perplexity needs two or more")
        with torch.inference_mode():
            logits = policy.model(input_ids=ids).logits[0, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        found.append(Measured(measure=PERPLEXITY, id=passage.id, value=nats, size=ids.shape[1] - 1))
    return found


def compare_measures(
    before: Sequence[Measured], after: Sequence[Sequence[Measured]], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    """Each measure before and after alignment with its change; see `resample`.

    Perplexities change by their ratio, means of a task's values by their difference.

    Args:
        before: of the policy.
        after: of the aligned policies, one list a seed.
        settings: resamples and level.
        seed: of the bootstrap.

    Raises:
        ValueError: if the sides were not measured on the same texts.
    """
    found = {}
    for measure in dict.fromkeys(row.measure for row in before):
        own, *others = ({row.id: row for row in rows if row.measure == measure} for rows in (before, *after))
        if any(other.keys() != own.keys() for other in others):
            raise ValueError(f"{measure} was not measured on the same texts before and after: measure both again")
        values = [[other[name].value for name in own] for other in others]
        sizes = [row.size for row in own.values()]
        draws = resample([row.value for row in own.values()], values, sizes, settings, seed)
        found[measure] = (_perplexities if measure == PERPLEXITY else _means)(draws, sizes, settings)
    return found


def _perplexities(found: list[Resampled], sizes: Sequence[int], settings: MetricSettings) -> dict[str, Any]:
    counts = {"n": sum(sizes), "n_passages": len(sizes)}
    cells = (_cell(np.exp(mean), np.exp(draws), settings.level) for mean, draws in found)
    return {name: {**cell, **counts} for name, cell in zip(("before", "after", "ratio"), cells, strict=True)}


def _means(found: list[Resampled], sizes: Sequence[int], settings: MetricSettings) -> dict[str, Any]:
    cells = (_cell(mean, draws, settings.level) for mean, draws in found)
    names = ("before", "after", "difference")
    return {name: {**cell, "n": len(sizes)} for name, cell in zip(names, cells, strict=True)}


def resample(
    before: Sequence[float], after: Sequence[Sequence[float]], sizes: Sequence[int], settings: MetricSettings, seed: int
) -> list[Resampled]:
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
