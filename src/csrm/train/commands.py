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
    """Mix the variant's groups, train, save; `scratch` is removed once the model is saved."""
    import shutil

    from csrm.provenance import recording
    from csrm.settings import TrainSettings, read_slice

    settings = read_slice(options.settings, TrainSettings)
    seed = options.seed if settings.seed is None else settings.seed
    inputs = {"groups": options.groups, "backbone": options.backbone, "settings": options.settings}
    scratch = options.scratch / _fingerprint(options)
    with recording([options.output], inputs, settings, seed) as notes:
        notes.update(_train(options, settings, seed, scratch))
    shutil.rmtree(scratch, ignore_errors=True)


def _train(options: argparse.Namespace, settings: Any, seed: int, scratch: Path) -> dict[str, Any]:
    import time

    from transformers import AutoTokenizer

    from csrm.augment.mix import by_source, mix
    from csrm.files import read_rows
    from csrm.model.scorer import model_card
    from csrm.model.verbalizer import resolve_verbalizer
    from csrm.rows import Group
    from csrm.train.dataset import encode_group, sort_within_batches
    from csrm.train.trainer import save, train

    tokenizer = AutoTokenizer.from_pretrained(options.backbone)
    verbalizer = resolve_verbalizer(tokenizer, settings.verbalizer)
    sources = by_source(group for path in options.groups for group in read_rows(path, Group))
    wanted = settings.steps * settings.batch_groups
    groups, counts = mix(sources, settings.cca, settings.sa, wanted, seed, settings.shares)
    examples = [encode_group(tokenizer, group, settings) for group in groups]
    examples = sort_within_batches(examples, settings.batch_groups)
    started = time.time()
    model = train(options.backbone, examples, verbalizer, settings, seed, scratch)
    seconds = time.time() - started
    save(model, tokenizer, options.output, model_card(settings, options.variant), scratch / "log.jsonl")
    computed = sum(len(example.tree) for example in examples)
    return {
        "groups": counts,
        "sequences": sum(len(example.labels) for example in examples),
        "ranking_pairs": sum(len(example.pairs) for example in examples),
        "tokens": sum(example.tokens for example in examples),
        "tokens_computed": computed,
        "tokens_cut": sum(example.cut for example in examples),
        "tokens_per_second": round(computed / seconds, 1),
        "train_seconds": round(seconds, 1),
    }


def _fingerprint(options: argparse.Namespace) -> str:
    """Name of the run's scratch folder: a digest of everything that decides its result."""
    import hashlib

    from csrm.files import sha256

    parts = [options.variant, str(options.seed), sha256(options.settings), sha256(options.backbone)]
    return hashlib.sha256("\n".join(parts + [sha256(path) for path in options.groups]).encode()).hexdigest()[:16]
