"""Commands of the bench stage: build-benchmark, evaluate, compare; baselines are in `csrm.bench.baseline_commands`."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from csrm import files, provenance
from csrm.rows import Item, ScoreRow
from csrm.settings import AugmentSettings, DataSettings, MetricSettings, read_slice

Subparsers = Any


def register(subparsers: Subparsers) -> None:
    """Add the stage's commands."""
    from csrm.bench import baseline_commands, calibration_commands

    _add_build(subparsers)
    baseline_commands.register(subparsers)
    _add_evaluate(subparsers)
    calibration_commands.register(subparsers)
    _add_compare(subparsers)
    _add_seeds(subparsers)


def _command(subparsers: Subparsers, name: str, summary: str, run: Callable[..., None]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def _add_build(subparsers: Subparsers) -> None:
    parser = _command(subparsers, "build-benchmark", "make the items of a benchmark", build_benchmark)
    parser.add_argument("--benchmark", required=True, help="id in config/benchmarks.tsv")
    parser.add_argument("--config-dir", type=Path, default=Path("config"))
    parser.add_argument("--rows", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--seen",
        type=Path,
        nargs="*",
        default=[],
        help="splits that models are trained or calibrated on: rows with their prompts are dropped and counted",
    )
    parser.add_argument("--settings", type=Path, required=True, help="slice `augment`")
    parser.add_argument("--data-settings", type=Path, required=True, help="slice `data` (held-out families)")
    parser.add_argument("--item-cap", type=int, help="at most so many items, whole prompts (default: all)")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--encoder", help="model folder or `hash`; for strictness pairs without severity levels")
    parser.add_argument("--output", type=Path, required=True)


def _add_evaluate(subparsers: Subparsers) -> None:
    parser = _command(subparsers, "evaluate", "metrics with intervals from items and scores", evaluate)
    for flag in ("--items", "--scores", "--settings", "--output"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    for flag in ("--benchmark", "--model", "--scale"):
        parser.add_argument(flag, required=True)


def _add_compare(subparsers: Subparsers) -> None:
    parser = _command(subparsers, "compare", "paired differences between two models on the same items", compare)
    for flag in ("--items", "--scores-a", "--scores-b", "--settings", "--output"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    for flag in ("--benchmark", "--model-a", "--model-b", "--scale"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--metrics", nargs="+", default=["auroc", "conditional_auroc", "pair_accuracy"])


def _add_seeds(subparsers: Subparsers) -> None:
    parser = _command(subparsers, "evaluate-seeds", "one variant over several seeds, against the reference", seeds)
    for flag in ("--items", "--settings", "--output"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="of the variant, one file a seed")
    parser.add_argument("--reference", type=Path, nargs="*", default=[], help="of the reference, the same seeds")
    parser.add_argument("--seed", type=int, required=True)
    for flag in ("--benchmark", "--model", "--scale"):
        parser.add_argument(flag, required=True)


def build_benchmark(options: argparse.Namespace) -> None:
    """Rows of the benchmark's data set or taxonomy -> items, capped deterministically."""
    from csrm.bench.assemble import config_paths, make_items
    from csrm.bench.build import cap_items, rare_labels
    from csrm.bench.registry import get_benchmark

    benchmark = get_benchmark(options.config_dir, options.benchmark)
    augment = read_slice(options.settings, AugmentSettings)
    data = read_slice(options.data_settings, DataSettings)
    inputs: dict[str, Any] = {
        "benchmarks": options.config_dir / "benchmarks.tsv",
        "rows": options.rows,
        "settings": [options.settings, options.data_settings],
    }
    if paths := config_paths(benchmark, options.config_dir):
        inputs["config"] = paths
    if options.seen:
        inputs["seen"] = options.seen
    if options.encoder and Path(options.encoder).exists():
        inputs["encoder"] = options.encoder
    used = {"benchmark": benchmark.model_dump(), "augment": augment.model_dump(), "item_cap": options.item_cap}
    used["held_out"] = data.held_out
    with provenance.recording([options.output], inputs, used, options.seed) as notes:
        items = make_items(benchmark, options, augment, data.held_out, notes)
        if not items:
            raise ValueError(f"benchmark {benchmark.id!r}: no items from {[str(p) for p in options.rows]}; {notes}")
        kept = cap_items(items, options.item_cap)
        for warning in rare_labels(benchmark.id, items, kept):
            print(warning, file=sys.stderr)
        files.write_rows(options.output, kept)
        notes.update(items=len(kept), dropped_by_item_cap=len(items) - len(kept))
        notes["labels"] = dict(sorted(Counter(str(item.label) for item in kept).items()))
        notes["subsets"] = dict(sorted(Counter(item.subset for item in kept).items()))


def evaluate(options: argparse.Namespace) -> None:
    """Items and scores -> one JSON document of metrics."""
    from csrm.bench import evaluate as evaluation

    settings = read_slice(options.settings, MetricSettings)
    inputs = {"items": options.items, "scores": options.scores, "settings": options.settings}
    with provenance.recording([options.output], inputs, settings, options.seed):
        items, scores = files.read_rows(options.items, Item), files.read_rows(options.scores, ScoreRow)
        names = {"kind": "evaluation", "benchmark": options.benchmark, "model": options.model, "scale": options.scale}
        found = evaluation.evaluate(items, scores, settings, options.seed)
        files.write_json(options.output, {**names, "items": evaluation.item_set(options.items), **found})


def compare(options: argparse.Namespace) -> None:
    """Items and two models' scores -> differences a - b with intervals."""
    from csrm.bench import evaluate as evaluation

    settings = read_slice(options.settings, MetricSettings)
    scores = [options.scores_a, options.scores_b]
    inputs = {"items": options.items, "scores": scores, "settings": options.settings}
    with provenance.recording([options.output], inputs, settings, options.seed):
        items = files.read_rows(options.items, Item)
        a, b = (files.read_rows(path, ScoreRow) for path in scores)
        found = evaluation.compare(items, a, b, settings, options.seed, options.metrics)
        names = {"kind": "comparison", "benchmark": options.benchmark, "scale": options.scale}
        models = {"model_a": options.model_a, "model_b": options.model_b}
        files.write_json(options.output, {**names, **models, **found})


def seeds(options: argparse.Namespace) -> None:
    """Items and the scores of each seed -> one JSON document of means."""
    from csrm.bench.seeds import over_seeds

    settings = read_slice(options.settings, MetricSettings)
    inputs = {"items": options.items, "scores": options.scores, "settings": options.settings}
    inputs |= {"reference": options.reference} if options.reference else {}
    with provenance.recording([options.output], inputs, settings, options.seed):
        items = files.read_rows(options.items, Item)
        own, others = (
            [files.read_rows(path, ScoreRow) for path in paths] for paths in (options.scores, options.reference)
        )
        names = {"kind": "seeds", "benchmark": options.benchmark, "model": options.model, "scale": options.scale}
        models = {"seed": options.seed, "models": [path.parent.name for path in options.scores]}
        metrics = over_seeds(items, own, others or None, settings, options.seed)
        files.write_json(options.output, {**names, **models, "metrics": metrics})
