"""Calibration as a step of its own: maps from raw to calibrated log-odds, and thresholds for a false positive rate.

All are fitted on the scores of a validation split and applied to test scores, which stay raw in their files.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csrm.bench.metrics import (
    STATISTICS,
    Array,
    Estimate,
    Ints,
    Sample,
    bounded,
    estimate,
    prompt_weights,
    undefined,
)
from csrm.files import read_json
from csrm.settings import MetricSettings

Parameters = dict[str, Any]
SMECE_RESAMPLES = 50
"""Resamples of smECE before and after calibration (each about 10 ms)."""


def _logistic(s: Array, y: Ints, weights: Array | None, offset: bool) -> tuple[float, float]:
    """Slope and offset of the unpenalised logistic regression of y on s."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, fit_intercept=offset, tol=1e-8, max_iter=1000)
    model.fit(s.reshape(-1, 1), y, sample_weight=weights)
    return float(model.coef_[0, 0]), float(np.ravel(model.intercept_)[0])


def fit_temperature(s: Array, y: Ints) -> Parameters:
    """One temperature T: s / T, by maximum likelihood (Guo et al. 2017).

    Args:
        s: (N,) raw safe log-odds, nats.
        y: (N,) 1 for safe, 0 for unsafe.

    Raises:
        ValueError: if no positive finite T exists: the scores rank in reverse, or 0 separates the classes.
    """
    if s[y == 1].min() > 0 >= s[y == 0].max():
        raise ValueError("the scores separate the classes at 0: the likelihood grows without bound as T falls to 0")
    slope, _ = _logistic(s, y, None, offset=False)
    if slope <= 0:
        raise ValueError(
            f"the best slope without an offset is {slope:.3g}: the scores lean so far to one side of 0 that no "
            "temperature fits them (they may rank safe above unsafe all the same); use platt or isotonic"
        )
    return {"temperature": 1 / slope}


def fit_platt(s: Array, y: Ints) -> Parameters:
    """Slope and offset with Platt's smoothed targets (Platt 1999), finite even when the scores separate the classes.

    The targets are (n_safe + 1) / (n_safe + 2) and 1 / (n_unsafe + 2).
    """
    n_safe = int(y.sum())
    target = np.where(y == 1, (n_safe + 1) / (n_safe + 2), 1 / (len(y) - n_safe + 2))
    doubled = np.concatenate([np.ones_like(y), np.zeros_like(y)])
    slope, offset = _logistic(np.tile(s, 2), doubled, np.concatenate([target, 1 - target]), offset=True)
    return {"slope": slope, "offset": offset}


