"""`csrm train`: groups in, a plain Hugging Face folder with a CSRM out."""

import argparse
from pathlib import Path
from typing import Any


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the command line."""
    parser = commands.add_parser("train", help="train a CSRM variant (section 3.3)")
    parser.add_argument("--variant", required=True, help="name in config/variants.yaml, recorded")
    parser.add_argument("--groups", nargs="+", type=Path, required=True, help="JSON lines of training groups")
    parser.add_argument("--backbone", type=Path, required=True, help="plain Hugging Face folder")
    parser.add_argument("--settings", type=Path, required=True, help="the variant's training settings")
    parser.add_argument("--seed", type=int, default=0, help="used unless the settings hold one")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> None:
    """Mix the variant's groups, train, save; `scratch` is removed once the model is saved.

    Under a launcher every process trains, and the main one alone saves.
    """
    import shutil

    from csrm.provenance import recording
    from csrm.settings import TrainSettings, read_slice
    from csrm.train.launch import is_main, launched, relaunch

    settings: TrainSettings = read_slice(options.settings, TrainSettings)
    settings = settings.model_copy(update={"variants": [options.variant]})
    if settings.launcher and not launched():
        relaunch(Path(settings.launcher), _arguments(options))
    seed = options.seed if settings.seed is None else settings.seed
    inputs = {"groups": options.groups, "backbone": options.backbone, "settings": options.settings}
    scratch = options.scratch / _fingerprint(options)
    with recording([options.output] if is_main() else [], inputs, settings, seed) as notes:
        notes.update(_train(options, settings, seed, scratch))
    if is_main():
        shutil.rmtree(scratch, ignore_errors=True)


def _train(options: argparse.Namespace, settings: Any, seed: int, scratch: Path) -> dict[str, Any]:
    import time

    from transformers import AutoTokenizer

    from csrm.model.scorer import model_card
    from csrm.model.verbalizer import resolve_verbalizer
    from csrm.train.dataset import prepare
    from csrm.train.launch import is_main
    from csrm.train.measure import measurements
    from csrm.train.trainer import resumed_step, save, train

    tokenizer = AutoTokenizer.from_pretrained(options.backbone)
    verbalizer = resolve_verbalizer(tokenizer, settings.verbalizer)
    examples, counts = prepare(tokenizer, options.groups, settings, seed)
    first = resumed_step(scratch)
    started = time.time()
    model = train(options.backbone, examples, verbalizer, settings, seed, scratch)
    seconds = time.time() - started
    if is_main():
        save(model, tokenizer, options.output, model_card(settings, options.variant), scratch / "log.jsonl")
        return {"groups": counts, **measurements(examples, settings, model.config, first, seconds)}
    return {}


def _arguments(options: argparse.Namespace) -> list[str]:
    """The command line that gives `options` again."""
    named = ("variant", "backbone", "settings", "seed", "scratch", "output")
    single = [word for name in named for word in (f"--{name}", str(getattr(options, name)))]
    return ["train", *single, "--groups", *map(str, options.groups)]


def _fingerprint(options: argparse.Namespace) -> str:
    """Name of the run's scratch folder: a digest of everything that decides its result."""
    import hashlib

    from csrm.files import sha256
    from csrm.remembered import remembered_digest

    read = [options.settings, options.backbone, *options.groups]
    parts = [options.variant, str(options.seed), *(sha256(path, remembered_digest) for path in read)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
