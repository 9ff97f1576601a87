"""Names in the settings that tables and files define, checked together before anything is planned.


Every idle run of the workflow checks them: files are read as far as it takes to find the names.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from csrm.align.helpfulness_pairs import HELPFUL
from csrm.bench.baselines import BASELINES
from csrm.bench.guards.table import load_guards
from csrm.bench.registry import SPLITS, Benchmark, load_benchmarks, not_at_hand
from csrm.configs.safety_config import SafetyConfig
from csrm.cosa.synthesis import NAMED
from csrm.data.tables import Dataset, load_datasets, load_models
from csrm.settings import Settings, TrainSettings
from csrm.settings.helpfulness import PROXY, RATED, TRAINED

CONFIGS = Path(__file__).parent / "configs"
TOPIC = re.compile(r"^  - family: (\w+)$", re.MULTILINE)  # as `topics.yaml` writes a family
BANK = re.compile(r'"family": "(\w+)"')  # as `bank.jsonl` does


def check_names(settings: Settings, variants: Mapping[str, TrainSettings], config_dir: str | Path) -> None:
    """Check every name that the settings take from elsewhere.

    Args:
        settings: the run's.
        variants: the trained models' settings (`csrm.variants.variant_settings`).
        config_dir: folder of the tables.

    Raises:
        ValueError: for an unknown name; the message gives the setting, the name and the known ones. For an address
            of a server that cannot be used. For a further seed that is none. For a model that is calibrated and not
            scored. For a configuration of alignment that the project's own prompts or judge, or the data set of test
            prompts, cannot serve. For pairs over harms without labelled responses.
        FileNotFoundError: if `data_root` is no folder.
    """
    if settings.data_root and not Path(settings.data_root).is_dir():
        raise FileNotFoundError(
            f"data_root {settings.data_root!r} is no folder: give a mirror in hub layout, or leave it out"
        )
    folder, score, align, cosa = Path(config_dir), settings.score, settings.align, settings.cosa
    models, datasets, benchmarks = load_models(folder), load_datasets(folder), load_benchmarks(folder)
    guards = load_guards(folder)
    rewards = [*variants, "zero-shot", *BASELINES, *guards]
    helpers = [PROXY, TRAINED, *(key for key, model in models.items() if model.format == "reward")]
    backbones = [key for key, model in models.items() if model.format != "reward"]
    configured = [key for key, dataset in datasets.items() if dataset.adapter == "cosalign-test"]
    helpful = [key for key, dataset in datasets.items() if key in HELPFUL or dataset.kind == "labelled"]
    labelled = [key for key, dataset in datasets.items() if dataset.kind == "labelled"]
    configs = [path.stem for path in (folder / "safety_configs").glob("*.yaml")]
    for setting, names, known in (
        ("train.backbone", {settings.train.backbone, *(v.backbone for v in variants.values())}, backbones),
        ("align.policy", [align.policy], backbones),
        ("helpfulness.backbone", [settings.helpfulness.backbone], backbones),
        ("helpfulness.reward", [settings.helpfulness.reward], helpers),
        ("helpfulness.judge", [settings.helpfulness.judge], [*helpers, RATED]),
        ("helpfulness.data", settings.helpfulness.data, helpful),
        ("cosa.policy", [cosa.policy], backbones),
        ("cosa.seen, cosa.unseen", [*cosa.seen, *cosa.unseen], _topics() if cosa.taxonomy == "topics" else NAMED),
        ("cosa.data", cosa.data, labelled),
        ("cosa.test_data", [cosa.test_data], configured),
        ("data.train", settings.data.train, datasets),
        ("data.response_pairs", settings.data.response_pairs, datasets),
        ("data.exclude", settings.data.exclude or [], benchmarks),
        ("data.held_out", settings.data.held_out, _held_out()),
        ("score.benchmarks", score.benchmarks, benchmarks),
        ("score.validation", [score.validation], benchmarks),
        ("score.clauses", [score.clauses] if score.clauses else [], benchmarks),
        ("score.retrieval", score.retrieval, labelled),
        ("score.models", score.models, ["zero-shot", *BASELINES, *guards]),
        ("align.configs", align.configs, configs),
        ("align.tested", align.tested, configs),
        ("align.rewards", align.rewards, rewards),
        ("align.swept", align.swept, rewards),
        ("align.judge_data", align.judge_data, labelled),
        (
            "align.prompt_data",
            [align.prompt_data],
            [key for key, d in datasets.items() if d.adapter == "cosalign-test"],
        ),
        (
            "align.test_data",
            [align.test_data] if align.test_data else [],
            [key for key, d in datasets.items() if d.adapter == "cosapien-prompts"],
        ),
    ):
        _check(setting, names, known)
    for name in score.benchmarks:
        _benchmark(benchmarks[name], folder / "safety_configs", datasets, settings.data_root)
    if align.test_data:
        _scenarios([*align.configs, *align.tested], align.test_data)
    if cosa.taxonomy == "cosalign" and not (cosa.data or cosa.responses):
        raise ValueError(
            "cosa.taxonomy cosalign needs labelled responses: name data sets in cosa.data, such as beavertails, "
            "wildguardmix or cosalign-labelled, or your own file in cosa.responses"
        )
    _calibrated(score.calibrated, [*variants, *score.models])
    if align.prompts == "written" or align.judge == "lexicon":
        topics = TOPIC.findall((CONFIGS / "topics.yaml").read_text(encoding="utf-8"))
        for setting, names in (("align.configs", align.configs), ("align.tested", align.tested)):
            _on_topic(setting, [folder / "safety_configs" / f"{name}.yaml" for name in names], topics)
    _further("align.seeds", align.seeds, settings.seed)
    _further("cosa.seeds", cosa.seeds, settings.seed)
    _further("train.seeds", settings.train.seeds, settings.seed if settings.train.seed is None else settings.train.seed)
    if (tasks := settings.capability.task_folder) and not Path(tasks).is_dir():
        raise FileNotFoundError(
            f"capability.task_folder {tasks!r} is no folder: give one with task files, or leave it out"
        )
    if score.backend == "openai":
        from csrm.model.backends.address import server_address

        server_address(score, "csrm")


def _check(setting: str, names: Iterable[str], known: Iterable[str]) -> None:
    missing, seen = set(names), set()
    for name in known:
        if not missing:
            return
        missing.discard(name)
        seen.add(name)
    if missing:
        raise ValueError(f"{setting} {sorted(missing)} are unknown: choose among {', '.join(sorted(seen))}")


def _benchmark(benchmark: Benchmark, folder: Path, datasets: Mapping[str, Dataset], data_root: str | None) -> None:
    """A benchmark's data sets are known and, where they are at hand, its policy file is there."""
    if unknown := sorted(set(benchmark.rows) - set(datasets) - SPLITS):
        raise ValueError(
            f"benchmark {benchmark.id!r} reads rows of {unknown}, which config/datasets.tsv does not have: add a line "
            f"there, or correct its column rows in config/benchmarks.tsv (a data set, or one of {sorted(SPLITS)})"
        )
    if not benchmark.config or not_at_hand(benchmark, datasets, data_root):
        return
    if not (path := folder / f"{benchmark.config}.yaml").is_file():
        raise FileNotFoundError(
            f"benchmark {benchmark.id!r} judges under {path}, which does not exist: write it as "
            f"{folder / 'example.yaml'}, or correct its column config in config/benchmarks.tsv"
        )


