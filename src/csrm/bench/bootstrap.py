"""Means with prompt-clustered bootstrap intervals: arrays in, named tuples out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csrm.bench.metrics import interval

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean with its bootstrap interval (`csrm.bench.metrics.interval`); `n` values of `n_prompts` prompts."""

    value: float
    low: float | None
    high: float | None
    n: int
    n_prompts: int


def bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence[str],
    resamples: int,
    level: float,
    rng: np.random.Generator,
    share: bool | None = None,
) -> Interval:
    """Mean and percentile interval; whole prompts are resampled, so repeated samples do not narrow it.

    Args:
        values: (n,) one value an observation.
        clusters: n prompt ids.
        resamples: bootstrap resamples.
        level: level of the interval.
        rng: source of randomness.
        share: the mean is a share of [0, 1] (None: it is where all values lie there).
    """
    data = np.asarray(values, dtype=np.float64)
    names = sorted(set(clusters))
    sums, counts = _by_cluster(data, clusters, names)
    means = _ratio((sums, counts), rng.integers(len(names), size=(resamples, len(names))))
    share = bool(data.min() >= 0 and data.max() <= 1) if share is None else share
    low, high, _ = interval(means, level, len(names) if share else None)
    return Interval(float(data.mean()), low, high, len(data), len(names))


def bootstrap_difference(
    before: ArrayLike,
    clusters_before: Sequence[str],
    after: ArrayLike,
    clusters_after: Sequence[str],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Interval:
    """Mean(after) - mean(before) over the prompts that both have, resampling the same prompts on both sides.

    `n` counts the values of one side (of the smaller one, where they differ).
    """
    names = sorted(set(clusters_before) & set(clusters_after))
    if not names:
        raise ValueError("a paired difference needs prompts that occur both before and after, found none")
    first = _by_cluster(np.asarray(before, dtype=np.float64), clusters_before, names)
    second = _by_cluster(np.asarray(after, dtype=np.float64), clusters_after, names)
    picks = rng.integers(len(names), size=(resamples, len(names)))
    differences = _ratio(second, picks) - _ratio(first, picks)
    low, high, _ = interval(differences, level)
    value = second[0].sum() / second[1].sum() - first[0].sum() / first[1].sum()
    return Interval(float(value), low, high, int(min(first[1].sum(), second[1].sum())), len(names))


def _by_cluster(values: Floats, clusters: Sequence[str], names: Sequence[str]) -> tuple[Floats, Floats]:
    index = {name: i for i, name in enumerate(names)}
    kept = [(index[c], v) for c, v in zip(clusters, values, strict=True) if c in index]
    where = np.array([i for i, _ in kept], dtype=np.int64)
    sums: Floats = np.bincount(where, np.array([v for _, v in kept], dtype=np.float64), len(names)).astype(np.float64)
    return sums, np.bincount(where, minlength=len(names)).astype(np.float64)


def _ratio(totals: tuple[Floats, Floats], picks: NDArray[np.int64]) -> Floats:
    sums, counts = totals
    ratio: Floats = sums[picks].sum(1) / counts[picks].sum(1)
    return ratio
