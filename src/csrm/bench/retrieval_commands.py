"""Command of Figure 8: evaluate-retrieval, the recall of relevant policy entries among those that BM25 retrieves."""

import argparse
from pathlib import Path


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `evaluate-retrieval`."""
    parser = commands.add_parser(
        "evaluate-retrieval", help="recall of the relevant policy entries among BM25's first k"
    )
    parser.add_argument("--rows", type=Path, required=True, help="rows with `relevant_rules`, or labelled with harms")
    parser.add_argument("--settings", type=Path, required=True, help="slice `metrics`")
    parser.add_argument("--augment-settings", type=Path, required=True, help="slice `augment` (standard threshold)")
    for flag in ("--dataset", "--scale"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Rows of a data set -> one JSON document: recall at each k."""
    from csrm.bench.retrieval import evaluate_retrieval
    from csrm.files import read_rows, write_json
    from csrm.provenance import recording
    from csrm.rows import Row
    from csrm.settings import AugmentSettings, MetricSettings, read_slice

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    augment: AugmentSettings = read_slice(options.augment_settings, AugmentSettings)
    standard = augment.standard_threshold
    used = {"bootstrap": settings.bootstrap, "level": settings.level, "standard_threshold": standard}
    inputs = {"rows": options.rows, "settings": options.settings, "augment_settings": options.augment_settings}
    with recording([options.output], inputs, used, options.seed):
        rows = read_rows(options.rows, Row)
        found = evaluate_retrieval(rows, standard, settings.bootstrap, settings.level, options.seed)
        names = {"kind": "retrieval", "dataset": options.dataset, "scale": options.scale, "seed": options.seed}
        write_json(options.output, {**names, "level": settings.level, "bootstrap": settings.bootstrap, **found})
