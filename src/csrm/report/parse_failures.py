"""Answers without a verdict: how many, and F1 of both classes under each rule for what they count as."""

from collections.abc import Mapping, Sequence
from typing import Any

from csrm.bench.parse_failures import RULES
from csrm.bench.registry import Benchmark
from csrm.report.cells import Cell, markdown_head, markdown_line, number
from csrm.report.measured import described

Document = Mapping[str, Any]

CLASSES = ("f1_safe", "f1_unsafe")


def failure_cells(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> list[Cell]:
    """F1 of both classes under every rule, of each document with answers that held no verdict."""
    return [
        described("results", document, f"{metric}, failures as {rule}", benchmarks.get(document["benchmark"]))._replace(
            model=document["model"],
            positive_class=metric.removeprefix("f1_"),
            measured=values[metric],
            comparable="no",
            reason=f"{document['unparsed']} answers without a verdict",
            unparsed=document["unparsed"],
        )
        for document in documents
        for rule, values in document["f1_by_parse_failure_rule"].items()
        for metric in CLASSES
    ]


def failure_section(documents: Sequence[Document]) -> str:
    """A Markdown section with a line for each document that has such answers; one sentence where none has."""
    failed = [document for document in documents if document["unparsed"]]
    title = ["", "### Answers without a verdict", ""]
    if not failed:
        return "\n".join([*title, "Every answer held a verdict."]) + "\n"
    note = "Both F1 (safe / unsafe positive) with such answers counted as each rule says; `rule` is the run's."
    head = ["benchmark", "model", "source", "no verdict", "items", "rule", *RULES, "seed"]
    return "\n".join([*title, note, "", *markdown_head(head), *map(_line, failed)]) + "\n"


def _line(document: Document) -> str:
    found = document["f1_by_parse_failure_rule"]
    values = [" / ".join(number(found[rule][metric]) for metric in CLASSES) for rule in RULES]
    names = [document["benchmark"], document["model"], f"measured@{document['scale']}", str(document["unparsed"])]
    items = str(document["overall"]["counts"]["n"])
    return markdown_line([*names, items, document["parse_failure"], *values, str(document["seed"])])
