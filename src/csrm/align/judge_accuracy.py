"""How well the judge decides what people have decided too.

People have labelled two of its decisions: whether a response refuses, and whether it does what its prompt asks, which
helpfulness above 0 stands for. The rule-based judge finds refusals by patterns (helpfulness is then 0, and their
sentences do not count as touching a forbidden topic); a language model's rating of 0 is a refusal. Compliance with a
configuration has no such labels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrm.align.helpfulness import Helpfulness, Proxy
from csrm.align.refusal import is_refusal
from csrm.augment.encoder import TextEncoder
from csrm.bench.bootstrap import bootstrap_mean
from csrm.bench.metrics import Sample, estimate, prompt_weights
from csrm.rows import Row
from csrm.settings import MetricSettings

Flags = NDArray[np.bool_]


class Deciders(NamedTuple):
    """What decides on n prompts and responses: whether they refuse (1, 0; NaN is invalid) and H (NaN likewise)."""

    refuses: Helpfulness
    helps: Helpfulness


class Verdicts(NamedTuple):
    """n valid verdicts: the judge's (n,), people's (n,), prompt ids, its grades (n,), and how many are invalid."""

    called: Flags
    labelled: Flags
    prompts: list[str]
    grade: NDArray[np.float64]
    invalid: int


class Measure(NamedTuple):
    """A share: of which verdicts (denominator), and which of them count (numerator)."""

    among: Callable[[Flags, Flags], Flags]
    counted: Callable[[Flags, Flags], Flags]


MEASURES = {
    "accuracy": Measure(lambda c, y: np.ones_like(y), lambda c, y: c == y),
    "precision": Measure(lambda c, y: c, lambda c, y: y),
    "recall": Measure(lambda c, y: y, lambda c, y: c),
    "specificity": Measure(lambda c, y: ~y, lambda c, y: ~c),
}
"""The decision itself, a refusal or help, is the positive class."""


def judge_accuracy(
    rows: Sequence[Row], deciders: Deciders, settings: MetricSettings, seed: int
) -> dict[str, dict[str, Any]]:
    """Accuracy, precision, recall and specificity of each decision that rows have a human label of.

    Decisions are `refuses` (`refusal` of a row) and `helps` (`objective_achieved` among what is told of it; helpfulness
    above 0), the latter with the AUROC of helpfulness. Intervals are clustered by prompt. `majority` is the accuracy
    of always giving the commoner verdict; recall of refusals is given by kind too where people told kinds apart. Rows
    without a label are left out and counted, and so are the judge's invalid verdicts (`invalid`); `accuracy_bounds` is
    the accuracy if all of those were wrong, and if all were right.

    Args:
        rows: labelled responses.
        deciders: of the judge, `by_rules` or `by_rating`.
        settings: resamples and level.
        seed: of the bootstraps.

    Raises:
        ValueError: if no row has a label of either decision, or the judge has no valid verdict on the rows that have.
    """
    refused = [row for row in rows if row.refusal is not None]
    achieved = [row for row in rows if row.meta.get("objective_achieved") is not None]
    if not refused and not achieved:
        raise ValueError(
            f"none of {len(rows)} rows has a verdict on refusal or on its objective; name a data set that has, in "
            "align.judge_data"
        )
    found = {}
    if refused:
        truth = [bool(row.refusal) for row in refused]
        grades = _grades(refused, deciders.refuses)
        found["refuses"] = _decision(_verdicts(refused, truth, grades), refused, len(rows), settings, seed)
        found["refuses"]["measures"].update(_by_kind(refused, grades, settings, seed))
    if achieved:
        truth = [bool(row.meta["objective_achieved"]) for row in achieved]
        verdicts = _verdicts(achieved, truth, _grades(achieved, deciders.helps))
        found["helps"] = _decision(verdicts, achieved, len(rows), settings, seed)
        found["helps"]["measures"]["auroc"] = _auroc(verdicts, settings, seed)
    return found


def by_rules(encoder: TextEncoder) -> Deciders:
    """Refusals by pattern, helpfulness by the proxy."""
    return Deciders(lambda prompts, responses: np.array([float(is_refusal(r)) for r in responses]), Proxy(encoder))


def by_rating(rating: Helpfulness) -> Deciders:
    """Both decisions by one rating: 0 is a refusal, above 0 helps, NaN is invalid."""

    def refuses(prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        rated = rating(prompts, responses)
        return np.where(np.isnan(rated), np.nan, rated == 0)

    return Deciders(refuses, rating)


def _decision(
    verdicts: Verdicts, labelled: Sequence[Row], total: int, settings: MetricSettings, seed: int
) -> dict[str, Any]:
    called, truth, invalid = verdicts.called, verdicts.labelled, verdicts.invalid
    if not len(truth):
        raise ValueError(
            f"none of the judge's {invalid} verdicts on {labelled[0].dataset!r} is valid: its answers must end with a "
            "rating such as [[3]]; name a more capable model in align.llm.model, or raise align.llm.max_tokens"
        )
    right = int((called == truth).sum())
    return {
        "n": len(truth),
        "invalid": invalid,
        "accuracy_bounds": [right / len(labelled), (right + invalid) / len(labelled)],
        "n_prompts": len(set(verdicts.prompts)),
        "without_verdict": total - len(labelled),
        "label_sources": sorted({row.label_source for row in labelled}),
        "counts": {"labelled": int(truth.sum()), "called": int(called.sum()), "both": int((called & truth).sum())},
        "majority": float(max(truth.mean(), 1 - truth.mean())),
        "measures": {name: _measure(measure, verdicts, settings, seed) for name, measure in MEASURES.items()},
    }


def _grades(rows: Sequence[Row], decide: Helpfulness) -> NDArray[np.float64]:
    """A decider's grades (n,) of the last responses to what was said before them."""
    prompts, responses = ([row.messages[n].content for row in rows] for n in (-2, -1))
    return decide(prompts, responses)


