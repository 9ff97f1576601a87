"""The table of human severities: how well one reward serves each severity as the first unsafe one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import NO_INTERVAL, Cell, to_csv, to_markdown
from csrm.report.measured import described

Document = Mapping[str, Any]

TITLE = "Human severity"
NOTE = (
    "Each rated category alone, as a configuration of one. `unsafe from t` counts responses of mean human severity t "
    "or more as unsafe; the scores stay the same, so only the standard t is the model's own, and the other lines say "
    "how its reward would serve a stricter or laxer line. `unsafe` is the share of responses that t makes so, "
    "`spearman` the rank correlation of the negated reward with the severity, over all categories together. Intervals "
    "are percentile bootstraps clustered by prompt; `n` counts responses under one category."
    f" {NO_INTERVAL}"
)
METRICS = ("f1_safe", "f1_unsafe", "balanced_accuracy", "auroc", "spearman", "unsafe")


def severity_table(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """Both F1, balanced accuracy and AUROC of each threshold, and Spearman's correlation, as (CSV, Markdown).

    Raises:
        ValueError: if no document holds human severities.
    """
    cells = [cell for document in documents for cell in _cells(document, benchmarks.get(document["benchmark"]))]
    if not cells:
        names = sorted({str(document["benchmark"]) for document in documents})
        raise ValueError(f"no human severity among the metrics of {names}: benchmarks of builder `severity` have them")
    cells.sort(key=lambda cell: cell.benchmark)
    return to_csv(cells, Cell._fields), to_markdown(TITLE, NOTE, cells, METRICS)


def _cells(document: Document, benchmark: Benchmark | None) -> Iterator[Cell]:
    thresholds = document["by_severity_threshold"]
    if not thresholds:
        return
    overall = document["overall"]
    yield _cell(document, benchmark, "all severities", "spearman", overall["metrics"]["spearman"], overall["counts"])
    for t, part in thresholds.items():
        counts = part["counts"]
        for metric, found in part["metrics"].items():
            yield _cell(document, benchmark, f"unsafe from {t}", metric, found, counts)
        share = {"value": counts["n_unsafe"] / counts["n"], "low": None, "high": None, "reason": None, "n": counts["n"]}
        yield _cell(document, benchmark, f"unsafe from {t}", "unsafe", {**share, "n_prompts": None}, counts)


def _cell(
    document: Document,
    benchmark: Benchmark | None,
    part: str,
    metric: str,
    found: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Cell:
    return described("severity", document, metric, benchmark)._replace(
        model=document["model"],
        benchmark=f"{document['benchmark']}, {part}",
        measured=found["value"],
        low=found["low"],
        high=found["high"],
        comparable="no",
        reason=found["reason"] or "nothing printed for it",
        n=found["n"],
        n_prompts=found["n_prompts"],
        n_safe=counts["n_safe"],
        n_unsafe=counts["n_unsafe"],
        truncated=document["overall"]["counts"]["truncated"],
    )
