"""Commands of the report stage: table, figure."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm import files, provenance
from csrm.rows import Item, ScoreRow
from csrm.settings import SEED_MARK, MetricSettings, read_slice

if TYPE_CHECKING:
    import pandas as pd

Subparsers = Any
TABLES = (
    "table1",
    "augmentation",
    "table2",
    "table3",
    "table4",
    "table5",
    "table7",
    "results",
    "comparisons",
    "summary",
    "calibration",
    "proposers",
    "helpfulness",
    "seeds",
    "severity",
    "cosa",
    "pareto",
    "judge",
    "capability",
)
FIGURES = ("figure3", "figure4", "figure5", "configurability", "variety", "training", "strictness", "overoptimisation")
CONFIG = "benchmarks.tsv"
DATASETS = "datasets.tsv"
KINDS = {
    "comparisons": "comparison",
    "table5": "alignment",
    "table7": "clauses",
    "calibration": "calibrated",
    "proposers": "proposers",
    "helpfulness": "helpfulness",
    "seeds": "seeds",
    "cosa": "cosa",
    "pareto": "sweep",
    "judge": "judge",
    "capability": "capability",
}
"""Kind of document that a table is made of, where it is not `evaluation`."""


def register(subparsers: Subparsers) -> None:
    """Add the stage's commands."""
    table = subparsers.add_parser("table", help="a result table as CSV and Markdown")
    table.add_argument("--table", required=True, choices=TABLES)
    table.add_argument("--metrics", type=Path, nargs="+", default=[], help="JSON files of other stages")
    table.add_argument("--groups", type=Path, nargs="+", default=[], help="table1: training groups")
    table.add_argument("--rows", type=Path, nargs="+", default=[], help="table1: the rows that groups were made from")
    table.add_argument("--evaluation", type=Path, nargs="*", default=[], help="table1: rows that are evaluated on")
    table.add_argument("--scale", required=True, help="scale of the run; metrics of another scale are refused")
    table.add_argument("--config-dir", type=Path, default=Path("config"))
    table.add_argument("--output-prefix", type=Path, required=True, help="writes PREFIX.csv and PREFIX.md")
    table.set_defaults(run=run_table)
    figure = subparsers.add_parser("figure", help="a figure as PDF, PNG and CSV")
    figure.add_argument("--figure", required=True, choices=FIGURES)
    figure.add_argument(
        "--metrics", type=Path, nargs="+", default=[], help="configurability, variety, figure4, overoptimisation"
    )
    figure.add_argument("--items", type=Path, nargs="*", default=[], help="figure3, figure5 (one), strictness")
    figure.add_argument("--scores", type=Path, nargs="*", default=[], help="MODEL/BENCHMARK.jsonl files")
    figure.add_argument(
        "--statistics",
        type=Path,
        nargs="+",
        default=[],
        help="figure3: sa_statistics.json; variety: cca_statistics.json",
    )
    figure.add_argument("--logs", type=Path, nargs="+", default=[], help="training: VARIANT/log.jsonl files")
    figure.add_argument("--settings", type=Path, help="slice `metrics`; figure3, figure5, strictness")
    figure.add_argument("--seed", type=int, default=0, help="seed of the bootstrap; figure3, figure5, strictness")
    figure.add_argument("--config-dir", type=Path, default=Path("config"))
    figure.add_argument("--output-prefix", type=Path, required=True, help="writes PREFIX.pdf, .png and .csv")
    figure.set_defaults(run=run_figure)


def _outputs(prefix: Path, *suffixes: str) -> list[Path]:
    return [Path(f"{prefix}.{suffix}") for suffix in suffixes]


def run_table(options: argparse.Namespace) -> None:
    """Metrics (table1: groups) -> PREFIX.csv (long) and PREFIX.md (readable)."""
    outputs = _outputs(options.output_prefix, "csv", "md")
    settings = {"table": options.table, "scale": options.scale}
    with provenance.recording(outputs, _table_inputs(options), settings):
        text = _data_table(options) if options.table == "table1" else _metrics_table(options)
        for path, content in zip(outputs, text, strict=True):
            files.write_text(path, content)


