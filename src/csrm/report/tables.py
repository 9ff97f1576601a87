"""Result tables: measured numbers beside the published ones, never mixed up with them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.bench.metrics import STATISTICS
from csrm.bench.registry import Benchmark
from csrm.report.cells import NO_INTERVAL, Cell, printed_cell, side_by_side, to_csv, to_markdown
from csrm.report.counterparts import counterpart, counterparts, shown_metric
from csrm.report.measured import Find, constant_cells, measured_cells
from csrm.report.parse_failures import failure_cells, failure_section
from csrm.report.positive_class import decision
from csrm.report.published import Published, select

Document = Mapping[str, Any]


class Table(NamedTuple):
    """What a table of the paper shows."""

    title: str
    printed: str
    metrics: tuple[str, ...]


NOTE = (
    "Every line names its source: `published` (printed in the paper), `copied` (the paper copied it from another) or "
    "`measured@<scale>`. Intervals are percentile bootstraps clustered by prompt; a share of 0 or 1 has the exact "
    "binomial interval of its prompts. `n` counts items or pairs, `safe / unsafe` the labels, `prompts` the prompts "
    "that are resampled. As in the paper, `csrm-no-cca` is trained without CCA and `csrm-no-sa` without either "
    "augmentation. A printed F1 or AUPRC whose positive class is not stated stands beside both of ours."
    f" {NO_INTERVAL}"
)
RESULTS_NOTE = (
    "`cut` counts items that `csrm prepare` shortened to `data.max_prompt_words` and `data.max_response_words`, whose "
    "labels are of the whole text; `truncated` inputs that were longer than `score.max_length`. Further numbers that "
    "papers print for these benchmarks are in `literature`, where the run has some."
)
SCORES_NOTE = "The same models by their scores alone, without a threshold (pair accuracy, `reward_gap`: on pairs)."
AT_THRESHOLD = ("f1_safe", "f1_unsafe", "macro_f1", "accuracy", "balanced_accuracy", "fpr", "fnr")
"""Metrics of verdicts, shown together; the constant predictors have these too."""
OF_SCORES = (
    "auroc",
    "conditional_auroc",
    "auprc_safe",
    "auprc_unsafe",
    "brier",
    "smece",
    "pair_accuracy",
    "reward_gap",
    "spearman",
)
"""Metrics of scores, shown together."""
TABLES = {
    "table2": Table(
        "Table 2: classification", "Table 2", ("f1_safe", "f1_unsafe", "auprc_safe", "auprc_unsafe", "smece")
    ),
    "table3": Table("Table 3: pairwise accuracy and delta reward", "Table 3", ("pair_accuracy", "reward_gap")),
    "table4": Table(
        "Table 4: over-refusal, and other prompts by pseudo-response", "Table 4", ("f1_safe", "f1_unsafe", "fpr")
    ),
}


def belongs(name: str, document: Document, benchmark: Benchmark | None) -> bool:
    """Whether a benchmark's metrics are shown in a table."""
    counts = document["overall"]["counts"]
    pseudo = benchmark is not None and benchmark.builder == "pseudo-response"
    if name == "table3":
        return bool(counts["n_pairs"])
    labelled = counts["n_safe"] + counts["n_unsafe"] > 0
    return labelled and (benchmark is None or benchmark.positive_class != "none") and pseudo == (name == "table4")


def unmatched(name: str, table: Table, documents: Sequence[Document], find: Find) -> list[Cell]:
    """The numbers of a printed table that stand beside no measured one."""
    shown = {find(document, metric) for document in documents for metric in table.metrics}
    return [printed_cell(name, fact, shown_metric(fact)) for fact in select(table.printed) if fact not in shown]


def published_cells(name: str, printed: str) -> list[Cell]:
    """A printed table of the CSRM paper, cell by cell."""
    return [printed_cell(name, fact, shown_metric(fact)) for fact in select(printed)]


def paper_table(name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """A table of the paper with our rows, as (CSV, Markdown); the Markdown shows each printed number once."""
    table = TABLES[name]

    def find(document: Document, metric: str) -> Published | None:
        return counterpart(table.printed, document["model"], document["benchmark"], metric)

    documents = [d for d in documents if belongs(name, d, benchmarks.get(d["benchmark"]))]
    measured = measured_cells(name, documents, benchmarks, table.metrics, find)
    found, section = decision(measured)
    measured += constant_cells(name, documents, benchmarks, table.metrics)
    measured.sort(key=lambda cell: cell.benchmark)
    text = side_by_side(table.title, NOTE, [*measured, *unmatched(name, table, documents, find)])
    return to_csv([*measured, *found, *published_cells(name, table.printed)], Cell._fields), f"{text}{section}"


def results_table(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """Every metric of every model on every benchmark, as (CSV, Markdown): verdicts first, then scores."""

    def find(document: Document, metric: str) -> Published | None:
        return next(iter(counterparts(document["model"], document["benchmark"], metric)), None)

    metrics = tuple(STATISTICS)
    cells = measured_cells("results", documents, benchmarks, metrics, find)
    cells += constant_cells("results", documents, benchmarks, metrics)
    cells.sort(key=lambda cell: cell.benchmark)
    known = [cell for cell in cells if cell.measured is not None]
    decided = [cell for cell in known if cell.metric in AT_THRESHOLD]
    ranked = [cell for cell in known if cell.metric in OF_SCORES]
    text = to_markdown("All results: decisions at the threshold", f"{NOTE} {RESULTS_NOTE}", decided, AT_THRESHOLD)
    text += "\n" + to_markdown("All results: ranking and calibration", SCORES_NOTE, ranked, OF_SCORES)
    failures = failure_cells(documents, benchmarks)
    return to_csv([*cells, *failures], Cell._fields), f"{text}{failure_section(documents)}"