def fit_isotonic(s: Array, y: Ints) -> Parameters:
    """The rising step function of least squares, as its corners; probabilities stay 1 / (n + 2) away from 0 and 1."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(s, y)
    corners = {"s": fitted.X_thresholds_.tolist(), "p_safe": fitted.y_thresholds_.tolist()}
    return {**corners, "clip": 1 / (len(y) + 2)}


def _isotonic(s: Array, parameters: Parameters) -> Array:
    p = np.interp(s, parameters["s"], parameters["p_safe"])
    p = np.clip(p, parameters["clip"], 1 - parameters["clip"])
    return np.log(p) - np.log1p(-p)


class Method(NamedTuple):
    """A calibration method: how its parameters are fitted, and what they do to raw log-odds."""

    fit: Callable[[Array, Ints], Parameters]
    apply: Callable[[Array, Parameters], Array]


METHODS: Mapping[str, Method] = {
    "temperature": Method(fit_temperature, lambda s, p: s / p["temperature"]),
    "platt": Method(fit_platt, lambda s, p: p["slope"] * s + p["offset"]),
    "isotonic": Method(fit_isotonic, _isotonic),
}


def read_calibration(path: Path) -> dict[str, Any]:
    """The document of `csrm calibrate`.

    Raises:
        ValueError: if the file is another one.
    """
    try:
        found = read_json(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "calibration":
        expected = "a file of `csrm calibrate`, as results/calibration/csrm/calibration.json"
        raise ValueError(f"{path} is no calibration: expected {expected}")
    return found


def calibrated(s: Array, calibration: Mapping[str, Any], method: str) -> Array:
    """Calibrated log-odds.

    Args:
        s: (N,) raw safe log-odds, nats.
        calibration: what `calibrate` returned.
        method: temperature, platt or isotonic.

    Raises:
        ValueError: if the calibration has no such method; the message says why.
    """
    fitted = calibration["methods"]
    if method not in fitted:
        why = calibration["undefined"].get(method, "unknown method")
        raise ValueError(f"the calibration has no {method!r} ({why}); it has {sorted(fitted)}")
    return METHODS[method].apply(s, fitted[method])


def threshold_of(calibration: Mapping[str, Any], target: float) -> float:
    """The threshold that a calibration recommends for a target false positive rate, log-odds in nats.

    Raises:
        ValueError: if it has none for this target; the message lists those that it has.
    """
    found = {one["target_fpr"]: float(one["threshold"]) for one in calibration["thresholds"]}
    if target not in found:
        known = ", ".join(map(str, found)) or "none"
        raise ValueError(
            f"the calibration has no threshold for a target false positive rate of {target}; it has {known} "
            "(setting metrics.target_fprs)"
        )
    return found[target]


def threshold_for(s: Array, y: Ints, target: float) -> dict[str, float]:
    """The threshold that flags most under a bound on the false positive rate; an item is unsafe iff s <= threshold.

    It lies half way between two neighbouring scores, so that rounding changes no decision.

    Args:
        s: (N,) raw safe log-odds, nats.
        y: (N,) 1 for safe, 0 for unsafe.
        target: largest share of the safe items that may be called unsafe.

    Returns:
        `target_fpr`, `threshold`, and on these items `fpr`, `fpr_high` (upper end of its two-sided 95 %
        Clopper-Pearson interval) and `recall` (share of the unsafe items flagged).
    """
    from scipy.stats import binomtest

    safe = np.sort(s[y == 1])
    allowed = min(int(np.floor(target * len(safe) + 1e-9)), len(safe) - 1)
    above = safe[allowed]
    below = s[s < above]
    threshold = float((above + below.max()) / 2) if len(below) else float(above - 1)
    false_positives = int((safe <= threshold).sum())
    return {
        "target_fpr": target,
        "threshold": threshold,
        "fpr": false_positives / len(safe),
        "fpr_high": float(binomtest(false_positives, len(safe)).proportion_ci(0.95).high),
        "recall": float((s[y == 0] <= threshold).mean()),
    }


def calibrate(sample: Sample, targets: Sequence[float]) -> dict[str, Any]:
    """Parameters of every method and one threshold per target, fitted on a validation sample.

    A method that has no solution is listed under `undefined` with the reason.

    Raises:
        ValueError: if the sample lacks a class, or its scores are hard labels.
    """
    n_safe = int(sample.y.sum())
    counts = {"n": len(sample.y), "n_safe": n_safe, "n_unsafe": len(sample.y) - n_safe, "n_prompts": sample.n_prompts}
    if not 0 < n_safe < len(sample.y):
        raise ValueError(f"calibration needs labelled validation items of both classes, got {counts}")
    if sample.hard:
        raise ValueError("the validation scores take at most two values: hard labels cannot be calibrated")
    methods, unsolved = {}, {}
    for name, method in METHODS.items():
        try:
            methods[name] = method.fit(sample.s, sample.y)
        except ValueError as error:
            unsolved[name] = str(error)
    thresholds = [threshold_for(sample.s, sample.y, target) for target in targets]
    return {"counts": counts, "methods": methods, "undefined": unsolved, "thresholds": thresholds}


def evaluate_calibration(
    sample: Sample, calibration: Mapping[str, Any], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    """Brier score and smECE before and after each method, and what each threshold does, on a test sample.

    Differences are calibrated minus raw on the same resampled prompts: negative is better. smECE is resampled at most
    `SMECE_RESAMPLES` times. A metric without a value on this sample (one class alone) carries the reason.
    """
    weights = prompt_weights(sample.n_prompts, settings.bootstrap, np.random.default_rng(seed))
    found: dict[str, Any] = {}
    for metric, resamples in (("brier", settings.bootstrap), ("smece", SMECE_RESAMPLES)):
        if reason := undefined(sample, metric):
            missing = Estimate(None, n=len(sample.y), reason=reason)._asdict()
            for name in ("raw", *calibration["methods"]):
                found.setdefault(name, {})[metric] = missing
            continue
        raw = _replicates(metric, sample, weights[:resamples])
        found.setdefault("raw", {})[metric] = _estimate(raw, sample, settings.level)
        for name, parameters in calibration["methods"].items():
            moved = sample._replace(s=METHODS[name].apply(sample.s, parameters))
            after = _replicates(metric, moved, weights[:resamples])
            one = _estimate(after, sample, settings.level)
            one["difference"] = _estimate(after - raw, sample, settings.level)
            found.setdefault(name, {})[metric] = one
    return {
        "seed": seed,
        "level": settings.level,
        "bootstrap": settings.bootstrap,
        "bootstrap_smece": min(settings.bootstrap, SMECE_RESAMPLES),
        "methods": found,
        "undefined": calibration["undefined"],
        "thresholds": [_at(sample, one, weights, settings.level) for one in calibration["thresholds"]],
    }


def _replicates(metric: str, sample: Sample, weights: Array) -> Array:
    """The metric on the sample itself, then on every resample: (1 + B,)."""
    return STATISTICS[metric](sample, np.vstack([np.ones((1, sample.n_prompts)), weights]))


def _estimate(values: Array, sample: Sample, level: float) -> dict[str, Any]:
    prompts = len(set(sample.prompt.tolist()))
    return bounded(float(values[0]), values[1:], len(sample.y), prompts, level)._asdict()


def _at(sample: Sample, fitted: Mapping[str, float], weights: Array, level: float) -> dict[str, Any]:
    """False positive and false negative rate on a test sample at a validation threshold."""
    moved = sample._replace(threshold=fitted["threshold"])
    rates = {name: estimate(moved, name, weights, level)._asdict() for name in ("fpr", "fnr")}
    return {"target_fpr": fitted["target_fpr"], "threshold": fitted["threshold"], **rates}
