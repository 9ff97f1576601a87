"""Means with prompt-clustered bootstrap intervals: arrays in, named tuples out."""

from collections.abc import Iterable, Sequence
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
    strata: Sequence[str] | None = None,
) -> Interval:
    """Mean and percentile interval; whole prompts are resampled, so repeated samples do not narrow it.

    Args:
        values: (n,) one value an observation.
        clusters: n prompt ids.
        resamples: bootstrap resamples.
        level: level of the interval.
        rng: source of randomness.
        share: the mean is a share of [0, 1] (None: it is where all values lie there).
        strata: n names; the mean is that over the strata of the mean in each (None: over all values).
    """
    data = np.asarray(values, dtype=np.float64)
    names = sorted(set(clusters))
    parts = _parts(strata, len(data))
    totals = _totals(data, clusters, names, parts.values())
    means = _ratio(totals, rng.integers(len(names), size=(resamples, len(names))))
    share = bool(data.min() >= 0 and data.max() <= 1) if share is None else share
    low, high, _ = interval(means, level, len(names) if share else None)
    return Interval(float(np.mean([data[part].mean() for part in parts.values()])), low, high, len(data), len(names))


def bootstrap_difference(
    before: ArrayLike,
    clusters_before: Sequence[str],
    after: ArrayLike,
    clusters_after: Sequence[str],
    resamples: int,
    level: float,
    rng: np.random.Generator,
    strata_before: Sequence[str] | None = None,
    strata_after: Sequence[str] | None = None,
) -> Interval:
    """Mean(after) - mean(before) over the prompts that both have, resampling the same prompts on both sides.

    `n` counts the values of one side (of the smaller one, where they differ). With strata each mean is that over the
    strata, which both sides must have, of the mean in each.

    Raises:
        ValueError: if both sides share no prompt in a stratum that both have.
    """
    parts_before, parts_after = _parts(strata_before, len(clusters_before)), _parts(strata_after, len(clusters_after))
    both = sorted({*parts_before} & {*parts_after})
    kept_before, kept_after = ([i for s in both for i in parts[s]] for parts in (parts_before, parts_after))
    names = sorted({clusters_before[i] for i in kept_before} & {clusters_after[i] for i in kept_after})
    if not names:
        raise ValueError("a paired difference needs prompts that occur both before and after, found none")
    first = _totals(np.asarray(before, dtype=np.float64), clusters_before, names, [parts_before[s] for s in both])
    second = _totals(np.asarray(after, dtype=np.float64), clusters_after, names, [parts_after[s] for s in both])
    picks = rng.integers(len(names), size=(resamples, len(names)))
    differences = _ratio(second, picks) - _ratio(first, picks)
    low, high, _ = interval(differences, level)
    everything = np.arange(len(names))[None]
    value = (_ratio(second, everything) - _ratio(first, everything))[0]
    n = min(sum(counts.sum() for _, counts in totals) for totals in (first, second))
    return Interval(float(value), low, high, int(n), len(names))


def mean_over_strata(totals: Iterable[tuple[Floats, Floats]]) -> Floats:
    """Mean of the ratios sums / counts of several strata, (B,) each, over those whose count is not zero."""
    found = [np.stack(part) for part in zip(*totals, strict=True)]
    there = found[1] > 0
    ratios = np.divide(found[0], found[1], out=np.zeros_like(found[0]), where=there)
    means: Floats = ratios.sum(axis=0) / there.sum(axis=0)
    return means


def _parts(strata: Sequence[str] | None, length: int) -> dict[str, list[int]]:
    """Indices of the values of each stratum; one of all values where there are none."""
    parts: dict[str, list[int]] = {}
    for i, name in enumerate([""] * length if strata is None else strata):
        parts.setdefault(name, []).append(i)
    return parts


def _totals(
    values: Floats, clusters: Sequence[str], names: Sequence[str], parts: Iterable[Sequence[int]]
) -> list[tuple[Floats, Floats]]:
    """Of each part of the values their sum and number by cluster."""
    return [_by_cluster(values[part], [clusters[i] for i in part], names) for part in parts]


def _by_cluster(values: Floats, clusters: Sequence[str], names: Sequence[str]) -> tuple[Floats, Floats]:
    index = {name: i for i, name in enumerate(names)}
    kept = [(index[c], v) for c, v in zip(clusters, values, strict=True) if c in index]
    where = np.array([i for i, _ in kept], dtype=np.int64)
    sums: Floats = np.bincount(where, np.array([v for _, v in kept], dtype=np.float64), len(names)).astype(np.float64)
    return sums, np.bincount(where, minlength=len(names)).astype(np.float64)


def _ratio(totals: Sequence[tuple[Floats, Floats]], picks: NDArray[np.int64]) -> Floats:
    """The mean of each resample (B,): over the strata, of their mean over the prompts that it drew."""
    return mean_over_strata((sums[picks].sum(1), counts[picks].sum(1)) for sums, counts in totals)
