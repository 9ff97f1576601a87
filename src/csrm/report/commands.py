"""Commands of the report stage: figure; tables are in `csrm.report.table_commands`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm import files, provenance
from csrm.report.documents import CONFIG, outputs_of, read_benchmarks, read_documents
from csrm.report.table_commands import add_table
from csrm.rows import Item, ScoreRow
from csrm.settings import SEED_MARK, MetricSettings, read_slice

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (
    *("figure3", "figure4", "figure5", "figure8", "configurability", "variety", "training", "strictness"),
    "overoptimisation",
)
SCALED = ("figure3", "figure5", "strictness", "training")
"""Figures whose inputs do not say at which scale they were made."""


def register(subparsers: Any) -> None:
    """Add the stage's commands."""
    add_table(subparsers)
    figure = subparsers.add_parser("figure", help="a figure as PDF, PNG and CSV")
    figure.add_argument("--figure", required=True, choices=FIGURES)
    figure.add_argument("--metrics", type=Path, nargs="+", default=[], help="figures not named below; variety")
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
    figure.add_argument("--scale", help="scale of the run; figure3, figure5, strictness, training")
    figure.add_argument("--config-dir", type=Path, default=Path("config"))
    figure.add_argument("--output-prefix", type=Path, required=True, help="writes PREFIX.pdf, .png and .csv")
    figure.set_defaults(run=run_figure)


def run_figure(options: argparse.Namespace) -> None:
    """Tidy table -> PREFIX.pdf, .png and .csv."""
    from csrm.report import checkpoints, figures, pareto, recall, reliability, retrieval, variety
    from csrm.report.style import save, styled

    draw = {
        "figure3": recall.draw_recall,
        "figure4": pareto.draw_sweep,
        "figure5": reliability.draw_reliability,
        "figure8": retrieval.draw_retrieval,
        "configurability": figures.draw_configurability,
        "variety": variety.draw_variety,
        "training": figures.draw_training,
        "strictness": figures.draw_strictness,
        "overoptimisation": checkpoints.draw_curves,
    }[options.figure]
    outputs = outputs_of(options.output_prefix, "pdf", "png", "csv")
    settings = {"figure": options.figure, **({"scale": options.scale} if options.scale else {})}
    with provenance.recording(outputs, _figure_inputs(options), settings, options.seed):
        table = _figure_table(options)
        told = {"source": f"measured@{options.scale}", "seed": options.seed}
        table = table.assign(**{name: value for name, value in told.items() if name not in table})
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
        "figure8": set(),
        "strictness": scored,
        "training": {"logs"},
    }
    missing = sorted(needs.get(options.figure, {"metrics"}) - inputs.keys())
    if options.figure in SCALED and not options.scale:
        missing.append("scale")
    if missing:
        raise ValueError(f"figure {options.figure!r} needs --{' --'.join(missing)}")
    if options.settings:
        inputs["settings"] = options.settings
    if options.figure in ("configurability", "variety"):
        inputs["benchmarks"] = options.config_dir / CONFIG
    return inputs


def _figure_table(options: argparse.Namespace) -> "pd.DataFrame":
    from csrm.report import checkpoints, figures, pareto, reliability, retrieval, variety

    settings = read_slice(options.settings, MetricSettings) if options.settings else MetricSettings.model_validate({})
    if options.figure == "training":
        return figures.training_table(sorted(options.logs))
    if options.figure == "configurability":
        documents = read_documents(options.metrics, "evaluation")
        return figures.configurability_table(documents, read_benchmarks(options.config_dir))
    if options.figure == "variety":
        documents = read_documents(options.metrics, "evaluation")
        categories = _categories(options.statistics, [document["model"] for document in documents])
        return variety.variety_table(documents, read_benchmarks(options.config_dir), categories)
    if options.figure == "overoptimisation":
        return checkpoints.curve_table(read_documents(options.metrics, "checkpoints"))
    if options.figure == "figure8":
        return retrieval.retrieval_frame(read_documents(options.metrics, "retrieval"))
    if options.figure == "figure4":
        return pareto.sweep_table(read_documents(options.metrics, "sweep"))
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
