"""Commands of the helpfulness model: pairs, training, scores, the map to [0, 1], held-out accuracy."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm.files import read_dicts, read_json, read_rows, write_json, write_rows
from csrm.provenance import recording
from csrm.rows import PairRow, Row
from csrm.settings import HelpfulnessSettings, MetricSettings, read_slice

if TYPE_CHECKING:
    from csrm.align.helpfulness import Helpfulness
    from csrm.align.helpfulness_metrics import PairScore


def register(commands: Any) -> None:
    """Add the commands of this module to the subparsers of `csrm`."""
    pairs = _add(commands, "helpfulness-pairs", run_pairs, "--settings", "--seed")
    pairs.add_argument("--rows", type=Path, nargs="+", required=True, help="rows of the data sets")
    pairs.add_argument("--exclude", type=Path, nargs="*", default=[], help="prompts that H is not fitted to")
    pairs.add_argument("--output-dir", type=Path, required=True, help="gets train, validation and test.jsonl")
    train = _add(commands, "train-helpfulness", run_train, "--settings", "--seed", "--pairs", "--output")
    train.add_argument("--backbone", type=Path, required=True, help="model folder")
    train.add_argument("--scratch", type=Path, required=True, help="folder for the trainer's temporary files")
    score = _add(commands, "score-helpfulness", run_score, "--settings", "--pairs", "--output")
    score.add_argument("--model", type=Path, help="reward model folder")
    score.add_argument("--encoder", type=Path, help="sentence encoder folder, or `hash`: the proxy")
    score.add_argument("--item-cap", type=int, help="at most so many pairs, of whole prompts")
    fit = _add(commands, "map-helpfulness", run_map, "--settings", "--output")
    fit.add_argument("--scores", type=Path, required=True, help="scores of the validation pairs")
    evaluate = _add(commands, "evaluate-helpfulness", run_evaluate, "--settings", "--seed", "--output")
    for name, text in (("scores", "of the test pairs"), ("proxy", "of the same pairs by the proxy")):
        evaluate.add_argument(f"--{name}", type=Path, required=True, help=f"scores {text}")
    evaluate.add_argument("--map", type=Path, required=True, help="map of `csrm map-helpfulness`")
    evaluate.add_argument("--model", required=True, help="recorded in the result")
    evaluate.add_argument("--scale", required=True, help="recorded in the result")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Flags that name one helpfulness model: the proxy's encoder, or a reward model with its map."""
    parser.add_argument("--encoder", type=Path, help="H is the proxy: sentence encoder folder, or `hash`")
    parser.add_argument("--helpfulness", type=Path, help="H is a reward model: its folder")
    parser.add_argument("--helpfulness-map", type=Path, help="map of its scores, by `csrm map-helpfulness`")


def chosen_inputs(options: argparse.Namespace) -> dict[str, Path]:
    """Files of the helpfulness model that `add_choice`'s flags name; the encoder `hash` is no file.

    Raises:
        ValueError: if they name none, or both.
    """
    model = {"helpfulness": options.helpfulness, "helpfulness_map": options.helpfulness_map}
    if options.encoder and not any(model.values()):
        return {} if str(options.encoder) == "hash" else {"encoder": options.encoder}
    if not options.encoder and all(model.values()):
        return model
    raise ValueError("give --encoder (H is the proxy), or --helpfulness with --helpfulness-map (H is a reward model)")


def chosen(options: argparse.Namespace) -> "Helpfulness":
    """The helpfulness model that `add_choice`'s flags name."""
    from csrm.align.helpfulness import Proxy, RewardHelpfulness
    from csrm.augment.encoder import load_encoder

    if options.encoder:
        return Proxy(load_encoder(options.encoder))
    return RewardHelpfulness.open(options.helpfulness, options.helpfulness_map)


def run_pairs(options: argparse.Namespace) -> None:
    """Build helpfulness pairs and split them by prompt."""
    from csrm.align.helpfulness_pairs import PARTS, split_helpfulness
    from csrm.data.leaks import benchmark_keys

    settings = read_slice(options.settings, HelpfulnessSettings)
    outputs = [options.output_dir / f"{part}.jsonl" for part in PARTS]
    inputs = {"rows": options.rows, "excluded": options.exclude, "settings": options.settings}
    with recording(outputs, inputs, settings, options.seed) as notes:
        rows = [row for path in options.rows for row in _rows(path)]
        splits = split_helpfulness(rows, settings, options.seed, benchmark_keys(options.exclude))
        for part, output in zip(PARTS, outputs, strict=True):
            write_rows(output, splits.parts[part])
        notes.update(splits.notes)


