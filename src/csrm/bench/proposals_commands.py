"""Command compare-proposers: the bank's proposer and a language model's, asked about the same conversations."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csrm.augment.llm import LLM


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `compare-proposers`."""
    parser = commands.add_parser("compare-proposers", help="how good p+ and p- of the two proposers are (section 3.2)")
    parser.add_argument("--rows", type=Path, nargs="+", required=True)
    parser.add_argument("--settings", type=Path, required=True, help="slice `augment`; its `llm` names the model")
    parser.add_argument("--data-settings", type=Path, required=True, help="slice `data` (held-out families)")
    parser.add_argument("--metrics-settings", type=Path, required=True, help="slice `metrics`")
    parser.add_argument("--llm", help="model folder that is asked where the settings name no model")
    parser.add_argument("--encoder", required=True, help="model folder or `hash`")
    parser.add_argument("--conversations", type=int, required=True, help="how many conversations, drawn by the seed")
    parser.add_argument("--llm-cache", type=Path, help="answers of the language model (default: the user's cache)")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Conversations with human ratings -> one JSON document of measures by backend."""
    from random import Random

    from csrm.augment.catalogue import Catalogue, bank_sample
    from csrm.augment.encoder import load_encoder
    from csrm.augment.held_out import HeldOut
    from csrm.augment.llm import open_llm
    from csrm.augment.llm_proposer import LLMProposer
    from csrm.augment.prompts import versions
    from csrm.augment.proposers import BankProposer
    from csrm.bench.proposals import ask, known, quality, verification, verify
    from csrm.files import read_rows, write_json
    from csrm.provenance import recording
    from csrm.rows import Row
    from csrm.settings import AugmentSettings, DataSettings, MetricSettings, read_slice

    settings: AugmentSettings = read_slice(options.settings, AugmentSettings)
    data: DataSettings = read_slice(options.data_settings, DataSettings)
    metrics: MetricSettings = read_slice(options.metrics_settings, MetricSettings)
    inputs: dict[str, Any] = {
        "rows": options.rows,
        "settings": [options.settings, options.data_settings, options.metrics_settings],
    }
    inputs |= {name: path for name in ("llm", "encoder") if (path := getattr(options, name)) and Path(path).exists()}
    with recording([options.output], inputs, settings, options.seed) as notes:
        every = [row for path in options.rows for row in read_rows(path, Row)]
        catalogue = Catalogue.load({row.taxonomy for row in every}, data.held_out)
        threshold = settings.standard_threshold
        usable = [row for row in every if not catalogue.excludes(row, catalogue.facts(row, threshold))]
        rows = Random(f"{options.seed}:proposers").sample(usable, min(options.conversations, len(usable)))
        encoder = load_encoder(options.encoder)
        llm = open_llm(settings.llm, options.llm, options.llm_cache)
        bank = bank_sample(catalogue.bank(), settings.bank_size, options.seed)
        backends: dict[str, Any] = {}
        for name, proposer in (
            ("bank", BankProposer(bank, encoder, settings.model_copy(update={"guideline_rate": 1.0}))),
            ("llm", LLMProposer(llm, 1.0, HeldOut(catalogue, encoder))),
        ):
            proposer.prepare([known(row, catalogue, threshold) for row in rows], contrasts=1)
            asked = list(
                ask(_progress(rows, name), catalogue, proposer, threshold, 1, Random(f"{options.seed}:{name}"))
            )
            measures = quality(asked, catalogue, encoder, metrics, options.seed)
            backends[name] = {"measures": measures, "counts": dict(sorted(proposer.notes.items()))}
        verdicts = list(verify(_progress(rows, "verifier"), catalogue, _verifier(llm), threshold))
        backends["llm"]["measures"] |= verification(verdicts, metrics, options.seed)
        head = {"kind": "proposers", "scale": options.scale, "seed": options.seed, "conversations": len(rows)}
        model = {"model": Path(str(llm.model)).name, "prompts": versions()}
        write_json(options.output, {**head, **model, "backends": backends})
        notes.update(llm=dict(llm.counts))


def _verifier(llm: "LLM") -> Any:
    from csrm.augment.llm_proposer import classify
    from csrm.augment.prompts import conversation

    return lambda row, category: classify(llm, conversation(row.messages), category)


def _progress(rows: Any, name: str) -> Any:
    from tqdm import tqdm

    return tqdm(rows, desc=f"compare-proposers {name}", unit="conversation")
