"""The table of subsets: every benchmark by the parts that its data name, such as adversarial and vanilla."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import NO_INTERVAL, Cell, to_csv, to_markdown
from csrm.report.measured import described

Document = Mapping[str, Any]

TITLE = "Subsets"
NOTE = (
    "Each benchmark by the subsets of its data: adversarial and vanilla (WildGuardMix), scenario (CoSApien), "
    "configuration (CoSAlign-Test), type of prompt (XSTest), family of the violated category, and so on. A pair is in "
    "the subset of its chosen item. Subsets are small: read the intervals, which are percentile bootstraps clustered "
    "by prompt, and `safe`, `unsafe`; a subset of one class has rates, but neither AUROC nor F1 of both. Nothing "
    f"printed is set against them. {NO_INTERVAL}"
)
METRICS = ("auroc", "f1_safe", "f1_unsafe", "fpr", "fnr", "pair_accuracy")


def subset_table(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """The main metrics of each subset, of benchmarks with more than one, as (CSV, Markdown).

    A run whose benchmarks all have one subset gets a table without lines.
    """
    cells = [cell for document in documents for cell in _cells(document, benchmarks.get(document["benchmark"]))]
    cells.sort(key=lambda cell: cell.benchmark)
    return to_csv(cells, Cell._fields), to_markdown(TITLE, NOTE, cells, METRICS)


def _cells(document: Document, benchmark: Benchmark | None) -> Iterator[Cell]:
    subsets = document["subsets"]
    if len(subsets) < 2:
        return
    for subset, part in subsets.items():
        counts = part["counts"]
        for metric in METRICS:
            found = part["metrics"][metric]
            yield described("subsets", document, metric, benchmark)._replace(
                model=document["model"],
                benchmark=f"{document['benchmark']}, {subset}",
                measured=found["value"],
                low=found["low"],
                high=found["high"],
                comparable="no",
                reason=found["reason"] if found["value"] is None else "nothing printed for it",
                n=found["n"],
                n_prompts=found["n_prompts"],
                n_safe=counts["n_safe"],
                n_unsafe=counts["n_unsafe"],
                cut=counts["cut"],
                truncated=counts["truncated"],
                no_interval="" if found["value"] is None else found["reason"] or "",
            )
