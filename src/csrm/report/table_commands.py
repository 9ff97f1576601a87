"""The command `csrm table`."""

import argparse
from pathlib import Path
from typing import Any

from csrm import files, provenance
from csrm.report.documents import CONFIG, outputs_of, read_benchmarks, read_documents
from csrm.settings import TrainSettings, read_slice

Subparsers = Any
TABLES = (
    "licences",
    "table1",
    "augmentation",
    "table2",
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "results",
    "literature",
    "comparisons",
    "summary",
    "calibration",
    "proposers",
    "helpfulness",
    "seeds",
    "severity",
    "subsets",
    "cosa",
    "pareto",
    "judge",
    "capability",
    "retrieval",
)
LISTS = {"datasets": "datasets.tsv", "models": "models.tsv", "guards": "guards.tsv"}
ROLES = {"table1": ("groups", "rows"), "table6": ("metrics", "variant_settings"), "licences": ("used",)}
"""Options that a table needs, where they are not `metrics` alone."""
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
    "retrieval": "retrieval",
}
"""Kind of document that a table is made of, where it is not `evaluation`."""


def add_table(subparsers: Subparsers) -> None:
    """Add the command."""
    table = subparsers.add_parser("table", help="a result table as CSV and Markdown")
    table.add_argument("--table", required=True, choices=TABLES)
    table.add_argument("--metrics", type=Path, nargs="+", default=[], help="JSON files of other stages")
    table.add_argument("--groups", type=Path, nargs="+", default=[], help="table1: training groups")
    table.add_argument("--rows", type=Path, nargs="+", default=[], help="table1: the rows that groups were made from")
    table.add_argument("--evaluation", type=Path, nargs="*", default=[], help="table1: rows that are evaluated on")
    table.add_argument(
        "--variant-settings", type=Path, nargs="+", default=[], help="table6: training settings, VARIANT.yaml"
    )
    table.add_argument("--used", nargs="+", default=[], help="licences: ROLE=ID of each data set and model in use")
    table.add_argument("--scale", required=True, help="scale of the run; metrics of another scale are refused")
    table.add_argument(
        "--changed",
        nargs="+",
        default=[],
        help="settings that differ from the files of the run's scale, such as train.steps",
    )
    table.add_argument("--config-dir", type=Path, default=Path("config"))
    table.add_argument("--output-prefix", type=Path, required=True, help="writes PREFIX.csv and PREFIX.md")
    table.set_defaults(run=run_table)


def run_table(options: argparse.Namespace) -> None:
    """Metrics (table1: groups; licences: names) -> PREFIX.csv (long) and PREFIX.md (readable)."""
    outputs = outputs_of(options.output_prefix, "csv", "md")
    settings = {"table": options.table, "scale": options.scale}
    settings |= {name: value for name in ("used", "changed") if (value := getattr(options, name))}
    make = {"table1": _data_table, "licences": _licence_table}.get(options.table, _metrics_table)
    with provenance.recording(outputs, _table_inputs(options), settings):
        text = make(options)
        for path, content in zip(outputs, text, strict=True):
            files.write_text(path, content)


def _table_inputs(options: argparse.Namespace) -> dict[str, Any]:
    roles = ROLES.get(options.table, ("metrics",))
    missing = [role for role in roles if not getattr(options, role)]
    if missing:
        raise ValueError(f"table {options.table!r} needs --{' --'.join(missing).replace('_', '-')}")
    lists = {"table1": {"datasets": LISTS["datasets"]}, "licences": LISTS}.get(options.table, {"benchmarks": CONFIG})
    tables: dict[str, Any] = {role: options.config_dir / name for role, name in lists.items()}
    tables |= {"evaluation": options.evaluation} if options.evaluation else {}
    return {**{role: getattr(options, role) for role in roles if role != "used"}, **tables}


def _licence_table(options: argparse.Namespace) -> tuple[str, str]:
    from csrm.report.licences import licence_table, parse_used

    return licence_table(parse_used(options.used), options.config_dir)


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
        comparisons,
        cosa,
        helpfulness,
        judge,
        literature,
        margins,
        pareto,
        proposers,
        retrieval,
        seeds,
        severity,
        subsets,
        summary,
        tables,
    )

    if options.table == "augmentation":
        statistics = {path.parent.name: files.read_json(path) for path in options.metrics}
        return augmentation.augmentation_table(statistics, options.scale)
    documents = [
        {**document, "changed": options.changed}
        for document in read_documents(options.metrics, KINDS.get(options.table, "evaluation"), options.scale)
    ]
    plain = {
        "comparisons": comparisons.comparison_table,
        "table5": alignment.alignment_table,
        "summary": summary.summary_table,
        "calibration": calibration.calibration_table,
        "proposers": proposers.proposer_table,
        "helpfulness": helpfulness.helpfulness_table,
        "seeds": seeds.seed_table,
        "cosa": cosa.cosa_table,
        "pareto": pareto.area_table,
        "judge": judge.judge_table,
        "capability": capability.capability_table,
        "retrieval": retrieval.retrieval_table,
    }
    if options.table in plain:
        return plain[options.table](documents)
    benchmarks = read_benchmarks(options.config_dir)
    beside = {
        "table7": clauses.clause_table,
        "severity": severity.severity_table,
        "subsets": subsets.subset_table,
        "literature": literature.literature_table,
        "results": tables.results_table,
    }
    if options.table in beside:
        return beside[options.table](documents, benchmarks)
    if options.table == "table6":
        settings = {path.stem: read_slice(path, TrainSettings) for path in options.variant_settings}
        return margins.margin_table(documents, benchmarks, settings)
    return tables.paper_table(options.table, documents, benchmarks)
