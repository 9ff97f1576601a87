"""Commands of the model layer: make backbones, score benchmark items, score a user's own conversations."""

import argparse
import json
from pathlib import Path
from typing import Any

from csrm.files import atomic
from csrm.model.calibrated import METHODS, calibrate_rows, open_calibration


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `make-backbone`, `score-items` and `score` to the command line."""
    make = commands.add_parser("make-backbone", help="write a backbone as a plain Hugging Face folder")
    source = make.add_mutually_exclusive_group(required=True)
    source.add_argument("--gguf", type=Path, help="GGUF file to convert")
    source.add_argument("--random", action="store_true", help="write a random two-layer model (tests)")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--output", type=Path, required=True)
    make.set_defaults(run=run_make_backbone)

    items = commands.add_parser("score-items", help="score benchmark items; the model is loaded once")
    items.add_argument("--model", required=True, help="model folder")
    items.add_argument("--items", nargs="+", type=Path, required=True)
    items.add_argument("--settings", type=Path, required=True, help="slice of the scoring settings")
    items.add_argument("--train-settings", type=Path, required=True, help="order and verbalizer of a zero-shot model")
    items.add_argument("--backend-settings", type=Path, help="slice: where to score (default: in this process)")
    items.add_argument("--served", metavar="NAME", help="name under which a server serves the model (backend openai)")
    items.add_argument("--output", nargs="+", type=Path, required=True, help="one file of scores per file of items")
    items.set_defaults(run=run_score_items)

    score = commands.add_parser("score", help="score your own conversations under your own policy")
    score.add_argument("conversations", type=Path, help='JSON lines of {"messages": [{"role": ..., "content": ...}]}')
    score.add_argument("--config", action="append", required=True, help="YAML, JSON or text file; may be repeated")
    score.add_argument("--model", default="results/models/csrm/csrm", help="model folder (default: %(default)s)")
    score.add_argument("--dtype", choices=("float32", "bfloat16", "auto"), default="float32")
    score.add_argument("--backend", choices=("transformers", "vllm", "openai"), default="transformers")
    score.add_argument("--base-url", metavar="URL", help="address of the server (backend openai)")
    score.add_argument("--served", metavar="NAME", help="name that the server gives the model (default: its folder)")
    score.add_argument("--cache-dir", metavar="DIR", help="keep what is computed of each policy (order config-first)")
    score.add_argument("--cache-memory", type=int, default=1024, metavar="MIB", help="of kept policies (default: 1024)")
    score.add_argument(
        "--max-length", type=int, default=1024, help="longest input, tokens; longer ones are cut (default: 1024)"
    )
    score.add_argument(
        "--token-budget", type=int, default=4096, help="tokens in one pass: bounds memory (default: 4096)"
    )
    score.add_argument("--calibration", type=Path, help="calibration.json of the model: calibrates p_safe and label")
    score.add_argument("--method", choices=METHODS, help="how the calibration, found by itself, calibrates (platt)")
    score.add_argument(
        "--target-fpr",
        type=float,
        metavar="RATE",
        help="label at the threshold that the calibration recommends",
    )
    score.add_argument("--output", type=Path, help="JSON lines of scores (default: standard output)")
    score.set_defaults(run=run_score)


def run_make_backbone(options: argparse.Namespace) -> None:
    """Convert a GGUF file, or write the random model."""
    from csrm.model.backbone import convert_gguf, random_backbone
    from csrm.provenance import recording

    inputs = {"gguf": options.gguf} if options.gguf else {}
    with recording([options.output], inputs, seed=options.seed) as notes:
        if options.gguf:
            notes.update(convert_gguf(options.gguf, options.output))
        else:
            notes.update(random_backbone(options.output, options.seed))


def run_score_items(options: argparse.Namespace) -> None:
    """Write one row of raw log-odds per item."""
    from csrm.files import read_rows, write_rows
    from csrm.model.scorer import CSRM, Request
    from csrm.provenance import recording
    from csrm.rows import Item, ScoreRow
    from csrm.settings import BackendSettings, ScoreSettings, TrainSettings, read_slice

    if len(options.items) != len(options.output):
        raise ValueError(f"{len(options.items)} files of items but {len(options.output)} outputs: give one output each")
    settings: ScoreSettings = read_slice(options.settings, ScoreSettings)
    if options.backend_settings:
        place = read_slice(options.backend_settings, BackendSettings)
        settings = settings.model_copy(update=place.model_dump())
    asked: TrainSettings = read_slice(options.train_settings, TrainSettings)
    model = CSRM.open(options.model, settings, asked.section_order, asked.verbalizer, options.served)
    for source, output in zip(options.items, options.output, strict=True):
        inputs = {"items": source, "model": options.model, "settings": options.settings}
        with recording([output], inputs, settings) as notes:
            items = read_rows(source, Item)
            requests = [Request(item.messages, item.config) for item in items]
            scores = model.score_requests(requests, progress=True)
            rows = [
                ScoreRow(id=item.id, log_odds=score.log_odds, n_tokens=score.n_tokens, truncated=score.truncated)
                for item, score in zip(items, scores, strict=True)
            ]
            notes.update(rows=write_rows(output, rows), truncated=sum(row.truncated for row in rows))
            notes.update(section_order=model.order, **model.backend.describe())


def run_score(options: argparse.Namespace) -> None:
    """Score conversations under each configuration; one line per conversation and configuration.

    With a calibration, `p_safe` and `label` are calibrated; `log_odds` stays raw. Without `--calibration`, `--method`
    and `--target-fpr` find the model's own (`csrm.model.calibrated`). A file of scores gets a manifest.
    """
    import sys

    from csrm.provenance import recording

    settings = _score_settings(options)
    if not options.output:
        sys.stdout.write(_scores(options, settings))
        return
    model = [Path(options.model)] if Path(options.model).is_dir() else []  # else a name of the hub, in the command
    calibration = [options.calibration] if options.calibration else []
    inputs = {"conversations": options.conversations, "config": [Path(path) for path in options.config]}
    with recording([options.output], {**inputs, "model": model, "calibration": calibration}, settings):
        text = _scores(options, settings)
        with atomic(options.output) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _scores(options: argparse.Namespace, settings: Any) -> str:
    """JSON lines of `csrm score`."""
    import sys

    from csrm.data.conversations import read_conversations
    from csrm.model.device import check_folder
    from csrm.model.scorer import CSRM

    conversations = read_conversations(options.conversations)
    configs = _load_configs(options.config)
    check_folder(options.model)
    calibration = open_calibration(options.model, options.calibration, options.method, options.target_fpr)
    model = CSRM.open(options.model, settings, name=options.served)
    if model.backend.describe().get("same_bits") is False:
        _say("scores may differ in the last bits here with what is scored together")
    if options.cache_dir:
        model.keep_configs(options.cache_dir, options.cache_memory * 2**20)
    grid = model.score_many([c.messages for c in conversations], configs, progress=sys.stderr.isatty())
    rows: list[dict[str, Any]] = [
        {"conversation": n, **({} if one.id is None else {"id": one.id}), "config": config.name, **score._asdict()}
        for n, (one, scores) in enumerate(zip(conversations, grid, strict=True))
        for config, score in zip(configs, scores, strict=True)
    ]
    if cut := sum(row["truncated"] for row in rows):
        _say(f"{cut} of {len(rows)} inputs were cut to {options.max_length} tokens (`truncated`); see --max-length")
    if calibration:
        _say(str(calibration))
        rows = calibrate_rows(rows, calibration)
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _load_configs(paths: list[str]) -> list[Any]:
    """The policies, whose names tell their scores apart."""
    from csrm.configs.safety_config import PROSE, SafetyConfig

    configs = [SafetyConfig.load(path) for path in paths]
    names = [config.name for config in configs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several policies are named {twice}: give each a `name` (YAML) or file name of its own")
    for path, config in zip(paths, configs, strict=True):
        if [category.name for category in config.categories] == [PROSE]:
            _say(f"{path} has no `S1: Name. Guideline` lines: all of it is read as the guideline of one category")
    return configs


def _say(text: str) -> None:
    import sys

    print(f"csrm score: {text}", file=sys.stderr)


def _score_settings(options: argparse.Namespace) -> Any:
    from pydantic import ValidationError

    from csrm.settings import ScoreSettings, explain

    asked = {name: getattr(options, name) for name in ("dtype", "backend", "base_url", "max_length", "token_budget")}
    try:
        return ScoreSettings.model_validate(asked)
    except ValidationError as error:
        raise ValueError(explain(error, ScoreSettings)) from None
