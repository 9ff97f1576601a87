"""Commands of the calibration step: calibrate (on validation scores), evaluate-calibration (on test scores)."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csrm.bench.metrics import Sample
    from csrm.settings import MetricSettings


def register(subparsers: Any) -> None:
    """Add the commands."""
    fit = subparsers.add_parser("calibrate", help="calibration.json of a model from its scores of a validation split")
    test = subparsers.add_parser("evaluate-calibration", help="Brier score and smECE before and after calibration")
    for parser in (fit, test):
        for flag in ("--items", "--scores", "--settings", "--output"):
            parser.add_argument(flag, type=Path, required=True)
        for flag in ("--benchmark", "--model", "--scale"):
            parser.add_argument(flag, required=True)
    test.add_argument("--calibration", type=Path, required=True, help="file of `csrm calibrate`")
    test.add_argument("--seed", type=int, required=True)
    fit.set_defaults(run=calibrate)
    test.set_defaults(run=evaluate_calibration)


def calibrate(options: argparse.Namespace) -> None:
    """Validation items and scores -> calibration.json: parameters of each method, thresholds per target FPR."""
    from csrm import files, provenance
    from csrm.bench import calibration

    settings = _settings(options)
    with provenance.recording([options.output], _inputs(options), settings):
        found = calibration.calibrate(_sample(options, settings), settings.target_fprs)
        files.write_json(options.output, {"kind": "calibration", **_names(options), **found})


def evaluate_calibration(options: argparse.Namespace) -> None:
    """Test items and scores, and a calibration -> one JSON document of metrics before and after.

    Raises:
        ValueError: if the file holds no calibration, or another model's.
    """
    from csrm import files, provenance
    from csrm.bench import calibration

    settings = _settings(options)
    inputs = {**_inputs(options), "calibration": options.calibration}
    with provenance.recording([options.output], inputs, settings, options.seed):
        fitted = calibration.read_calibration(options.calibration)
        if fitted["model"] != options.model:
            raise ValueError(f"{options.calibration} calibrates {fitted['model']!r}, not {options.model!r}")
        found = calibration.evaluate_calibration(_sample(options, settings), fitted, settings, options.seed)
        names = {"kind": "calibrated", **_names(options), "validation": fitted["benchmark"]}
        files.write_json(options.output, {**names, "validation_counts": fitted["counts"], **found})


def _settings(options: argparse.Namespace) -> "MetricSettings":
    from csrm.settings import MetricSettings, read_slice

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    return settings


def _inputs(options: argparse.Namespace) -> dict[str, Any]:
    return {"items": options.items, "scores": options.scores, "settings": options.settings}


def _names(options: argparse.Namespace) -> dict[str, str]:
    return {"benchmark": options.benchmark, "model": options.model, "scale": options.scale}


def _sample(options: argparse.Namespace, settings: "MetricSettings") -> "Sample":
    from csrm import files
    from csrm.bench.evaluate import sample_of
    from csrm.rows import Item, ScoreRow

    return sample_of(files.read_rows(options.items, Item), files.read_rows(options.scores, ScoreRow), settings)
