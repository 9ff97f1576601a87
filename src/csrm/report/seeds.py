"""The table of seeds: every variant's mean over its seeds, and its difference to the reference variant."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, number, to_csv
from csrm.settings import SEED_MARK

NOTE = (
    "Means over seeds of training; every resample draws prompts and seeds, so the intervals hold both. `a - reference` "
    "is on the same prompts and seeds; an interval that contains 0 shows no difference. `by seed` names each seed of "
    "`train.seeds` with its value; `own` is the variant's own seed (`train.seed`, or the run's `seed`)."
    f" {NO_INTERVAL}"
)


class SeedMean(NamedTuple):
    """One metric of one variant over its seeds."""

    benchmark: str
    metric: str
    model: str
    source: str
    value: float | None
    low: float | None
    high: float | None
    seeds: str
    by_seed: str
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    n: int
    n_prompts: int
    n_seeds: int
    reason: str


def seed_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """All variants on all benchmarks as (CSV, Markdown); metrics without a value are in the CSV alone."""
    rows = [_row(document, metric) for document in documents for metric in document["metrics"]]
    rows.sort(key=lambda row: (row.benchmark, row.metric))
    head = "| benchmark | metric | model | source | mean | by seed | a - reference | n | prompts |"
    lines = [
        f"| {r.benchmark} | {r.metric} | {r.model} | {r.source} | {number(r.value, r.low, r.high)} "
        f"| {_by_seed(r)} | {_difference(r)} | {r.n} | {r.n_prompts} |"
        for r in rows
        if r.value is not None
    ]
    text = ["## Seeds", "", NOTE, "", head, "|---" * 9 + "|", *lines]
    return to_csv(rows, SeedMean._fields), "\n".join(text) + "\n"


def _row(document: Mapping[str, Any], metric: str) -> SeedMean:
    found = document["metrics"][metric]
    difference = found.get("difference", {})
    return SeedMean(
        document["benchmark"],
        metric,
        document["model"],
        f"measured@{document['scale']}",
        found["value"],
        found.get("low"),
        found.get("high"),
        " ".join(model.partition(SEED_MARK)[2] or "own" for model in document["models"]),
        " ".join(f"{value:.3f}" for value in found.get("by_seed", [])),
        difference.get("value"),
        difference.get("low"),
        difference.get("high"),
        found["n"],
        found["n_prompts"],
        len(document["models"]),
        found["reason"] or "",
    )


def _by_seed(row: SeedMean) -> str:
    return ", ".join(f"{seed}: {value}" for seed, value in zip(row.seeds.split(), row.by_seed.split(), strict=True))


def _difference(row: SeedMean) -> str:
    return "" if row.difference is None else number(row.difference, row.difference_low, row.difference_high)
