"""Command of the clause probes: evaluate-clauses; `build-benchmark` makes their items, `score-items` asks the model."""

import argparse
from pathlib import Path


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `evaluate-clauses`."""
    parser = commands.add_parser("evaluate-clauses", help="unsafe rate and mean reward per category and clause")
    for flag in ("--items", "--scores", "--settings", "--output"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    for flag in ("--benchmark", "--model", "--scale"):
        parser.add_argument(flag, required=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Items of a clause probe and a model's scores -> one JSON document of lines."""
    from csrm.bench.clauses import clause_table
    from csrm.bench.evaluate import join
    from csrm.files import read_rows, write_json
    from csrm.provenance import recording
    from csrm.rows import Item, ScoreRow
    from csrm.settings import MetricSettings, read_slice

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    inputs = {"items": options.items, "scores": options.scores, "settings": options.settings}
    with recording([options.output], inputs, settings, options.seed):
        items = read_rows(options.items, Item)
        scores = [row.log_odds for row in join(items, read_rows(options.scores, ScoreRow))]
        lines = clause_table(items, scores, settings.threshold, settings.bootstrap, settings.level, options.seed)
        names = {"kind": "clauses", "benchmark": options.benchmark, "model": options.model, "scale": options.scale}
        write_json(options.output, {**names, "seed": options.seed, "lines": [line._asdict() for line in lines]})
