"""Area that a sweep of (safety, helpfulness) points dominates, and its interval: one number for a front of Figure 4."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from csrm.align.scores import Floats
from csrm.bench.bootstrap import Interval
from csrm.bench.metrics import interval, prompt_weights
from csrm.settings import MetricSettings


def hypervolume(safety: ArrayLike, helpfulness: ArrayLike) -> Floats:
    """Area of the union of the rectangles from (0, 0) to each point; dominated points add nothing.

    Args:
        safety: (..., K) of K points, in [0, 1].
        helpfulness: (..., K) of the same points, in [0, 1].

    Returns:
        (...) areas in [0, 1].

    Raises:
        ValueError: if the shapes differ, there is no point, or a value lies outside [0, 1].
    """
    x, y = np.asarray(safety, dtype=np.float64), np.asarray(helpfulness, dtype=np.float64)
    if x.shape != y.shape or not x.ndim or not x.shape[-1]:
        raise ValueError(f"expected two arrays of one shape with at least one point, got {x.shape} and {y.shape}")
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > 1:
        raise ValueError("safety and helpfulness must lie in [0, 1]; divide helpfulness on 0-5 by 5")
    order = np.argsort(-x, axis=-1, kind="stable")
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    widths = x - np.concatenate([x[..., 1:], np.zeros_like(x[..., :1])], axis=-1)
    areas: Floats = (widths * np.maximum.accumulate(y, axis=-1)).sum(axis=-1)
    return areas


def front_areas(
    fronts: Sequence[tuple[Floats, Floats]], metrics: MetricSettings, seed: int
) -> tuple[list[Interval], list[Interval]]:
    """Hypervolume of each front, and of the first minus each other one, with prompt-clustered intervals.

    A resample draws prompts once for all points of all fronts. A front takes the best of its points, so that noise
    adds to its area: replicates lie a little above the value, and more so for fronts of many equal points.

    Args:
        fronts: (safety, helpfulness) of each front, arrays (K, P) over its K points and the P shared prompts.
        metrics: resamples and level.
        seed: of the bootstrap.
    """
    prompts = fronts[0][0].shape[1]
    weights = prompt_weights(prompts, metrics.bootstrap, np.random.default_rng(seed)) / prompts
    values = [float(hypervolume(safe.mean(1), helpful.mean(1))) for safe, helpful in fronts]
    drawn = [hypervolume(np.clip(weights @ safe.T, 0, 1), np.clip(weights @ h.T, 0, 1)) for safe, h in fronts]

    def bounded(value: float, replicates: Floats) -> Interval:
        low, high, _ = interval(replicates, metrics.level)
        return Interval(value, low, high, prompts, prompts)

    areas = [bounded(*pair) for pair in zip(values, drawn, strict=True)]
    others = zip(values[1:], drawn[1:], strict=True)
    return areas, [bounded(values[0] - value, drawn[0] - replicates) for value, replicates in others]
