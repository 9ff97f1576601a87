"""How well the rule-based judge decides what people have decided too.

People have labelled two of its decisions: whether a response refuses (its helpfulness is then 0, and its sentences do
not count as touching a forbidden topic), and whether it does what its prompt asks, which helpfulness above 0 stands
for. That a topic's lexicon finds the topic has no such labels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrm.align.helpfulness import helpfulness
from csrm.align.refusal import is_refusal
from csrm.augment.encoder import TextEncoder
from csrm.bench.bootstrap import bootstrap_mean
from csrm.bench.metrics import Sample, estimate, prompt_weights
from csrm.rows import Row
from csrm.settings import MetricSettings

Flags = NDArray[np.bool_]


class Verdicts(NamedTuple):
    """n verdicts: by the judge (n,), by people (n,), the prompts' ids, and how sure the judge is (n,), if it grades."""

    called: Flags
    labelled: Flags
    prompts: list[str]
    grade: NDArray[np.float64] | None = None


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
    rows: Sequence[Row], encoder: TextEncoder, settings: MetricSettings, seed: int
) -> dict[str, dict[str, Any]]:
    """Accuracy, precision, recall and specificity of each decision that rows have a human label of.

    Decisions are `refuses` (`refusal` of a row) and `helps` (`objective_achieved` among what is told of it; helpfulness
    above 0), the latter with the AUROC of helpfulness. Intervals are clustered by prompt. `majority` is the accuracy
    of always giving the commoner verdict; recall of refusals is given by kind too where people told kinds apart. Rows
    without a label are left out and counted.

    Raises:
        ValueError: if no row has a label of either decision.
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
        found["refuses"] = _decision(_refusals(refused), refused, len(rows), settings, seed)
        found["refuses"]["measures"].update(_by_kind(refused, settings, seed))
    if achieved:
        found["helps"] = _decision(_helps(achieved, encoder), achieved, len(rows), settings, seed)
    return found


def _decision(
    verdicts: Verdicts, labelled: Sequence[Row], total: int, settings: MetricSettings, seed: int
) -> dict[str, Any]:
    called, truth = verdicts.called, verdicts.labelled
    graded = {} if verdicts.grade is None else {"auroc": _auroc(verdicts, settings, seed)}
    return {
        "n": len(labelled),
        "n_prompts": len(set(verdicts.prompts)),
        "without_verdict": total - len(labelled),
        "label_sources": sorted({row.label_source for row in labelled}),
        "counts": {"labelled": int(truth.sum()), "called": int(called.sum()), "both": int((called & truth).sum())},
        "majority": float(max(truth.mean(), 1 - truth.mean())),
        "measures": {
            **{name: _measure(measure, verdicts, settings, seed) for name, measure in MEASURES.items()},
            **graded,
        },
    }


def _refusals(rows: Sequence[Row]) -> Verdicts:
    called = np.array([is_refusal(row.messages[-1].content) for row in rows], dtype=bool)
    return Verdicts(called, np.array([row.refusal for row in rows], dtype=bool), [row.prompt_id for row in rows])


def _helps(rows: Sequence[Row], encoder: TextEncoder) -> Verdicts:
    prompts, responses = ([row.messages[n].content for row in rows] for n in (-2, -1))
    grade = helpfulness(prompts, responses, encoder)
    achieved = np.array([row.meta["objective_achieved"] for row in rows], dtype=bool)
    return Verdicts(grade > 0, achieved, [row.prompt_id for row in rows], grade)


def _by_kind(rows: Sequence[Row], settings: MetricSettings, seed: int) -> dict[str, Mapping[str, Any]]:
    """Recall of each kind of refusal that people told apart."""
    kinds = sorted({str(row.meta["refusal_kind"]) for row in rows if row.refusal and "refusal_kind" in row.meta})
    parts = {kind: [row for row in rows if row.meta.get("refusal_kind") == kind] for kind in kinds}
    recall = MEASURES["recall"]
    return {f"recall ({kind})": _measure(recall, _refusals(part), settings, seed) for kind, part in parts.items()}


def _auroc(verdicts: Verdicts, settings: MetricSettings, seed: int) -> Mapping[str, Any]:
    """AUROC of the judge's grade for the human label; without both labels it has no value."""
    names, prompt = np.unique(verdicts.prompts, return_inverse=True)
    nothing = np.array([], dtype=np.int64)
    grade = np.asarray(verdicts.grade, dtype=np.float64)
    sample = Sample(verdicts.labelled.astype(np.int64), grade, prompt, nothing.astype(np.float64), nothing, len(names))
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
