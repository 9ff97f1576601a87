"""Metrics of policies over seeds of alignment: means with intervals over prompts and seeds, and paired differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csrm.align.metrics import TERMS, Term, Valued, columns
from csrm.align.scores import Floats
from csrm.bench.metrics import bounded, prompt_weights
from csrm.settings import MetricSettings

Columns = tuple[Floats, Floats, list[str]]


def over_seeds(
    runs: Sequence[Sequence[Valued]],
    others: Sequence[Sequence[Valued]] | None,
    settings: MetricSettings,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Each metric's mean over the seeds, or its mean difference to `others`, with the value of each seed.

    Every resample draws prompts, the same for all runs, and, with replacement, seeds; `others` are resampled alike,
    seed by seed. With few seeds their part of the interval is coarse: `by_seed` and `sd` (of the seeds' values) stand
    beside it. With one seed this is the prompt-clustered bootstrap.

    Args:
        runs: judged test responses of the policy (or of the policy before alignment), one list a seed.
        others: what is subtracted, with the same seeds (None: nothing).
        settings: resamples and level.
        seed: of the bootstrap.

    Raises:
        ValueError: if `others` has another number of seeds, a run has no valid verdict, or no prompt is in all runs.
    """
    if others is not None and len(others) != len(runs):
        raise ValueError(f"{len(runs)} seeds of the policy, {len(others)} of the other: give the same seeds")
    own, base = [columns(rows) for rows in runs], [columns(rows) for rows in others or []]
    prompts = sorted(set.intersection(*(set(found[2]) for found in (*own, *base))))
    if not prompts:
        raise ValueError("a mean over seeds needs prompts that occur in every run, found none")
    rng = np.random.default_rng(seed)
    weights = prompt_weights(len(prompts), settings.bootstrap, rng)
    picks = rng.integers(len(own), size=(settings.bootstrap, len(own)))
    return {name: _metric(term, own, base, prompts, weights, picks, settings.level) for name, term in TERMS.items()}


def _metric(
    term: Term,
    own: Sequence[Columns],
    base: Sequence[Columns],
    prompts: Sequence[str],
    weights: Floats,
    picks: NDArray[np.int64],
    level: float,
) -> dict[str, Any]:
    values, drawn, n = _draw(term, own, prompts, weights, picks)
    if base:
        subtracted, drawn_base, _ = _draw(term, base, prompts, weights, picks)
        values, drawn = values - subtracted, drawn - drawn_base
    share = not base and bool(values.min() >= 0 and values.max() <= 1)
    found = bounded(float(values.mean()), drawn, n, len(prompts), level, share)._asdict()
    return {**found, "by_seed": values.tolist(), "sd": float(values.std(ddof=1)) if len(values) > 1 else None}


def _draw(
    term: Term, runs: Sequence[Columns], prompts: Sequence[str], weights: Floats, picks: NDArray[np.int64]
) -> tuple[Floats, Floats, int]:
    """The metric of each seed (S,), its mean over the seeds that each resample drew (B,), and the responses a seed."""
    totals = [_by_prompt(term(helpful, safe), clusters, prompts) for helpful, safe, clusters in runs]
    values = np.array([sums.sum() / counts.sum() for sums, counts in totals])
    replicates = np.stack([(weights @ sums) / (weights @ counts) for sums, counts in totals], axis=1)
    drawn: Floats = np.take_along_axis(replicates, picks, axis=1).mean(axis=1)
    return values, drawn, min(int(counts.sum()) for _, counts in totals)


def _by_prompt(values: Floats, clusters: Sequence[str], prompts: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of the values of each prompt, (P,) each; other prompts are left out."""
    place = {prompt: i for i, prompt in enumerate(prompts)}
    kept = [(place[c], value) for c, value in zip(clusters, values, strict=True) if c in place]
    where = np.array([i for i, _ in kept])
    sums = np.bincount(where, [value for _, value in kept], len(prompts)).astype(np.float64)
    return sums, np.bincount(where, minlength=len(prompts)).astype(np.float64)