def _calibrated(names: list[str], scored: list[str]) -> None:
    if unknown := sorted(set(names) - set(scored)):
        raise ValueError(
            f"score.calibrated names {unknown}, which are not scored: choose among train.variants and score.models "
            f"{scored}, name it there, or give score.calibrated too"
        )


def _on_topic(setting: str, paths: Iterable[Path], topics: Collection[str]) -> None:
    """Refuse a configuration of which no category is a topic: the project's prompts and lexicons know topics only."""
    for path in paths:
        if not any(category.key in topics for category in SafetyConfig.load(path).categories):
            raise ValueError(
                f"{path}, which {setting} names: no category has a `key` among the topic families "
                f"{', '.join(sorted(topics))}: add `key: FAMILY` to one, or set align.prompts to `generated` or "
                "`data` and align.judge to `llm`"
            )


def _scenarios(configs: Iterable[str], test_data: str) -> None:
    """Refuse a configuration that is no scenario's where test prompts come from a data set of scenarios."""
    from csrm.bench.cosa import SCENARIOS

    if others := sorted({*configs} - {*SCENARIOS.values()}):
        raise ValueError(
            f"align.configs or align.tested name {others}, of which {test_data} has no prompts: choose among "
            f"{', '.join(SCENARIOS.values())}, or leave align.test_data at null"
        )


def _further(setting: str, seeds: list[int], own: int) -> None:
    if own in seeds or len({*seeds}) < len(seeds):
        raise ValueError(f"{setting} {seeds} hold the run's own seed {own}, or one twice: name each further seed once")


def _topics() -> Iterator[str]:
    """Topic families: as far as lines tell them, which takes a tenth of the time, then all."""
    yield from TOPIC.findall((CONFIGS / "topics.yaml").read_text(encoding="utf-8"))
    from csrm.configs.topics import load_topics

    yield from load_topics().keys


def _held_out() -> Iterator[str]:
    """Families of the bank and the topics, and what the taxonomies call theirs."""
    yield from TOPIC.findall((CONFIGS / "topics.yaml").read_text(encoding="utf-8"))
    yield from BANK.findall((CONFIGS / "bank.jsonl").read_text(encoding="utf-8"))
    from csrm.configs.bank import families
    from csrm.configs.taxonomy import load_taxonomy

    yield from families()
    for path in sorted((CONFIGS / "taxonomies").glob("*.yaml")):
        for category in load_taxonomy(path.stem).categories:
            yield from (category.key, *category.families)
