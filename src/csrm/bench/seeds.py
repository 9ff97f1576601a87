"""One variant over several seeds of training: means with intervals over prompts and seeds, and against a reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from csrm.bench.evaluate import sample_of
from csrm.bench.metrics import (
    SHARES,
    SMECE_RESAMPLES,
    STATISTICS,
    Array,
    Sample,
    bounded,
    prompt_weights,
    sizes,
    undefined,
)
from csrm.rows import Item, ScoreRow
from csrm.settings import MetricSettings

METRICS = ("conditional_auroc", "pair_accuracy", "auroc", "f1_safe", "f1_unsafe", "smece")


def over_seeds(
    items: Sequence[Item],
    scores: Sequence[Sequence[ScoreRow]],
    reference: Sequence[Sequence[ScoreRow]] | None,
    settings: MetricSettings,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Each metric: its mean over the seeds, the value of each, and the mean difference to the reference.

    Every resample draws prompts and, with replacement, seeds; the reference is resampled alike, seed by seed. With few
    seeds their part of the interval is coarse: the values of the seeds are given beside it.

    Args:
        items: a benchmark's items.
        scores: of the variant, one list a seed.
        reference: of the reference variant with the same seeds (None: the variant is the reference).
        settings: threshold, resamples, level.
        seed: of the bootstrap.

    Raises:
        ValueError: if the reference has another number of seeds.
    """
    if reference is not None and len(reference) != len(scores):
        raise ValueError(f"{len(scores)} seeds of the variant, {len(reference)} of the reference: give the same seeds")
    rng = np.random.default_rng(seed)
    own = [sample_of(items, rows, settings) for rows in scores]
    others = None if reference is None else [sample_of(items, rows, settings) for rows in reference]
    weights = prompt_weights(own[0].n_prompts, settings.bootstrap, rng)
    picks = rng.integers(len(own), size=(settings.bootstrap, len(own)))
    return {name: _metric(name, own, others, weights, picks, settings.level) for name in METRICS}


def _metric(
    name: str, own: Sequence[Sample], others: Sequence[Sample] | None, weights: Array, picks: Any, level: float
) -> dict[str, Any]:
    reason = next((r for sample in [*own, *(others or [])] if (r := undefined(sample, name))), None)
    n, prompts = sizes(own[0], name)
    if reason:
        return {"value": None, "n": n, "n_prompts": prompts, "reason": reason}
    values, drawn = _draw(name, own, weights, picks)
    mean = bounded(float(values.mean()), drawn, n, prompts, level, share=name in SHARES)
    found = {**mean._asdict(), "by_seed": values.tolist()}
    if others is not None:
        base, base_drawn = _draw(name, others, weights, picks)
        difference = bounded(float((values - base).mean()), drawn - base_drawn, n, prompts, level)
        found["difference"] = {**difference._asdict(), "by_seed": (values - base).tolist()}
    return found


def _draw(name: str, samples: Sequence[Sample], weights: Array, picks: Any) -> tuple[Array, Array]:
    """The metric of each seed (S,), and its mean over the seeds that each resample drew (B,)."""
    kept = SMECE_RESAMPLES if name == "smece" else len(weights)
    statistic = STATISTICS[name]
    ones = np.ones((1, samples[0].n_prompts))
    values = np.array([float(statistic(sample, ones)[0]) for sample in samples])
    replicates = np.stack([statistic(sample, weights[:kept]) for sample in samples], axis=1)
    return values, np.take_along_axis(replicates, picks[:kept], axis=1).mean(axis=1)
