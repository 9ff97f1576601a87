"""Commands of the data layer: fetch, prepare, split, split-pairs, check-leaks, pin-data."""

import argparse
from pathlib import Path
from typing import Any

from csrm.provenance import recording


def register(commands: Any) -> None:
    """Add the data commands to the parser."""
    _fetch_arguments(commands.add_parser("fetch", help="download the raw files of a data set or model, verified"))
    _prepare_arguments(commands.add_parser("prepare", help="turn a data set's raw files into rows"))
    splitter = commands.add_parser("split", help="split labelled conversations by prompt")
    _split_arguments(splitter)
    splitter.set_defaults(run=run_split)
    splitter = commands.add_parser("split-pairs", help="split response pairs by prompt")
    _split_arguments(splitter)
    splitter.set_defaults(run=run_split_pairs)
    _leak_arguments(commands.add_parser("check-leaks", help="fail if a training prompt occurs in a benchmark"))
    _pin_arguments(commands.add_parser("pin-data", help="verify data/raw against data.dvc and fill DVC's cache"))


def run_fetch(options: argparse.Namespace) -> None:
    """Fetch one raw folder."""
    from csrm.data import tables
    from csrm.data.fetch import fetch

    if options.dataset:
        entry = tables.get(tables.load_datasets(options.config_dir), options.dataset, "datasets.tsv")
    else:
        entry = tables.get(tables.load_models(options.config_dir), options.model, "models.tsv")
    files = tables.load_files(options.config_dir, entry.raw) if entry.raw else []
    with recording([options.output], {}, entry) as notes:
        notes.update(fetch(entry, files, options.output))


def run_prepare(options: argparse.Namespace) -> None:
    """Write the rows of one data set."""
    from csrm.data import tables
    from csrm.data.prepare import prepare
    from csrm.data.sources import fixture_path, input_paths, load_fixture, load_parts
    from csrm.files import write_rows
    from csrm.settings import DataSettings, read_slice

    settings = read_slice(options.settings, DataSettings)
    dataset = tables.get(tables.load_datasets(options.config_dir), options.dataset, "datasets.tsv")
    place = (dataset, options.config_dir, options.raw, options.data_root)
    if options.fixture:
        parts, paths = load_fixture(dataset.id), [fixture_path(dataset.id)]
        dataset = dataset.model_copy(update={"id": f"{dataset.id}-fixture", "licence": "Apache-2.0"})
    else:
        parts, paths = load_parts(*place), input_paths(*place)
    with recording([options.output], {"raw": paths, "settings": options.settings}, settings) as notes:
        rows, counts = prepare(dataset, parts, settings)
        notes.update(counts, dataset=dataset.id, licence=dataset.licence)
        write_rows(options.output, rows)


def run_split(options: argparse.Namespace) -> None:
    """Write train.jsonl, validation.jsonl and test.jsonl."""
    from csrm.data.split import split
    from csrm.rows import Row

    _run_splitter(options, split, Row, ("train", "validation", "test"))


def run_split_pairs(options: argparse.Namespace) -> None:
    """Write train.jsonl and test.jsonl of response pairs."""
    from csrm.data.split import split_pairs
    from csrm.rows import PairRow

    _run_splitter(options, split_pairs, PairRow, ("train", "test"))


def run_check_leaks(options: argparse.Namespace) -> None:
    """Write the report, or fail on a shared prompt."""
    from csrm.data.leaks import check_leaks
    from csrm.files import write_json

    inputs = {"train": options.train, "benchmark": options.benchmarks}
    with recording([options.output], inputs) as notes:
        report = check_leaks(options.train, options.benchmarks)
        notes.update(report)
        write_json(options.output, report)


def run_pin_data(options: argparse.Namespace) -> None:
    """Verify the raw folders, fill DVC's cache, and write what was found."""
    from csrm.data import pin
    from csrm.files import write_json

    found = pin.update(options.pins) if options.update else pin.pin(options.pins)
    if options.output:
        with recording([options.output], {"pins": options.pins}) as notes:
            notes.update(found)
            write_json(options.output, found)
    for raw_id, state in sorted(found.items()):
        print(f"{raw_id}: {state}")


def _run_splitter(options: argparse.Namespace, splitter: Any, model: Any, names: tuple[str, ...]) -> None:
    from csrm.data.leaks import benchmark_keys
    from csrm.files import read_rows, write_rows
    from csrm.settings import DataSettings, read_slice

    settings = read_slice(options.settings, DataSettings)
    outputs = [options.output_dir / f"{name}.jsonl" for name in names]
    inputs = {"rows": options.rows, "excluded": options.exclude, "settings": options.settings}
    with recording(outputs, inputs, settings, options.seed) as notes:
        rows = [row for path in options.rows for row in read_rows(path, model)]
        splits, counts = splitter(rows, settings, options.seed, benchmark_keys(options.exclude))
        notes.update(counts)
        for name, output in zip(names, outputs, strict=True):
            write_rows(output, splits[name])


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="id in datasets.tsv; sets that share a raw folder are fetched together")
    what.add_argument("--model", help="id in models.tsv")
    _config_dir(parser)
    parser.add_argument("--output", type=Path, required=True, help="raw folder, e.g. data/raw/pyrit")
    parser.set_defaults(run=run_fetch)


def _prepare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="id in datasets.tsv")
    parser.add_argument("--raw", type=Path, help="raw folder made by `csrm fetch` (pypi, hub)")
    parser.add_argument("--data-root", type=Path, help="local mirror in hub layout, read in place")
    parser.add_argument("--fixture", action="store_true", help="read the placeholder rows of the schema instead")
    _config_dir(parser)
    parser.add_argument("--settings", type=Path, required=True, help="slice of the data settings")
    parser.add_argument("--output", type=Path, required=True, help="rows, JSON lines")
    parser.set_defaults(run=run_prepare)


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", type=Path, required=True, help="slice of the data settings")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=Path, nargs="+", required=True, help="rows of the training sets")
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="*",
        default=[],
        help="files whose prompts may not be trained on: benchmarks, and the rows' validation and test for pairs",
    )
    parser.add_argument("--output-dir", type=Path, required=True)


def _leak_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="training rows, pairs or groups")
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True, help="benchmark items or rows")
    parser.add_argument("--output", type=Path, required=True, help="report, JSON")
    parser.set_defaults(run=run_check_leaks)


def _pin_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pins", type=Path, default=Path("data.dvc"), help="the pins (default: data.dvc)")
    parser.add_argument("--update", action="store_true", help="rewrite the pins from the folders on disk")
    parser.add_argument("--output", type=Path, help="what was found, JSON")
    parser.set_defaults(run=run_pin_data)


def _config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-dir", type=Path, default=Path("config"), help="folder of the tables (default: config)"
    )
