"""Rank correlation under integer resampling weights: arrays in, arrays out."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mid_ranks(values: Floats, weights: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean, in the samples that hold item i `weights[b, i]` times.

    Args:
        values: (N,) one value an item.
        weights: (B, N) how often each item occurs in each sample.

    Returns:
        (B, N) the rank of each item; that of an item which a sample lacks means nothing.
    """
    distinct, place = np.unique(values, return_inverse=True)
    starts = np.searchsorted(np.sort(place), np.arange(len(distinct)))
    totals = np.add.reduceat(weights[:, np.argsort(place, kind="stable")], starts, axis=1)
    middle: Floats = np.cumsum(totals, axis=1) - totals + (totals + 1) / 2
    return middle[:, place]


def weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman correlation of x and y (N,) in each of B weighted samples (B, N): (B,), NaN where one is constant."""
    a, b = (_centred(mid_ranks(values, weights), weights) for values in (x, y))
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    shared = (weights * a * b).sum(axis=1)
    return np.divide(shared, spread, out=np.full_like(shared, np.nan), where=spread > 1e-9)


def _centred(ranks: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    mean = np.divide((weights * ranks).sum(axis=1, keepdims=True), total, out=np.zeros_like(total), where=total > 0)
    centred: Floats = ranks - mean
    return centred
