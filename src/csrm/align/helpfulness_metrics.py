"""What a helpfulness model is worth on held-out pairs, and how its raw scores become H in [0, 1].

H(x, y) = sigma(b (r(x, y) - c)): the probability, under the Bradley-Terry model, that y is preferred to a response of
score c. The slope b is fitted to pairs of the validation part, the centre c is the mean of their scores. A model that
ranks no better than chance gets b = 0, so that H is 1/2 everywhere and leaves the total reward to safety.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from csrm.bench.bootstrap import bootstrap_difference, bootstrap_mean
from csrm.rows import Strict
from csrm.settings import DType, MetricSettings

Floats = NDArray[np.float64]
STEEPEST = 50.0  # largest slope, in units of 1 / the standard deviation of the gaps


class PairScore(Strict):
    """Raw scores of one pair by one helpfulness model, and the words of its responses."""

    id: str
    prompt_id: str
    dataset: str
    chosen: float
    rejected: float
    words_chosen: int
    words_rejected: int


class ScoreMap(Strict):
    """The map from raw scores to H, and the number format of the scores that it was fitted to."""

    slope: float = Field(ge=0)
    centre: float
    dtype: DType = "auto"

    def __call__(self, scores: ArrayLike) -> Floats:
        """sigma(b (r - c)), (n,)."""
        shifted = self.slope * (np.asarray(scores, dtype=np.float64) - self.centre)
        mapped: Floats = np.exp(-np.logaddexp(0, -shifted))
        return mapped


class Fit(NamedTuple):
    """A fitted map, and the mean negative log-likelihood (nats) of the pairs before (b = 1) and with it."""

    map: ScoreMap
    loss_raw: float
    loss: float


def fit_map(rows: Sequence[PairScore], dtype: DType = "auto") -> Fit:
    """Slope by maximum likelihood with Platt's smoothed target (n + 1) / (n + 2), centre as the mean score.

    Raises:
        ValueError: if there is no pair.
    """
    from scipy.optimize import minimize_scalar

    if not rows:
        raise ValueError("no pair to fit the map of helpfulness scores to")
    gaps = _gaps(rows)
    target = (len(gaps) + 1) / (len(gaps) + 2)
    spread = float(gaps.std())
    slope = 0.0
    if spread > 0:
        bounds = (0.0, STEEPEST / spread)
        found = minimize_scalar(lambda b: pair_loss(b * gaps, target), bounds=bounds, method="bounded")
        slope = float(found.x) if found.fun < pair_loss(0 * gaps, target) else 0.0
    centre = float(np.mean([[row.chosen, row.rejected] for row in rows]))
    return Fit(ScoreMap(slope=slope, centre=centre, dtype=dtype), pair_loss(gaps), pair_loss(slope * gaps))


def pair_loss(gaps: Floats, target: float = 1.0) -> float:
    """Mean of -t log sigma(gap) - (1 - t) log sigma(-gap), nats; t is the probability that chosen is the better."""
    return float((target * np.logaddexp(0, -gaps) + (1 - target) * np.logaddexp(0, gaps)).mean())


def wins(chosen: ArrayLike, rejected: ArrayLike) -> Floats:
    """1 where the chosen response has the higher value, 1/2 for ties, else 0; (n,)."""
    gaps = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    return (np.sign(gaps) + 1) / 2


def evaluate_helpfulness(
    rows: Sequence[PairScore], proxy: Sequence[PairScore], mapped: ScoreMap, settings: MetricSettings, seed: int
) -> dict[str, Any]:
    """Held-out pair accuracy of a model beside its baselines, in all and by data set, and its differences to them.

    Args:
        rows: scores of the model.
        proxy: scores of the proxy on the same pairs, in the same order.
        mapped: the map to [0, 1].
        settings: resamples and level of the prompt-clustered intervals.
        seed: of the resamples.

    Raises:
        ValueError: if the two score different pairs.
    """
    if [row.id for row in rows] != [row.id for row in proxy]:
        raise ValueError(f"the model scored {len(rows)} pairs, the proxy {len(proxy)}, or others: score the same pairs")
    outcomes = _outcomes(rows, proxy)
    names = ["all", *sorted({row.dataset for row in rows})]
    subsets = {name: _subset(name, rows, outcomes, settings, seed) for name in names}
    higher, lower = mapped([row.chosen for row in rows]), mapped([row.rejected for row in rows])
    return {
        "accuracy": subsets,
        "difference": _differences(rows, outcomes, settings, seed),
        "pair_loss": pair_loss(mapped.slope * _gaps(rows)),
        "mean_h": {"chosen": float(higher.mean()), "rejected": float(lower.mean())},
        "map": mapped.model_dump(),
    }


def _outcomes(rows: Sequence[PairScore], proxy: Sequence[PairScore]) -> dict[str, Floats]:
    return {
        "model": wins([r.chosen for r in rows], [r.rejected for r in rows]),
        "proxy": wins([r.chosen for r in proxy], [r.rejected for r in proxy]),
        "longer": wins([r.words_chosen for r in rows], [r.words_rejected for r in rows]),
        "constant": np.full(len(rows), 0.5),
    }


def _subset(
    name: str, rows: Sequence[PairScore], outcomes: Mapping[str, Floats], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    kept = [i for i, row in enumerate(rows) if name in ("all", row.dataset)]
    clusters = [rows[i].prompt_id for i in kept]
    return {
        key: bootstrap_mean(
            values[kept], clusters, settings.bootstrap, settings.level, np.random.default_rng(seed), share=True
        )._asdict()
        for key, values in outcomes.items()
    }


def _differences(
    rows: Sequence[PairScore], outcomes: Mapping[str, Floats], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    prompts = [row.prompt_id for row in rows]
    size, level = settings.bootstrap, settings.level
    return {
        key: bootstrap_difference(
            outcomes[key], prompts, outcomes["model"], prompts, size, level, np.random.default_rng(seed)
        )._asdict()
        for key in ("proxy", "longer")
    }


def _gaps(rows: Sequence[PairScore]) -> Floats:
    return np.array([row.chosen - row.rejected for row in rows], dtype=np.float64)
