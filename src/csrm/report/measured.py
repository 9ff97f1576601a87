"""Cells of what an evaluation measured, each beside the printed number that it is set against."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import Cell
from csrm.report.counterparts import verdict
from csrm.report.published import Published, footnote

Document = Mapping[str, Any]
Find = Callable[[Document, str], Published | None]


def measured_cells(
    name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark], metrics: Sequence[str], find: Find
) -> list[Cell]:
    """The measured cells of a table, each with the printed number that `find` gives for (document, metric)."""
    return [
        measured_cell(name, document, metric, benchmarks.get(document["benchmark"]), find(document, metric))
        for document in documents
        for metric in metrics
    ]


def measured_cell(
    name: str, document: Document, metric: str, benchmark: Benchmark | None, fact: Published | None
) -> Cell:
    """One measured number, beside a printed one where there is one."""
    found = document["overall"]["metrics"][metric]
    comparable, reason = verdict(document, metric, fact, benchmark)
    value, printed = found["value"], fact.share if fact else None
    cell = described(name, document, metric, benchmark)
    return cell._replace(
        model=document["model"],
        published=printed,
        measured=value,
        low=found["low"],
        high=found["high"],
        difference=value - printed if value is not None and printed is not None else None,
        comparable=comparable,
        reason=reason,
        n=found["n"],
        n_prompts=found["n_prompts"],
        footnote=footnote(fact) if fact else "",
        printed_in=fact.place if fact else "",
        truncated=document["overall"]["counts"]["truncated"],
        unparsed=document["unparsed"],
        no_interval="" if value is None else found["reason"] or "",
    )


def described(name: str, document: Document, metric: str, benchmark: Benchmark | None) -> Cell:
    """A cell that says what a document was measured on, without a model and a value."""
    counts = document["overall"]["counts"]
    return Cell(
        table=name,
        model="",
        benchmark=document["benchmark"],
        stand_in_for=(benchmark.stand_in_for or "") if benchmark else "",
        metric=metric,
        positive_class=_positive_class(metric),
        source=f"measured@{document['scale']}",
        n=counts["n_safe"] + counts["n_unsafe"],
        n_prompts=counts["n_prompts"],
        seed=document["seed"],
        protocol=benchmark.protocol if benchmark else "",
        n_safe=counts["n_safe"],
        n_unsafe=counts["n_unsafe"],
        cut=counts["cut"],
        data=document.get("items", {}).get("sha256", ""),
    )


def constant_cells(
    name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark], metrics: Sequence[str]
) -> list[Cell]:
    """The constant predictors of each benchmark, once."""
    cells, seen = [], set()
    for document in documents:
        benchmark = benchmarks.get(document["benchmark"])
        for constant, values in document["overall"]["constants"].items():
            key = (document["benchmark"], constant, document["scale"])
            if key in seen:
                continue
            seen.add(key)
            for metric in (m for m in metrics if m in values):
                cell = described(name, document, metric, benchmark)._replace(model=constant.replace("_", "-"))
                cells.append(cell._replace(measured=values[metric], comparable="no", reason="constant predictor"))
    return cells


def _positive_class(metric: str) -> str:
    if metric.endswith("_safe"):
        return "safe"
    return "unsafe" if metric.endswith("_unsafe") or metric in ("fpr", "fnr") else ""
