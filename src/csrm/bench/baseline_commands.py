"""Commands of the baselines: fit-baseline, score-baseline, score-guard."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm.bench.guards.tasks import TASKS

if TYPE_CHECKING:
    from csrm.augment.encoder import TextEncoder


def register(subparsers: Any) -> None:
    """Add the commands."""
    fit = subparsers.add_parser("fit-baseline", help="fit a trained baseline on the augmented training groups")
    fit.add_argument("--baseline", required=True, help="a trained line of csrm.bench.baselines.BASELINES")
    fit.add_argument("--groups", type=Path, nargs="+", required=True)
    fit.add_argument("--encoder", help="model folder or `hash`; for the MiniLM baselines")
    fit.add_argument("--output", type=Path, required=True)
    fit.set_defaults(run=fit_baseline)
    score = subparsers.add_parser("score-baseline", help="score items with a baseline")
    score.add_argument("--baseline", required=True, help="a line of csrm.bench.baselines.BASELINES")
    score.add_argument("--items", type=Path, nargs="+", required=True)
    score.add_argument("--encoder", help="model folder or `hash`; for the MiniLM baselines")
    score.add_argument("--fitted", type=Path, help="file of `csrm fit-baseline`; for the trained baselines")
    score.add_argument("--output", type=Path, nargs="+", required=True, help="one file per file of items")
    score.set_defaults(run=score_baseline)
    guard = subparsers.add_parser("score-guard", help="score items with a guard model in its own prompt format")
    guard.add_argument("--guard", required=True, help="id in config/guards.tsv")
    guard.add_argument("--config-dir", type=Path, default=Path("config"))
    guard.add_argument("--model", type=Path, required=True, help="Hugging Face folder of the guard")
    guard.add_argument("--items", type=Path, nargs="+", required=True)
    guard.add_argument("--task", choices=TASKS, default="response", help="what the labels judge (default: response)")
    guard.add_argument("--settings", type=Path, required=True, help="slice `score`")
    guard.add_argument("--backend-settings", type=Path, help="slice: where to score (default: in this process)")
    guard.add_argument("--served", metavar="NAME", help="name under which a server serves the guard (backend openai)")
    guard.add_argument("--output", type=Path, nargs="+", required=True, help="one file per file of items")
    guard.set_defaults(run=score_guard)


def read_encoder(name: str | None) -> "TextEncoder | None":
    """The encoder of `--encoder`, or none."""
    if name is None:
        return None
    from csrm.augment.encoder import load_encoder

    return load_encoder(name)


def fit_baseline(options: argparse.Namespace) -> None:
    """Augmented training groups -> a fitted probe."""
    from csrm import files, provenance
    from csrm.bench import probes
    from csrm.bench.baselines import get_baseline
    from csrm.rows import Group

    encodes = get_baseline(options.baseline).encoder
    inputs: dict[str, Any] = {"groups": options.groups}
    if encodes and options.encoder and Path(options.encoder).exists():
        inputs["encoder"] = options.encoder
    with provenance.recording([options.output], inputs, {"baseline": options.baseline}) as notes:
        groups = [group for path in options.groups for group in files.read_rows(path, Group)]
        encoder = read_encoder(options.encoder) if encodes else None
        probe, counts = probes.fit(options.baseline, groups, encoder)
        probes.save(probe, options.output)
        notes.update(groups=len(groups), **counts)


def score_baseline(options: argparse.Namespace) -> None:
    """Items -> score rows of a baseline, one output per input."""
    from csrm import files, provenance
    from csrm.bench import baselines, probes
    from csrm.rows import Item

    _one_output_each(options)
    baseline = baselines.get_baseline(options.baseline)
    inputs: dict[str, Any] = {"items": options.items}
    if baseline.encoder and options.encoder and Path(options.encoder).exists():
        inputs["encoder"] = options.encoder
    if baseline.trained and options.fitted:
        inputs["fitted"] = options.fitted
    with provenance.recording(options.output, inputs, {"baseline": options.baseline}) as notes:
        encoder = read_encoder(options.encoder) if baseline.encoder else None
        fitted = probes.load(options.fitted) if "fitted" in inputs else None
        for source, target in zip(options.items, options.output, strict=True):
            items = files.read_rows(source, Item)
            tools = baselines.Tools(encoder, fitted)
            scores = baselines.score_baseline(options.baseline, items, tools, progress=True)
            notes[target.as_posix()] = files.write_rows(target, scores)
            notes["truncated"] = notes.get("truncated", 0) + sum(score.truncated for score in scores)


def score_guard(options: argparse.Namespace) -> None:
    """Items -> score rows of a guard model, one output per input; answers without a verdict are counted."""
    from csrm import files, provenance
    from csrm.bench.guards.scorer import GuardScorer
    from csrm.bench.guards.table import get_guard, weights
    from csrm.rows import Item
    from csrm.settings import BackendSettings, ScoreSettings, read_slice

    _one_output_each(options)
    guard = get_guard(options.config_dir, options.guard)
    settings: ScoreSettings = read_slice(options.settings, ScoreSettings)
    folder = weights(guard, options.model)
    if options.backend_settings:
        settings = settings.model_copy(update=read_slice(options.backend_settings, BackendSettings).model_dump())
    scorer = GuardScorer.open(guard, folder, settings, options.task, options.served)
    inputs: dict[str, Any] = {"items": options.items, "model": options.model, "settings": options.settings}
    inputs["guards"] = options.config_dir / "guards.tsv"
    with provenance.recording(options.output, inputs, {"guard": guard.model_dump(), "task": options.task}) as notes:
        for source, target in zip(options.items, options.output, strict=True):
            rows = scorer.score(files.read_rows(source, Item), progress=True)
            files.write_rows(target, rows)
            notes[target.as_posix()] = {
                "rows": len(rows),
                "truncated": sum(row.truncated for row in rows),
                "unparsed": sum(not row.parsed for row in rows),
            }
        notes["system_prompt"] = "ours" if scorer.fitter.system is None else "system_prompt.txt"
        notes.update(scorer.describe())


def _one_output_each(options: argparse.Namespace) -> None:
    if len(options.items) != len(options.output):
        raise ValueError(f"{len(options.items)} files of items but {len(options.output)} outputs: give one output each")