def _table_inputs(options: argparse.Namespace) -> dict[str, Any]:
    roles = ("groups", "rows") if options.table == "table1" else ("metrics",)
    missing = [role for role in roles if not getattr(options, role)]
    if missing:
        raise ValueError(f"table {options.table!r} needs --{' --'.join(missing)}")
    config = {"datasets": DATASETS} if options.table == "table1" else {"benchmarks": CONFIG}
    tables: dict[str, Any] = {role: options.config_dir / name for role, name in config.items()}
    tables |= {"evaluation": options.evaluation} if options.evaluation else {}
    return {**{role: getattr(options, role) for role in roles}, **tables}


def _data_table(options: argparse.Namespace) -> tuple[str, str]:
    from csrm.data.tables import load_datasets
    from csrm.report.data_table import count, count_evaluation, data_table
    from csrm.rows import Group

    owners = {row["id"]: row["dataset"] for path in options.rows for row in files.read_dicts(path)}
    groups = (Group.model_validate(group) for path in options.groups for group in files.read_dicts(path))
    asked = count_evaluation(row["dataset"] for path in options.evaluation for row in files.read_dicts(path))
    return data_table(count(groups, owners) | asked, load_datasets(options.config_dir), options.scale)


def _metrics_table(options: argparse.Namespace) -> tuple[str, str]:
    """The table as (CSV, Markdown)."""
    from csrm.report import (
        alignment,
        augmentation,
        calibration,
        capability,
        clauses,
        cosa,
        helpfulness,
        judge,
        pareto,
        proposers,
        seeds,
        severity,
        summary,
        tables,
    )

    if options.table == "augmentation":
        statistics = {path.parent.name: files.read_json(path) for path in options.metrics}
        return augmentation.augmentation_table(statistics, options.scale)
    documents = _documents(options.metrics, KINDS.get(options.table, "evaluation"), options.scale)
    plain = {
        "comparisons": tables.comparison_table,
        "table5": alignment.alignment_table,
        "summary": summary.summary_table,
        "calibration": calibration.calibration_table,
        "proposers": proposers.proposer_table,
        "helpfulness": helpfulness.helpfulness_table,
        "seeds": seeds.seed_table,
        "severity": severity.severity_table,
        "cosa": cosa.cosa_table,
        "pareto": pareto.area_table,
        "judge": judge.judge_table,
        "capability": capability.capability_table,
    }
    if options.table in plain:
        return plain[options.table](documents)
    benchmarks = _benchmarks(options.config_dir)
    if options.table == "table7":
        return clauses.clause_table(documents, benchmarks)
    if options.table in tables.TABLES:
        return tables.paper_table(options.table, documents, benchmarks)
    return tables.results_table(documents, benchmarks)


def _benchmarks(config_dir: Path) -> Any:
    from csrm.bench.registry import load_benchmarks

    return load_benchmarks(config_dir)


def _documents(paths: list[Path], kind: str, scale: str | None = None) -> list[dict[str, Any]]:
    """Metrics documents of one kind, in the order of their paths; other kinds are passed over.

    Raises:
        ValueError: if a document was measured at another scale than the table's.
    """
    found = []
    for path in sorted(paths):
        document = files.read_json(path)
        if _kind(document) != kind:
            continue
        if scale is not None and document["scale"] != scale:
            raise ValueError(f"{path} was measured at scale {document['scale']!r}, the table is for {scale!r}")
        found.append(document)
    return found


def _kind(document: dict[str, Any]) -> str:
    from csrm.report import alignment, pareto

    if alignment.is_comparison(document):
        return "alignment"
    return "sweep" if pareto.is_sweep(document) else str(document.get("kind"))


def run_figure(options: argparse.Namespace) -> None:
    """Tidy table -> PREFIX.pdf, .png and .csv."""
    from csrm.report import checkpoints, figures, pareto, recall, reliability, variety
    from csrm.report.style import save, styled

    draw = {
        "figure3": recall.draw_recall,
        "figure4": pareto.draw_sweep,
        "figure5": reliability.draw_reliability,
        "configurability": figures.draw_configurability,
        "variety": variety.draw_variety,
        "training": figures.draw_training,
        "strictness": figures.draw_strictness,
        "overoptimisation": checkpoints.draw_curves,
    }[options.figure]
    outputs = _outputs(options.output_prefix, "pdf", "png", "csv")
    with provenance.recording(outputs, _figure_inputs(options), {"figure": options.figure}, options.seed):
        table = _figure_table(options)
        with styled() as plt:
            save(draw(plt, table), table, options.output_prefix)


