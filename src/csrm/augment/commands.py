"""Commands of the augmentation layer: `csrm augment-base`, `-cca`, `-strictness`, `-pairs`."""

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the commands to the parser."""
    for name, run, text in (
        ("augment-base", run_base, "conversations under the standard configuration of their taxonomy"),
        ("augment-cca", run_cca, "configurable configuration augmentation (section 3.2, Eq. 1)"),
        ("augment-strictness", run_strictness, "strictness augmentation (Algorithm 1)"),
    ):
        parser = _parser(commands, name, run, text)
        parser.add_argument("--data-settings", type=Path, required=True, help="the data slice (held-out families)")
        encoder = "encoder folder, or `hash` for hashed words (smoke scale)"
        parser.add_argument("--encoder", required=name != "augment-base", help=encoder)
        parser.add_argument("--llm", help="model folder that is asked where the settings name no model")
        parser.add_argument("--llm-cache", type=Path, help="answers of the LLM backend (default: the user's cache)")
    pairs = _parser(commands, "augment-pairs", run_pairs, "response pairs under one configuration (RM items)")
    pairs.add_argument("--data-settings", type=Path, help="accepted for symmetry; response pairs do not use it")
    pairs.add_argument("--encoder", help="accepted for symmetry; response pairs do not use it")
    pairs.add_argument("--config", type=Path, help="configuration of pairs that bring none (YAML, JSON or text)")


def run_base(options: argparse.Namespace) -> None:
    """Write base CLS groups."""
    from csrm.augment import base

    with _Job(options) as job:
        groups, counts = base.build(job.rows, job.catalogue, job.settings, job.rng)
        job.write(groups, counts)


def run_cca(options: argparse.Namespace) -> None:
    """Write CCA groups, and `<stem>_statistics.json` beside them."""
    from csrm.augment import cca
    from csrm.augment.cca_statistics import statistics

    with _Job(options, statistics=True) as job:
        bank = job.bank() if job.settings.cca_backend == "bank" else None
        groups, counts = cca.build(
            job.augmented(), job.catalogue, job.proposer(bank), job.settings, job.rng, job.progress
        )
        sizes = {} if bank is None else {"bank_categories": len(bank), "bank_families": len({c.family for c in bank})}
        found = {"backend": job.settings.cca_backend, **sizes, **statistics(counts)}
        job.write(groups, found)
        job.write_statistics(found)


def run_strictness(options: argparse.Namespace) -> None:
    """Write SA groups, and `<stem>_statistics.json` beside them with every strictness test."""
    from csrm.augment import strictness_groups

    with _Job(options, statistics=True) as job:
        workers = job.workers(job.settings.sa_backend)
        rows = job.augmented()
        groups, report = strictness_groups.build(rows, job.catalogue, job.backend, job.settings, job.rng, workers)
        found = strictness_groups.statistics(report, job.settings)
        job.write(groups, {key: value for key, value in found.items() if key != "categories"})
        job.write_statistics(found)


def run_pairs(options: argparse.Namespace) -> None:
    """Write response-pair groups."""
    from csrm.augment import response_pairs
    from csrm.configs.safety_config import SafetyConfig
    from csrm.files import read_rows, write_rows
    from csrm.provenance import recording
    from csrm.rows import PairRow
    from csrm.settings import AugmentSettings, read_slice

    settings: AugmentSettings = read_slice(options.settings, AugmentSettings)
    inputs: dict[str, Any] = {"rows": options.rows, "settings": options.settings}
    if options.config:
        inputs["config"] = options.config
    default = SafetyConfig.load(options.config).categories if options.config else None
    with recording([options.output], inputs, settings, options.seed) as notes:
        rows = [row for path in options.rows for row in read_rows(path, PairRow)]
        groups, counts = response_pairs.build(rows, default)
        write_rows(options.output, groups)
        notes.update({"rows": len(rows), **dict(sorted(counts.items()))})


class _Job:
    """Inputs of a row augmentation, its manifest, and its backends."""

    def __init__(self, options: argparse.Namespace, statistics: bool = False) -> None:
        from random import Random

        from csrm.provenance import recording
        from csrm.settings import AugmentSettings, DataSettings, read_slice

        self.settings: AugmentSettings = read_slice(options.settings, AugmentSettings)
        self._data: DataSettings = read_slice(options.data_settings, DataSettings)
        self._options, self.rng = options, Random(f"{options.seed}:{options.command}")
        inputs: dict[str, Any] = {
            "rows": options.rows,
            "settings": options.settings,
            "data-settings": options.data_settings,
        }
        inputs |= {
            name: path for name in ("encoder", "llm") if (path := getattr(options, name)) and Path(path).exists()
        }
        self._statistics = statistics_path(options.output)
        outputs = [options.output, *[self._statistics] * statistics]
        self._record = recording(outputs, inputs, self.settings, options.seed)
        self._llm: Any = None

    def __enter__(self) -> "_Job":
        from csrm.augment.catalogue import Catalogue
        from csrm.files import read_rows
        from csrm.rows import Row

        self._notes = self._record.__enter__()
        self.rows = [row for path in self._options.rows for row in read_rows(path, Row)]
        self.catalogue = Catalogue.load({row.taxonomy for row in self.rows}, self._data.held_out)
        return self

    def __exit__(self, *error: Any) -> None:
        self._record.__exit__(*error)

    def augmented(self) -> list[Any]:
        """The rows that CCA and SA take."""
        taxonomies = self.settings.augmented
        return [row for row in self.rows if taxonomies is None or row.taxonomy in taxonomies]

    def progress(self, cases: Any) -> Any:
        """Conversations behind a progress bar."""
        from tqdm import tqdm

        return tqdm(cases, desc=self._options.command, unit="row")

    def bank(self) -> Any:
        """The bank categories that CCA draws from."""
        from csrm.augment.catalogue import bank_sample

        return bank_sample(self.catalogue.bank(), self.settings.bank_size, self._options.seed)

    def proposer(self, bank: Any) -> Any:
        """The proposer of the chosen backend."""
        from csrm.augment.llm_proposer import LLMProposer
        from csrm.augment.proposers import BankProposer

        if self.settings.cca_backend == "llm":
            return LLMProposer(self.llm(), self.settings.guideline_rate, self._held_out(), self.workers("llm"))
        return BankProposer(bank, self._encoder(), self.settings)

    def backend(self, category: Any) -> Any:
        """The backend of Algorithm 1 for one category: LLM, severity levels, or the bank."""
        from csrm.augment.llm_strictness import LLMBackend
        from csrm.augment.strictness_backends import BankBackend, LevelBackend

        if self.settings.sa_backend == "llm":
            return LLMBackend(category, self.llm(), self._held_out())
        if category.levels:
            return LevelBackend(category, self.settings.held_out_thresholds)
        return BankBackend(category, self.catalogue.bank(), self._encoder())

    def workers(self, backend: str) -> int:
        """Requests at once of a backend: several to an endpoint, else one."""
        return self.settings.concurrency if backend == "llm" and self.settings.llm.base_url else 1

    def llm(self) -> Any:
        """The language model of the LLM backend."""
        from csrm.augment.llm import open_llm

        self._llm = self._llm or open_llm(self.settings.llm, self._options.llm, self._options.llm_cache)
        return self._llm

    def write(self, groups: Any, notes: Any) -> None:
        """Write the groups and the manifest's notes."""
        from csrm.augment.prompts import versions
        from csrm.files import write_rows

        write_rows(self._options.output, groups)
        self._notes.update({"rows": len(self.rows), "held_out": sorted(self.catalogue.held_out), **notes})
        self._notes["encoder"] = self._options.encoder
        if self._llm is not None:
            self._notes["llm"] = {"prompts": versions(), "model": self.settings.llm.model, **self._llm.counts}

    def write_statistics(self, statistics: dict[str, Any]) -> None:
        """Write the statistics beside the groups."""
        from csrm.files import write_json

        write_json(self._statistics, statistics)

    def _held_out(self) -> Any:
        from csrm.augment.held_out import HeldOut

        return HeldOut(self.catalogue, self._encoder())

    def _encoder(self) -> Any:
        from csrm.augment.encoder import load_encoder

        if not hasattr(self, "_loaded_encoder"):
            self._loaded_encoder = load_encoder(self._options.encoder)
        return self._loaded_encoder


def statistics_path(output: Path) -> Path:
    """`cca.jsonl` -> `cca_statistics.json`, in the same folder."""
    return output.with_name(f"{output.stem}_statistics.json")


def _parser(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--settings", type=Path, required=True, help="the augment slice")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=Path, nargs="+", required=True, help="rows to augment, JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="groups, JSON lines")
    parser.set_defaults(run=run)
    return parser
