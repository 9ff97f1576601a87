"""The calibration table: Brier score and smECE before and after, and the thresholds on test data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, number, to_csv

NOTE = (
    "Fitted on the validation split, measured on test items. `difference` is calibrated minus raw on the same "
    "resampled prompts (negative is better). `threshold` lines call an item unsafe where its raw log-odds are not "
    "above the threshold recommended for the target false positive rate."
    f" {NO_INTERVAL}"
)


class Calibrated(NamedTuple):
    """One number of the calibration step."""

    benchmark: str
    model: str
    step: str
    metric: str
    target_fpr: float | None
    threshold: float | None
    source: str
    value: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    n: int
    n_validation: int
    seed: int
    reason: str


def calibration_rows(document: Mapping[str, Any]) -> Iterator[Calibrated]:
    """The lines of one model on one benchmark; a method without a solution has one line with the reason."""
    head = {"benchmark": document["benchmark"], "model": document["model"]}
    tail = {"n_validation": document["validation_counts"]["n"], "seed": document["seed"]}
    common = {**head, **tail, "source": f"measured@{document['scale']}"}
    for step, metrics in document["methods"].items():
        for metric, found in metrics.items():
            yield _row(common, found, step=step, metric=metric)
    for step, reason in document["undefined"].items():
        yield _row(common, {"reason": reason}, step=step, metric="")
    for one in document["thresholds"]:
        place = {"target_fpr": one["target_fpr"], "threshold": one["threshold"]}
        for metric in ("fpr", "fnr"):
            yield _row(common, one[metric], step="threshold", metric=metric, **place)


def _row(common: Mapping[str, Any], found: Mapping[str, Any], **own: Any) -> Calibrated:
    difference = found.get("difference", {})
    return Calibrated(
        **{"target_fpr": None, "threshold": None, **common, **own},
        value=found.get("value"),
        low=found.get("low"),
        high=found.get("high"),
        difference=difference.get("value"),
        difference_low=difference.get("low"),
        difference_high=difference.get("high"),
        n=found.get("n", 0),
        reason=found.get("reason") or "",
    )


def calibration_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """All models on all benchmarks as (CSV, Markdown)."""
    rows = [row for document in documents for row in calibration_rows(document)]
    head = "| benchmark | model | step | metric | source | value | difference | n | n validation | seed | reason |"
    lines = [
        f"| {r.benchmark} | {r.model} | {_step(r)} | {r.metric} | {r.source} | {number(r.value, r.low, r.high)} "
        f"| {_difference(r)} | {r.n} | {r.n_validation} | {r.seed} | {r.reason} |"
        for r in rows
    ]
    markdown = "\n".join(["## Calibration", "", NOTE, "", head, "|---" * 11 + "|", *lines]) + "\n"
    return to_csv(rows, Calibrated._fields), markdown


def _step(row: Calibrated) -> str:
    return row.step if row.threshold is None else f"threshold {row.threshold:+.3f} for FPR {row.target_fpr}"


def _difference(row: Calibrated) -> str:
    return "" if row.difference is None else number(row.difference, row.difference_low, row.difference_high)
