"""Metrics of policies over seeds of alignment: means with intervals over prompts and seeds, and paired differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csrm.align.metrics import TERMS, Term, Valued, bounds, columns, is_valid
from csrm.align.scores import Floats, cosa_terms
from csrm.bench.bootstrap import mean_over_strata
from csrm.bench.metrics import bounded, prompt_weights
from csrm.settings import MetricSettings

Columns = tuple[Floats, Floats, list[str]]


def over_seeds(
    runs: Sequence[Sequence[Valued]],
    others: Sequence[Sequence[Valued]] | None,
    settings: MetricSettings,
    seed: int,
    stratum: Callable[[Any], str] = lambda row: "",
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
        stratum: of a verdict; a metric is the mean over the strata that all runs have of the mean in each.

    Raises:
        ValueError: if `others` has another number of seeds, a run has no valid verdict, or no stratum or no prompt is
            in all runs.
    """
    if others is not None and len(others) != len(runs):
        raise ValueError(f"{len(runs)} seeds of the policy, {len(others)} of the other: give the same seeds")
    every = [_by_stratum(rows, stratum) for rows in (*runs, *(others or []))]
    shared = sorted(set.intersection(*(set(found) for found in every)))
    kept = [[found[name] for name in shared] for found in every]
    own, base = kept[: len(runs)], kept[len(runs) :]
    prompts = sorted(set.intersection(*({prompt for part in parts for prompt in part[2]} for parts in kept)))
    if not prompts:
        raise ValueError("a mean over seeds needs prompts that occur in every run, found none")
    rng = np.random.default_rng(seed)
    weights = prompt_weights(len(prompts), settings.bootstrap, rng)
    picks = rng.integers(len(own), size=(settings.bootstrap, len(own)))
    return {name: _metric(term, own, base, prompts, weights, picks, settings.level) for name, term in TERMS.items()}


def invalid_over_seeds(
    runs: Sequence[Sequence[Valued]], others: Sequence[Sequence[Valued]] | None
) -> dict[str, int | list[float]]:
    """Invalid verdicts of all runs, and the bounds that they leave to the mean CoSA-Score, or to its difference."""
    low, high = _mean_bounds(runs)
    if others:
        other_low, other_high = _mean_bounds(others)
        low, high = low - other_high, high - other_low
    every = (row for rows in (*runs, *(others or [])) for row in rows)
    return {"invalid": sum(not is_valid(row) for row in every), "cosa_score_bounds": [low, high]}


def _mean_bounds(runs: Sequence[Sequence[Valued]]) -> tuple[float, float]:
    """Mean over the runs of the least and of the greatest CoSA-Score that the invalid verdicts allow."""
    found = []
    for rows in runs:
        helpful, safe, _ = columns(rows)
        found.append(bounds(cosa_terms(helpful, safe), len(rows) - len(helpful)))
    low, high = np.mean(found, axis=0).tolist()
    return low, high


def _metric(
    term: Term,
    own: Sequence[Sequence[Columns]],
    base: Sequence[Sequence[Columns]],
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
    term: Term, runs: Sequence[Sequence[Columns]], prompts: Sequence[str], weights: Floats, picks: NDArray[np.int64]
) -> tuple[Floats, Floats, int]:
    """The metric of each seed (S,), its mean over the seeds that each resample drew (B,), and the responses a seed."""
    totals = [[_by_prompt(term(helpful, safe), clusters, prompts) for helpful, safe, clusters in run] for run in runs]
    values = np.array(
        [mean_over_strata((s.sum(keepdims=True), n.sum(keepdims=True)) for s, n in run)[0] for run in totals]
    )
    replicates = np.stack([mean_over_strata((weights @ s, weights @ n) for s, n in run) for run in totals], axis=1)
    drawn: Floats = np.take_along_axis(replicates, picks, axis=1).mean(axis=1)
    return values, drawn, min(int(sum(n.sum() for _, n in run)) for run in totals)


def _by_stratum(rows: Sequence[Valued], stratum: Callable[[Any], str]) -> dict[str, Columns]:
    """Columns of each stratum that has a valid verdict."""
    columns(rows)  # refuses rows without a valid verdict
    parts: dict[str, list[Valued]] = {}
    for row in rows:
        if is_valid(row):
            parts.setdefault(stratum(row), []).append(row)
    return {name: columns(part) for name, part in parts.items()}


def _by_prompt(values: Floats, clusters: Sequence[str], prompts: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of the values of each prompt, (P,) each; other prompts are left out."""
    place = {prompt: i for i, prompt in enumerate(prompts)}
    kept = [(place[c], value) for c, value in zip(clusters, values, strict=True) if c in place]
    where = np.array([i for i, _ in kept], dtype=np.int64)
    sums = np.bincount(where, [value for _, value in kept], len(prompts)).astype(np.float64)
    return sums, np.bincount(where, minlength=len(prompts)).astype(np.float64)
