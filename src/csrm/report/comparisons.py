"""The table of paired differences between two models on the same items."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, number, to_csv


class Difference(NamedTuple):
    """A paired difference between two models on the same items."""

    benchmark: str
    metric: str
    model_a: str
    model_b: str
    source: str
    difference: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    seed: int
    reason: str


def comparison_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Paired differences between models, as (CSV, Markdown)."""
    rows = [
        Difference(
            document["benchmark"], metric, document["model_a"], document["model_b"], f"measured@{document['scale']}",
            found["value"], found["low"], found["high"], found["n"], found["n_prompts"],
            document["seed"], found["reason"] or "",
        )
        for document in documents
        for metric, found in document["differences"].items()
    ]  # fmt: skip
    head = "| benchmark | metric | a | b | source | a - b | n | prompts | seed |\n|---|---|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.benchmark} | {r.metric} | {r.model_a} | {r.model_b} | {r.source} "
        f"| {number(r.difference, r.low, r.high)} | {r.n} | {r.n_prompts} | {r.seed} |"
        for r in rows
    ]
    note = "Both models are resampled with the same prompts; an interval that contains 0 shows no difference."
    markdown = "\n".join(["## Paired differences", "", f"{note} {NO_INTERVAL}", "", head, *lines]) + "\n"
    return to_csv(rows, Difference._fields), markdown