def run_train(options: argparse.Namespace) -> None:
    """Train the helpfulness model on pairs with TRL's RewardTrainer."""
    from csrm.align.helpfulness_train import train_helpfulness

    settings = read_slice(options.settings, HelpfulnessSettings)
    inputs = {"backbone": options.backbone, "pairs": options.pairs, "settings": options.settings}
    with recording([options.output], inputs, settings, options.seed) as notes:
        pairs = read_rows(options.pairs, PairRow)
        trained = train_helpfulness(options.backbone, pairs, settings, options.seed, options.scratch, options.output)
        write_rows(options.output / "log.jsonl", trained.log)
        notes.update(trained.notes)


def run_score(options: argparse.Namespace) -> None:
    """Score both responses of each pair by a reward model, or by the proxy."""
    from csrm.data.prepare import cap

    settings = read_slice(options.settings, HelpfulnessSettings)
    if bool(options.model) == bool(options.encoder):
        raise ValueError("give either --model (a reward model) or --encoder (the proxy)")
    named = {"model": options.model, "encoder": options.encoder}
    inputs = {name: path for name, path in named.items() if path and str(path) != "hash"}
    with recording([options.output], {**inputs, "pairs": options.pairs}, settings) as notes:
        pairs = read_rows(options.pairs, PairRow)
        rows = _scored(cap(pairs, options.item_cap), options, settings)
        written = write_rows(options.output, (row.model_dump() for row in rows))
        notes.update(pairs=written, dropped={"item_cap": len(pairs) - written})


def run_map(options: argparse.Namespace) -> None:
    """Fit the map from raw scores to H in [0, 1] on validation pairs."""
    from csrm.align.helpfulness_metrics import PairScore, fit_map

    settings = read_slice(options.settings, HelpfulnessSettings)
    with recording([options.output], {"scores": options.scores}, settings) as notes:
        rows = read_rows(options.scores, PairScore)
        fit = fit_map(rows, settings.dtype)
        counts = {"n": len(rows), "n_prompts": len({row.prompt_id for row in rows})}
        losses = {"pair_loss_raw": fit.loss_raw, "pair_loss": fit.loss}
        write_json(options.output, {"map": fit.map.model_dump(), **counts, **losses})
        notes.update(**counts, **losses)


def run_evaluate(options: argparse.Namespace) -> None:
    """Held-out pair accuracy of a helpfulness model beside length and the proxy."""
    from csrm.align.helpfulness_metrics import PairScore, ScoreMap, evaluate_helpfulness

    settings = read_slice(options.settings, MetricSettings)
    inputs = {"scores": options.scores, "proxy": options.proxy, "map": options.map}
    with recording([options.output], inputs, settings, options.seed):
        rows, proxy = read_rows(options.scores, PairScore), read_rows(options.proxy, PairScore)
        mapped = ScoreMap.model_validate(read_json(options.map)["map"])
        result = evaluate_helpfulness(rows, proxy, mapped, settings, options.seed)
        identity = {"kind": "helpfulness", "model": options.model, "scale": options.scale, "seed": options.seed}
        write_json(options.output, {**identity, "level": settings.level, **result})


def _scored(pairs: list[PairRow], options: argparse.Namespace, settings: HelpfulnessSettings) -> "list[PairScore]":
    from csrm.align.helpfulness import helpfulness
    from csrm.align.helpfulness_metrics import PairScore
    from csrm.align.helpfulness_model import RewardModel
    from csrm.augment.encoder import load_encoder

    prompts = [pair.prompt for pair in pairs] * 2
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    if options.model:
        values = RewardModel.open(options.model, settings.dtype).scores(prompts, responses)
    else:
        values = helpfulness(prompts, responses, load_encoder(options.encoder))
    return [
        PairScore(
            id=pair.id,
            prompt_id=pair.prompt_id,
            dataset=pair.dataset,
            chosen=float(high),
            rejected=float(low),
            words_chosen=len(pair.chosen.split()),
            words_rejected=len(pair.rejected.split()),
        )
        for pair, high, low in zip(pairs, values[: len(pairs)], values[len(pairs) :], strict=True)
    ]


def _rows(path: Path) -> list[Row] | list[PairRow]:
    """Rows of one data set: labelled ones have messages, pairs have two responses."""
    first = next(read_dicts(path), {})
    return read_rows(path, Row) if "messages" in first else read_rows(path, PairRow)


def _add(commands: Any, name: str, run: Any, *flags: str) -> Any:
    known: dict[str, dict[str, Any]] = {
        "--settings": {"type": Path, "required": True, "help": "the stage's slice: helpfulness, metrics to evaluate"},
        "--seed": {"type": int, "default": 0, "help": "seed of all draws"},
        "--pairs": {"type": Path, "required": True, "help": "pairs of `csrm helpfulness-pairs`"},
        "--output": {"type": Path, "required": True, "help": "file or folder to write"},
    }
    parser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    for flag in flags:
        parser.add_argument(flag, **known[flag])
    parser.set_defaults(run=run)
    return parser
