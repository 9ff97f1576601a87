"""Commands of the manual audit of SA (App. D): `csrm strictness-sheet`, `csrm strictness-agreement`."""

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the commands to the parser."""
    text = "a blind CSV sheet of sampled strict/lenient pairs; give each annotator a copy"
    export = commands.add_parser("strictness-sheet", help=text, description=text)
    export.add_argument("--groups", type=Path, required=True, help="SA groups (sa.jsonl)")
    export.add_argument("--pairs", type=int, default=100, help="pairs to sample (default: 100, as in the paper)")
    export.add_argument("--seed", type=int, required=True)
    export.add_argument("--output", type=Path, required=True, help="CSV; annotators fill column `stricter`")
    export.set_defaults(run=run_sheet)
    text = "agreement and Cohen's kappa of filled sheets, with the intended order and with each other"
    agreement = commands.add_parser("strictness-agreement", help=text, description=text)
    agreement.add_argument("--sheets", type=Path, nargs="+", required=True, help="filled sheets, one an annotator")
    agreement.add_argument("--groups", type=Path, required=True, help="the groups that the sheet was exported from")
    agreement.add_argument("--settings", type=Path, help="the metrics slice (resamples, level)")
    agreement.add_argument("--seed", type=int, required=True, help="seed of the bootstrap")
    agreement.add_argument("--output", type=Path, required=True, help="JSON")
    agreement.set_defaults(run=run_agreement)


def run_sheet(options: argparse.Namespace) -> None:
    """Write an empty sheet."""
    from csrm.augment.agreement import sheet
    from csrm.files import read_rows, write_text
    from csrm.provenance import recording
    from csrm.rows import Group

    if options.pairs < 1:
        raise ValueError(f"--pairs must be at least 1, got {options.pairs}")
    with recording([options.output], {"groups": options.groups}, {"pairs": options.pairs}, options.seed):
        write_text(options.output, sheet(read_rows(options.groups, Group), options.pairs, options.seed))


def run_agreement(options: argparse.Namespace) -> None:
    """Read filled sheets; write and print agreement and kappa."""
    from csrm.augment.agreement import key, read_sheet, score
    from csrm.files import read_rows, write_json
    from csrm.provenance import recording
    from csrm.rows import Group
    from csrm.settings import MetricSettings, read_slice

    names = [path.stem for path in options.sheets]
    if len(set(names)) < len(names):
        raise ValueError(f"--sheets {names}: give each annotator's file another name")
    settings = read_slice(options.settings, MetricSettings) if options.settings else MetricSettings.model_validate({})
    inputs: dict[str, Any] = {"sheets": options.sheets, "groups": options.groups}
    if options.settings:
        inputs["settings"] = options.settings
    with recording([options.output], inputs, settings, options.seed) as notes:
        sheets = {name: read_sheet(path) for name, path in zip(names, options.sheets, strict=True)}
        judged = key(sheets[names[0]], read_rows(options.groups, Group))
        answers = {name: {i: line["stricter"] for i, line in lines.items()} for name, lines in sheets.items()}
        found = score(answers, judged, settings.bootstrap, settings.level, options.seed)
        write_json(options.output, found)
        notes.update(pairs=found["pairs"])
    print("\n".join(summary(found)))


def summary(found: dict[str, Any]) -> list[str]:
    """The result in lines for reading."""
    lines = [f"{found['pairs']} pairs of {found['prompts']} prompts"]
    compared = {f"{name} with the intended order": e for name, e in found["with_intended_order"].items()}
    for name, estimates in {**compared, **found["annotators"]}.items():
        parts = [f"{metric} {_shown(estimate)}" for metric, estimate in estimates.items()]
        lines.append(f"{name}: {', '.join(parts)}")
    return lines


def _shown(estimate: dict[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined (one value only)"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