def _verdicts(rows: Sequence[Row], truth: Sequence[bool], grades: NDArray[np.float64]) -> Verdicts:
    """The valid verdicts; a grade above 0 is the decision."""
    valid = ~np.isnan(grades)
    prompts = [row.prompt_id for row, kept in zip(rows, valid, strict=True) if kept]
    grade = grades[valid]
    return Verdicts(grade > 0, np.array(truth, dtype=bool)[valid], prompts, grade, int((~valid).sum()))


def _by_kind(
    rows: Sequence[Row], grades: NDArray[np.float64], settings: MetricSettings, seed: int
) -> dict[str, Mapping[str, Any]]:
    """Recall of each kind of refusal that people told apart."""
    kinds = sorted({str(row.meta["refusal_kind"]) for row in rows if row.refusal and "refusal_kind" in row.meta})
    found = {}
    for kind in kinds:
        places = [n for n, row in enumerate(rows) if row.meta.get("refusal_kind") == kind]
        part = [rows[n] for n in places]
        verdicts = _verdicts(part, [bool(row.refusal) for row in part], grades[places])
        found[f"recall ({kind})"] = _measure(MEASURES["recall"], verdicts, settings, seed)
    return found


def _auroc(verdicts: Verdicts, settings: MetricSettings, seed: int) -> Mapping[str, Any]:
    """AUROC of the judge's grade for the human label; without both labels it has no value."""
    names, prompt = np.unique(verdicts.prompts, return_inverse=True)
    nothing = np.array([], dtype=np.int64)
    labels = verdicts.labelled.astype(np.int64)
    sample = Sample(labels, verdicts.grade, prompt, nothing.astype(np.float64), nothing, len(names))
    weights = prompt_weights(len(names), settings.bootstrap, np.random.default_rng(seed))
    found = estimate(sample, "auroc", weights, settings.level)
    return {key: getattr(found, key) for key in ("value", "low", "high", "n", "n_prompts")}


def _measure(measure: Measure, verdicts: Verdicts, settings: MetricSettings, seed: int) -> Mapping[str, Any]:
    """The share with its interval over the prompts that have a verdict in the denominator."""
    among = measure.among(verdicts.called, verdicts.labelled)
    counted = measure.counted(verdicts.called, verdicts.labelled)[among].astype(np.float64)
    prompts = [prompt for prompt, kept in zip(verdicts.prompts, among, strict=True) if kept]
    if not prompts:
        return {"value": None, "low": None, "high": None, "n": 0, "n_prompts": 0}
    rng = np.random.default_rng(seed)
    return bootstrap_mean(counted, prompts, settings.bootstrap, settings.level, rng, share=True)._asdict()
