"""How well the rule-based judge recognises refusals, against verdicts of people.

Of what the judge decides by rules, refusals are what people have labelled at scale: they set helpfulness to 0, and
their sentences do not count as touching a forbidden topic. That a topic's lexicon finds the topic has no such labels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrm.align.refusal import is_refusal
from csrm.bench.bootstrap import bootstrap_mean
from csrm.rows import Row
from csrm.settings import MetricSettings

Flags = NDArray[np.bool_]


class Verdicts(NamedTuple):
    """n verdicts: by the judge (n,), by people (n,), and the prompts' ids."""

    called: Flags
    labelled: Flags
    prompts: list[str]


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
"""Refusal is the positive class."""


def judge_accuracy(rows: Sequence[Row], settings: MetricSettings, seed: int) -> dict[str, Any]:
    """Accuracy, precision, recall and specificity of the refusal patterns, with prompt-clustered intervals.

    `majority` is the accuracy of always giving the commoner verdict; recall is given by kind of refusal too where
    people told kinds apart. Rows without a verdict on refusal are left out and counted.

    Raises:
        ValueError: if no row has a verdict on refusal.
    """
    labelled = [row for row in rows if row.refusal is not None]
    if not labelled:
        raise ValueError(
            f"none of {len(rows)} rows has a verdict on refusal; name a data set that has, in align.judge_data"
        )
    verdicts = _verdicts(labelled)
    called, truth = verdicts.called, verdicts.labelled
    kinds = sorted({str(row.meta["refusal_kind"]) for row in labelled if row.refusal and "refusal_kind" in row.meta})
    parts = {f"recall ({kind})": [row for row in labelled if row.meta.get("refusal_kind") == kind] for kind in kinds}
    return {
        "n": len(labelled),
        "n_prompts": len(set(verdicts.prompts)),
        "without_verdict": len(rows) - len(labelled),
        "label_sources": sorted({row.label_source for row in labelled}),
        "refusals": {"labelled": int(truth.sum()), "called": int(called.sum()), "both": int((called & truth).sum())},
        "majority": float(max(truth.mean(), 1 - truth.mean())),
        "measures": {
            **{name: _measure(measure, verdicts, settings, seed) for name, measure in MEASURES.items()},
            **{name: _measure(MEASURES["recall"], _verdicts(part), settings, seed) for name, part in parts.items()},
        },
    }


def _verdicts(rows: Sequence[Row]) -> Verdicts:
    called = np.array([is_refusal(row.messages[-1].content) for row in rows], dtype=bool)
    return Verdicts(called, np.array([row.refusal for row in rows], dtype=bool), [row.prompt_id for row in rows])


def _measure(measure: Measure, verdicts: Verdicts, settings: MetricSettings, seed: int) -> Mapping[str, Any]:
    """The share with its interval over the prompts that have a verdict in the denominator."""
    among = measure.among(verdicts.called, verdicts.labelled)
    counted = measure.counted(verdicts.called, verdicts.labelled)[among].astype(np.float64)
    prompts = [prompt for prompt, kept in zip(verdicts.prompts, among, strict=True) if kept]
    if not prompts:
        return {"value": None, "low": None, "high": None, "n": 0, "n_prompts": 0}
    rng = np.random.default_rng(seed)
    return bootstrap_mean(counted, prompts, settings.bootstrap, settings.level, rng, share=True)._asdict()
