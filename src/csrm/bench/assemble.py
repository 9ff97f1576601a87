"""From a benchmark's line and its rows to items: reads the files, drops blanks, and calls the line's builder."""

import argparse
from pathlib import Path
from typing import Any

from csrm import files
from csrm.bench import build, cosa
from csrm.bench.registry import Benchmark
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.configs.taxonomy import Taxonomy, load_taxonomy
from csrm.data.leaks import without_seen
from csrm.rows import Item, PairRow, PromptRow, Row
from csrm.settings import AugmentSettings

PROMPTS = ("pseudo-response", "scenario-type", "allowed-categories")
GENERATED = ("conditional", "threshold", "strictness", "full")
SCENARIOS = ("scenario", "scenario-type")
Notes = dict[str, Any]


def make_items(
    benchmark: Benchmark, options: argparse.Namespace, augment: AugmentSettings, held_out: list[str], notes: Notes
) -> list[Item]:
    """Items of a benchmark; what was left out is counted in `notes`.

    Raises:
        ValueError: if a row lacks what the builder needs, or the benchmark its taxonomy.
    """
    if benchmark.builder in PROMPTS:
        return _of_prompts(benchmark, _read(options, PromptRow, benchmark, notes), options.config_dir)
    if benchmark.builder == "pairs":
        pairs = _read(options, PairRow, benchmark, notes)
        items, notes["dropped_unconditional"] = build.pair_items(
            pairs, config_of(benchmark, options.config_dir), benchmark.id
        )
        return items
    rows = _read(options, Row, benchmark, notes)
    if benchmark.builder in GENERATED:
        return _generated(benchmark, rows, options, augment, held_out)
    return _of_rows(benchmark, rows, options, augment, notes)


def _of_prompts(benchmark: Benchmark, rows: list[PromptRow], config_dir: Path) -> list[Item]:
    if benchmark.builder == "scenario-type":
        return cosa.scenario_type_items(rows, cosa.scenario_configs(config_dir), benchmark.id)
    if benchmark.builder == "allowed-categories":
        return cosa.allowed_items(rows, _taxonomy(benchmark), benchmark.id)
    return build.pseudo_response_items(rows, config_of(benchmark, config_dir), benchmark.id)


def _of_rows(
    benchmark: Benchmark, rows: list[Row], options: argparse.Namespace, augment: AugmentSettings, notes: Notes
) -> list[Item]:
    """Items of the builders that judge labelled responses as they are."""
    if benchmark.builder in ("response-label", "refusal-label"):
        make = build.refusal_items if benchmark.builder == "refusal-label" else build.response_label_items
        items, notes["dropped_unlabelled"] = make(rows, config_of(benchmark, options.config_dir), benchmark.id)
        return items
    if benchmark.builder == "clauses":
        from csrm.bench.clauses import clause_items

        return clause_items(rows, _taxonomy(benchmark), augment.standard_threshold, options.seed, benchmark.id)
    if benchmark.builder == "severity":
        from csrm.bench.severity import severity_items

        items, counts = severity_items(rows, _taxonomy(benchmark), augment.standard_threshold, benchmark.id)
    elif benchmark.builder == "scenario":
        items, counts = cosa.scenario_items(rows, cosa.scenario_configs(options.config_dir), benchmark.id)
    else:
        from csrm.bench import dynabench

        judge = dynabench.turnwise_items if benchmark.builder == "turnwise" else dynabench.transcript_items
        items, counts = judge(rows, benchmark.id)
    notes.update(counts)
    return items


def _generated(
    benchmark: Benchmark,
    rows: list[Row],
    options: argparse.Namespace,
    augment: AugmentSettings,
    held_out: list[str],
) -> list[Item]:
    from csrm.augment.catalogue import Catalogue
    from csrm.bench.baseline_commands import read_encoder
    from csrm.bench.generated import generated_items

    catalogue = Catalogue.load({_taxonomy(benchmark).name, "topics"}, held_out)
    return generated_items(benchmark, rows, catalogue, augment, options.seed, read_encoder(options.encoder))


def _read(options: argparse.Namespace, model: Any, benchmark: Benchmark, notes: Notes) -> Any:
    """Rows of the benchmark's data set and taxonomy that have texts and unseen prompts; the others are counted."""
    rows = [row for path in options.rows for row in files.read_rows(path, model)]
    kept = [row for row in rows if benchmark.dataset in (None, row.dataset)]
    if model is Row:
        kept = [row for row in kept if benchmark.taxonomy in (None, row.taxonomy)]
    notes.update(rows=len(kept), rows_of_other_data=len(rows) - len(kept))
    filled, blanks = build.without_blanks(kept)
    notes.update(blanks)
    unseen, notes["dropped_seen_prompt"] = without_seen(filled, options.seen)
    for path, count in notes["dropped_seen_prompt"].items():
        print(f"benchmark {benchmark.id}: {count} of {len(filled)} rows are dropped, {path} holds their prompts")
    return unseen


def config_paths(benchmark: Benchmark, config_dir: Path) -> list[Path]:
    """The configuration files that a benchmark reads."""
    if benchmark.builder in SCENARIOS:
        return sorted(cosa.scenario_paths(config_dir).values())
    return [config_dir / "safety_configs" / f"{benchmark.config}.yaml"] if benchmark.config else []


def config_of(benchmark: Benchmark, config_dir: Path) -> list[Category]:
    """The benchmark's configuration file, else the categories of its taxonomy, else none."""
    if benchmark.config:
        return list(SafetyConfig.load(config_paths(benchmark, config_dir)[0]).categories)
    if benchmark.taxonomy is None:
        return []
    return [category.category() for category in _taxonomy(benchmark).categories]


def _taxonomy(benchmark: Benchmark) -> Taxonomy:
    if benchmark.taxonomy is None:
        raise ValueError(f"benchmark {benchmark.id!r}: builder {benchmark.builder!r} needs a taxonomy")
    return load_taxonomy(benchmark.taxonomy)
