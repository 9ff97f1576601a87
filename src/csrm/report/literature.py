"""What papers other than CSRM's print for the run's benchmarks, with our own measurements of the same models."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import Cell, printed_cell, side_by_side, to_csv
from csrm.report.counterparts import DATASETS, counterparts, own_metrics, shown_metric
from csrm.report.measured import measured_cell
from csrm.report.published import PAPER, Published, published

Document = Mapping[str, Any]

TITLE = "What other papers print for these benchmarks"
NOTE = (
    "Numbers of DynaGuard, WildGuard, GuardReasoner and others for data sets that are benchmarks of this run; percents "
    "are written as shares. Where the run measured the same model, `measured` stands beside the printed number. Their "
    "positive class is the violation (here: unsafe); prompt formats, decoding and the treatment of answers without a "
    "verdict differ between papers."
)


def in_literature(benchmarks: Iterable[str]) -> list[str]:
    """The benchmarks for which another paper prints something."""
    known = {own for own, paper, _ in DATASETS if paper != PAPER}
    return [name for name in benchmarks if name in known]


def literature_table(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """Every printed number of the documents' benchmarks as (CSV, Markdown), ours beside it where there is one.

    Raises:
        ValueError: if no other paper prints anything for these benchmarks.
    """
    names = sorted(in_literature({document["benchmark"] for document in documents}))
    if not names:
        raise ValueError("no other paper prints a number for these benchmarks: see report/published_datasets.tsv")
    cells = [cell for name in names for cell in _of_benchmark(name, documents, benchmarks)]
    return to_csv(cells, Cell._fields), side_by_side(TITLE, NOTE, cells)


def _of_benchmark(name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> Iterator[Cell]:
    beside: set[Published] = set()
    for document in (d for d in documents if d["benchmark"] == name):
        for fact in _facts(name):
            for metric in own_metrics(fact):
                if fact in counterparts(document["model"], name, metric):
                    beside.add(fact)
                    yield measured_cell("literature", document, metric, benchmarks.get(name), fact)
    for fact in _facts(name):
        if fact not in beside:
            yield printed_cell("literature", fact, shown_metric(fact))._replace(benchmark=name)


def _facts(benchmark: str) -> list[Published]:
    places = {(paper, dataset) for own, paper, dataset in DATASETS if own == benchmark and paper != PAPER}
    return [fact for fact in published() if (fact.paper, fact.dataset) in places]
