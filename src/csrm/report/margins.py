"""Table 6: margins of the ranking loss on the main backbone and on the replication's."""

from collections.abc import Mapping, Sequence
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import Cell, side_by_side, to_csv
from csrm.report.counterparts import DATASETS, own_metrics
from csrm.report.measured import measured_cells
from csrm.report.published import PAPER, Published, select
from csrm.report.tables import NOTE, Table, belongs, published_cells, unmatched
from csrm.settings import TrainSettings

Document = Mapping[str, Any]

TABLE = Table("Table 6: backbone and margin", "Table 6", ("f1_safe", "f1_unsafe", "smece"))
REPLICATION = "qwen3-1.7b"
"""Our backbone for what the paper calls "Qwen3-2B", which does not exist."""
MARGINS_NOTE = (
    "Variants that differ in backbone and margin m of the ranking loss alone. The paper prints the table for "
    '"Qwen3-2B"; it stands beside variants on Qwen3-1.7B.'
)


def margin_table(
    documents: Sequence[Document], benchmarks: Mapping[str, Benchmark], settings: Mapping[str, TrainSettings]
) -> tuple[str, str]:
    """Both F1 and smECE of each backbone and margin beside the printed ones, as (CSV, Markdown).

    Args:
        documents: evaluations; those of other models than the variants are passed over.
        benchmarks: `config/benchmarks.tsv`.
        settings: training settings of the variants by name.

    Raises:
        ValueError: if no variant was evaluated.
    """
    own = [d for d in documents if d["model"] in settings and belongs("table6", d, benchmarks.get(d["benchmark"]))]
    if not own:
        raise ValueError(f"no evaluation of the variants {sorted(settings)} on a labelled benchmark")

    def find(document: Document, metric: str) -> Published | None:
        return _counterpart(settings[document["model"]], document["benchmark"], metric)

    cells = [_named(cell, settings) for cell in measured_cells("table6", own, benchmarks, TABLE.metrics, find)]
    cells.sort(key=lambda cell: cell.benchmark)
    shown = [*cells, *unmatched("table6", TABLE, own, find)]
    csv = to_csv([*cells, *published_cells("table6", TABLE.printed)], Cell._fields)
    return csv, side_by_side(TABLE.title, f"{NOTE} {MARGINS_NOTE}", shown)


def _named(cell: Cell, settings: Mapping[str, TrainSettings]) -> Cell:
    """The cell of a variant with its backbone and margin, and with what differs from the printed backbone."""
    own = settings[cell.model]
    reason = f'printed for "Qwen3-2B", measured on {own.backbone}; {cell.reason}'
    cell = cell._replace(model=f"{cell.model} ({own.backbone}, m = {own.margin:g})")
    return cell._replace(reason=reason) if cell.comparable == "partly" else cell


def _counterpart(settings: TrainSettings, benchmark: str, metric: str) -> Published | None:
    """The printed number of a margin on the replication's backbone."""
    if settings.backbone != REPLICATION:
        return None
    names = {name for own, paper, name in DATASETS if (own, paper) == (benchmark, PAPER)}
    row = f'CSRM on "Qwen3-2B", margin m={settings.margin:g}'
    found = (f for f in select(TABLE.printed) if f.row == row and f.dataset in names and metric in own_metrics(f))
    return next(found, None)