def _figure_inputs(options: argparse.Namespace) -> dict[str, Any]:
    roles = ("metrics", "items", "scores", "logs", "statistics")
    inputs: dict[str, Any] = {role: paths for role in roles if (paths := getattr(options, role))}
    scored = {"items", "scores"}
    needs = {
        "variety": {"metrics", "statistics"},
        "figure3": {"statistics"},
        "figure5": scored,
        "strictness": scored,
        "training": {"logs"},
    }
    missing = sorted(needs.get(options.figure, {"metrics"}) - inputs.keys())
    if missing:
        raise ValueError(f"figure {options.figure!r} needs --{' --'.join(missing)}")
    if options.settings:
        inputs["settings"] = options.settings
    if options.figure in ("configurability", "variety"):
        inputs["benchmarks"] = options.config_dir / CONFIG
    return inputs


def _figure_table(options: argparse.Namespace) -> "pd.DataFrame":
    from csrm.report import checkpoints, figures, pareto, reliability, variety

    settings = read_slice(options.settings, MetricSettings) if options.settings else MetricSettings.model_validate({})
    if options.figure == "training":
        return figures.training_table(sorted(options.logs))
    if options.figure == "configurability":
        documents = _documents(options.metrics, "evaluation")
        return figures.configurability_table(documents, _benchmarks(options.config_dir))
    if options.figure == "variety":
        documents = _documents(options.metrics, "evaluation")
        categories = _categories(options.statistics, [document["model"] for document in documents])
        return variety.variety_table(documents, _benchmarks(options.config_dir), categories)
    if options.figure == "overoptimisation":
        return checkpoints.curve_table(_documents(options.metrics, "checkpoints"))
    if options.figure == "figure4":
        return pareto.sweep_table(_documents(options.metrics, "sweep"))
    items = {path.stem: files.read_rows(path, Item) for path in options.items}
    scores = [(path.parent.name, path.stem, files.read_rows(path, ScoreRow)) for path in sorted(options.scores)]
    unknown = sorted({benchmark for _, benchmark, _ in scores} - items.keys())
    if unknown:
        raise ValueError(f"--scores of {unknown} have no file of that name among --items {sorted(items)}")
    if options.figure == "figure3":
        return _recall_table(options, items, scores, settings)
    if options.figure == "strictness":
        points = figures.threshold_points(items, scores)
        return figures.strictness_table(points, settings.bootstrap, settings.level, options.seed)
    if len(items) != 1:
        raise ValueError(f"figure5 shows one benchmark, got items of {sorted(items)}")
    by_model = {model: rows for model, _, rows in scores}
    table = reliability.reliability_table(next(iter(items.values())), by_model, settings, options.seed)
    return table.assign(benchmark=next(iter(items)))


def _categories(statistics: list[Path], models: list[str]) -> dict[str, int]:
    """Categories that each model's CCA drew from; a file's folder is its draw, `train` that of all other models."""
    from csrm.variants import TRAIN

    sizes = {path.parent.name: int(files.read_json(path)["bank_categories"]) for path in statistics}
    drawn = {model: sizes.get(model.partition(SEED_MARK)[0], sizes.get(TRAIN)) for model in models}
    return {model: size for model, size in drawn.items() if size is not None}


def _recall_table(options: argparse.Namespace, items: Any, scores: Any, settings: MetricSettings) -> "pd.DataFrame":
    from csrm.report import recall

    statistics = files.read_json(options.statistics[0])
    answers = recall.asked(items, scores, settings.threshold)
    standard = statistics["standard_threshold"]
    models = recall.model_rows(answers, standard, settings.bootstrap, settings.level, options.seed)
    return recall.recall_table([*recall.algorithm_rows(statistics, settings.level), *models])
