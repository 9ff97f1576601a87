"""Commands of the alignment stage; each reads files, calls one pure function and writes files with a manifest."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from csrm.align.helpfulness_commands import add_choice, chosen, chosen_inputs
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.files import read_rows, write_rows
from csrm.provenance import recording
from csrm.rows import PromptRow, ScoreRow
from csrm.settings import AlignSettings, PairAlgorithm, SamplingSettings, read_slice

if TYPE_CHECKING:
    from csrm.align.judge import LexiconJudge, LLMJudge
    from csrm.align.prompts import Pool, Split
    from csrm.align.schema import Sample
    from csrm.settings import ScoreSettings

FLAGS: dict[str, dict[str, Any]] = {
    "--safety-config": {"type": Path, "required": True, "help": "configuration (YAML, JSON or text)"},
    "--settings": {"type": Path, "required": True, "help": "the stage's slice: align, or topics for answer-topics"},
    "--seed": {"type": int, "default": 0, "help": "seed of all draws"},
    "--policy": {"type": Path, "required": True, "help": "model folder"},
    "--prompts": {"type": Path, "required": True, "help": "PromptRow JSONL"},
    "--samples": {"type": Path, "required": True, "help": "samples of `csrm sample`"},
    "--scores": {"type": Path, "required": True, "help": "scores of the preference items"},
    "--output": {"type": Path, "required": True, "help": "file or folder to write"},
}

CHECKPOINTS: dict[str, Any] = {
    "type": Path,
    "nargs": "*",
    "default": [],
    "help": "folders for the adapter at equally spaced steps before the end",
}

ALGORITHMS = {"dpo": "DPO", "reward-distillation": "Reward Distillation", "reinforce": "REINFORCE++"}


def register(commands: Any) -> None:
    """Add the commands of this module to the subparsers of `csrm`."""
    prompts_flags = ["--safety-config", "--settings", "--seed"]
    prompts = _add(commands, "align-prompts", run_prompts, prompts_flags, output_dir=True)
    prompts.add_argument("--encoder", type=Path, required=True, help="sentence encoder folder, or `hash`")
    prompts.add_argument("--rows", type=Path, help="prompts of a data set, for align.prompts `data`")
    prompts.add_argument("--test-rows", type=Path, help="prompts of the data set that align.test_data names")
    prompts.add_argument("--llm", help="model folder that writes prompts where the settings name no model")
    prompts.add_argument("--llm-cache", type=Path, help="answers of that model (default: the user's cache)")
    sample = _add(
        commands, "sample", run_sample, ["--policy", "--prompts", "--safety-config", "--settings", "--seed", "--output"]
    )
    sample.add_argument("--adapter", type=Path, help="LoRA adapter folder, merged before sampling")
    sample.add_argument("--samples", type=int, required=True, help="responses a prompt")
    _add(commands, "answer-topics", run_answer_topics, ["--policy", "--prompts", "--settings", "--seed", "--output"])
    _add(commands, "preference-items", run_items, ["--samples", "--safety-config", "--output"])
    prefer_flags = ["--samples", "--scores", "--safety-config", "--settings", "--seed", "--output"]
    prefer = _add(commands, "prefer", run_prefer, prefer_flags)
    train = _add(commands, "train-policy", run_train, ["--policy", "--settings", "--seed", "--output"])
    train.add_argument("--algorithm", choices=get_args(PairAlgorithm), required=True, help="how the pairs are learnt")
    train.add_argument("--preferences", type=Path, required=True, help="pairs of `csrm prefer`")
    train.add_argument("--scratch", type=Path, required=True, help="folder for the trainer's temporary files")
    train.add_argument("--checkpoints", **CHECKPOINTS)
    online_flags = ["--policy", "--prompts", "--safety-config", "--settings", "--seed", "--output"]
    online = _add(commands, "train-policy-online", run_train_online, online_flags)
    source = online.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="reward model folder")
    source.add_argument("--baseline", help="a line of csrm.bench.baselines.BASELINES as the reward")
    source.add_argument("--guard", help="id in config/guards.tsv, whose scores are the reward")
    online.add_argument("--guard-model", type=Path, help="Hugging Face folder of the guard")
    online.add_argument("--config-dir", type=Path, default=Path("config"), help="folder of guards.tsv")
    online.add_argument("--fitted", type=Path, help="file of `csrm fit-baseline`; for a trained baseline")
    online.add_argument("--baseline-encoder", help="model folder or `hash`; for the MiniLM baselines")
    online.add_argument("--score-settings", type=Path, required=True, help="slice of the scoring settings")
    online.add_argument("--train-settings", type=Path, required=True, help="order and verbalizer of a zero-shot model")
    online.add_argument("--scratch", type=Path, required=True, help="folder for the trainer's temporary files")
    online.add_argument("--checkpoints", **CHECKPOINTS)
    judge = _add(commands, "judge", run_judge, ["--safety-config", "--settings", "--output"])
    judge.add_argument("--llm-cache", type=Path, help="answers of the judge (default: the user's cache)")
    for parser in (prefer, online, judge):
        add_choice(parser)
    judge.add_argument("--generations", type=Path, required=True, help="samples of `csrm sample`")
    judge.add_argument("--rated", action="store_true", help="H is the 0-5 rating of the settings' language model")


def run_prompts(options: argparse.Namespace) -> None:
    """Draw the training and test prompts of one policy, or take the latter from a data set."""
    settings, config = _settings(options), SafetyConfig.load(options.safety_config)
    outputs = [options.output_dir / "train.jsonl", options.output_dir / "test.jsonl"]
    given = [name for name in ("rows", "test_rows") if getattr(options, name)]
    with recording(outputs, _existing(options, "safety_config", "encoder", *given), settings, options.seed) as notes:
        pool = _pool(options, config, settings, notes)
        split = _drawn(options, config, settings, pool)
        for path, rows, asked in zip(outputs, split, (settings.train_prompts, settings.test_prompts), strict=True):
            notes[path.stem] = {"asked": asked, "rows": write_rows(path, rows)}
            if path.stem == "test" and settings.test_data:
                notes["test"]["types"] = dict(sorted(Counter(row.meta["family"] for row in rows).items()))
            else:
                notes[path.stem]["on_topic"] = sum(row.prompt_id in pool.on_topic for row in rows)


def _drawn(options: argparse.Namespace, config: SafetyConfig, settings: AlignSettings, pool: "Pool") -> "Split":
    """Training prompts of the pool, and test prompts of it too or of the data set that the settings name."""
    from csrm.align.prompts import Split, scenario_tests, split_pool, without

    if settings.test_data is None:
        return split_pool(config.name, pool, settings.train_prompts, settings.test_prompts, options.seed)
    if options.test_rows is None:
        raise ValueError(f"align.test_data {settings.test_data!r} needs --test-rows, the prompts of that data set")
    rows = read_rows(options.test_rows, PromptRow)
    tests = scenario_tests(config.name, rows, settings.test_prompts, options.seed)
    return Split(split_pool(config.name, without(pool, rows), settings.train_prompts, 0, options.seed).train, tests)


def _pool(options: argparse.Namespace, config: SafetyConfig, settings: AlignSettings, notes: dict[str, Any]) -> "Pool":
    """Candidates for the prompts: the project's own, a data set's, or those that a language model writes."""
    from csrm.align.prompts import data_pool, generated_pool, topic_pool
    from csrm.configs.topics import load_topics

    topics = load_topics()
    if settings.prompts == "written":
        return topic_pool(config, topics.families, topics.neutral_prompts)
    if settings.prompts == "data":
        if options.rows is None:
            raise ValueError("align.prompts `data` needs --rows, the prompts of a data set")
        return data_pool(config, read_rows(options.rows, PromptRow), topics.neutral_prompts)
    from csrm.align.prompt_writer import write_prompts
    from csrm.augment.encoder import load_encoder
    from csrm.augment.llm import open_llm

    llm = open_llm(settings.llm, options.llm, options.llm_cache)
    written = write_prompts(llm, config, settings.per_category)
    encoder = load_encoder(options.encoder)
    pool, near = generated_pool(written, topics.neutral_prompts, encoder, settings.similarity)
    notes.update(llm=llm.model, calls=dict(llm.counts), written=len(written), near_duplicates=near)
    return pool


def run_sample(options: argparse.Namespace) -> None:
    """Sample responses under a configuration."""
    from csrm.align.policy import load_policy
    from csrm.align.sample import sample_responses

    settings, config = _settings(options), SafetyConfig.load(options.safety_config)
    inputs = {"policy": options.policy, "prompts": options.prompts, "safety_config": options.safety_config}
    if options.adapter:
        inputs["adapter"] = options.adapter
    with recording([options.output], inputs, settings, options.seed) as notes:
        policy = load_policy(options.policy, *([options.adapter] if options.adapter else []))
        prompts = read_rows(options.prompts, PromptRow)
        samples = sample_responses(policy, prompts, config, options.samples, settings, options.seed)
        write_rows(options.output, (s.model_dump() for s in samples))
        notes.update(_counts(samples), dtype=str(policy.model.dtype), prompts=len(prompts))


def run_answer_topics(options: argparse.Namespace) -> None:
    """Answer the topic prompts without any configuration and label the answers by lexicon."""
    from csrm.align.policy import load_policy
    from csrm.align.sample import sample_responses, topic_rows
    from csrm.configs.topics import load_topics

    settings = read_slice(options.settings, SamplingSettings)
    inputs = {"policy": options.policy, "prompts": options.prompts}
    with recording([options.output], inputs, settings, options.seed) as notes:
        policy = load_policy(options.policy)
        prompts = read_rows(options.prompts, PromptRow)
        samples = sample_responses(policy, prompts, None, 1, settings, options.seed)
        rows = topic_rows(prompts, samples, load_topics().families)
        notes.update(_counts(samples), dtype=str(policy.model.dtype), rows=write_rows(options.output, rows))


def run_items(options: argparse.Namespace) -> None:
    """Write the items that `csrm score-items` scores."""
    from csrm.align.rewards import preference_items

    inputs = {"samples": options.samples, "safety_config": options.safety_config}
    with recording([options.output], inputs) as notes:
        samples = _samples(options.samples)
        items = preference_items(samples, SafetyConfig.load(options.safety_config))
        notes.update(samples=len(samples), items=write_rows(options.output, items))


def run_prefer(options: argparse.Namespace) -> None:
    """Pair the best with the worst responses by total reward."""
    from csrm.align.prefer import preferences
    from csrm.align.rewards import align_scores, total_reward

    settings, config = _settings(options), SafetyConfig.load(options.safety_config)
    inputs = {**_existing(options, "samples", "scores", "safety_config"), **chosen_inputs(options)}
    with recording([options.output], inputs, settings, options.seed) as notes:
        samples = _samples(options.samples)
        kept = [s for s in samples if s.response]
        scores = align_scores([s.id for s in kept], read_rows(options.scores, ScoreRow))
        helpful = chosen(options)([s.prompt for s in kept], [s.response for s in kept])
        rewards = total_reward(scores, helpful, settings.sweep_slope, 0.0)
        result = preferences(kept, rewards.tolist(), config, settings.pairs_per_prompt, options.seed)
        pairs = write_rows(options.output, (p.model_dump() for p in result.pairs))
        notes.update(samples=len(samples), empty=len(samples) - len(kept), pairs=pairs, dropped=result.dropped)
        notes.update(mean_helpfulness=float(helpful.mean()), unhelpful=int((helpful == 0).sum()))


def run_train(options: argparse.Namespace) -> None:
    """Train a LoRA adapter on the policy from preference pairs."""
    from csrm.align.dpo import train_policy
    from csrm.align.schema import Preference

    settings = _settings(options)
    inputs = {"policy": options.policy, "preferences": options.preferences}
    with recording(_folders(options), inputs, settings, options.seed) as notes:
        pairs = read_rows(options.preferences, Preference)
        trained = train_policy(
            options.policy,
            pairs,
            options.algorithm,
            settings,
            options.seed,
            options.scratch,
            options.output,
            checkpoints=options.checkpoints,
        )
        write_rows(options.output / "log.jsonl", trained.log)
        notes.update(trained.notes, algorithm=options.algorithm)


def run_train_online(options: argparse.Namespace) -> None:
    """Train a LoRA adapter with REINFORCE++ on the reward of the policy's own responses."""
    from csrm.align.online_reward import OnlineReward
    from csrm.align.reinforce import train_reinforce
    from csrm.model.scorer import CSRM
    from csrm.settings import ScoreSettings, TrainSettings

    settings, config = _settings(options), SafetyConfig.load(options.safety_config)
    score, train = read_slice(options.score_settings, ScoreSettings), read_slice(options.train_settings, TrainSettings)
    names = ["policy", "prompts", "safety_config", "score_settings", "train_settings"]
    names += [name for name in ("model", "fitted", "guard_model") if getattr(options, name)]
    inputs = {**_existing(options, *names), **chosen_inputs(options)}
    with recording(_folders(options), inputs, settings, options.seed) as notes:
        judge = _baseline(options) or _guard(options, score)
        judge = judge or CSRM.open(options.model, score, train.section_order, train.verbalizer)
        reward = OnlineReward(judge, config, chosen(options), settings.sweep_slope)
        prompts = read_rows(options.prompts, PromptRow)
        trained = train_reinforce(
            options.policy,
            prompts,
            config,
            reward,
            settings,
            options.seed,
            options.scratch,
            options.output,
            checkpoints=options.checkpoints,
        )
        write_rows(options.output / "log.jsonl", trained.log)
        notes.update(trained.notes, algorithm="reinforce")


def run_judge(options: argparse.Namespace) -> None:
    """Judge compliance by lexicon or language model, and helpfulness by H or the language model's rating."""
    from csrm.align.judge import LLMJudge, Rating, invalid_counts, judge_samples

    settings, config = _settings(options), SafetyConfig.load(options.safety_config)
    helper = {} if _is_rated(options, settings) else chosen_inputs(options)
    inputs = {**_existing(options, "generations", "safety_config"), **helper}
    used = settings.model_dump(mode="json", include={"judge", "llm"})
    with recording([options.output], inputs, used) as notes:
        judge = _judge(options, config, settings)
        helpful = Rating(judge) if options.rated and isinstance(judge, LLMJudge) else chosen(options)
        rows = judge_samples(_samples(options.generations), judge, helpful)
        write_rows(options.output, (r.model_dump() for r in rows))
        notes.update(judge=settings.judge, rated=options.rated, rows=len(rows), **judge.notes())
        notes.update(invalid_counts(rows), refused=sum(r.refused for r in rows))


def _is_rated(options: argparse.Namespace, settings: AlignSettings) -> bool:
    """Whether H is the language model's rating.

    Raises:
        ValueError: if it is, and another H is named too, or no language model judges.
    """
    if not options.rated:
        return False
    if options.encoder or options.helpfulness or options.helpfulness_map:
        raise ValueError("--rated names the rating as H: leave out --encoder, --helpfulness and --helpfulness-map")
    if settings.judge != "llm":
        raise ValueError(
            f"--rated needs align.judge llm in --settings, got {settings.judge!r}: name align.llm.model too"
        )
    return True


def _judge(options: argparse.Namespace, config: SafetyConfig, settings: AlignSettings) -> "LexiconJudge | LLMJudge":
    from csrm.align.judge import LexiconJudge
    from csrm.configs.topics import load_topics

    if settings.judge == "lexicon":
        return LexiconJudge(config, load_topics().families)
    return language_model_judge(settings, config.categories, options.llm_cache)


def language_model_judge(settings: AlignSettings, categories: Sequence[Category], cache: Path | None) -> "LLMJudge":
    """The judge that `align.judge: llm` names, of these categories; `cache` None: the user's.

    Raises:
        ValueError: if the settings name no language model as the judge.
    """
    from csrm.align.judge import LLMJudge
    from csrm.augment.llm import open_llm

    if settings.judge != "llm":
        raise ValueError(f"align.judge is {settings.judge!r}: a rating needs `llm`, with its model in align.llm.model")
    plain = settings.llm.model_copy(update={"structured": False})  # verdicts are tags, not JSON
    return LLMJudge(open_llm(plain, None, cache).answer, categories, settings.llm.retries)


def _add(commands: Any, name: str, run: Any, flags: list[str], output_dir: bool = False) -> Any:
    parser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    for flag in flags:
        parser.add_argument(flag, **FLAGS[flag])
    if output_dir:
        parser.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    parser.set_defaults(run=run)
    return parser


def _baseline(options: argparse.Namespace) -> Any:
    """The baseline that is the reward, or None."""
    from csrm.align.baseline_judge import BaselineJudge
    from csrm.augment.encoder import load_encoder
    from csrm.bench.baselines import Tools, get_baseline
    from csrm.bench.probes import load

    if not options.baseline:
        return None
    encodes = get_baseline(options.baseline).encoder and options.baseline_encoder
    tools = Tools(
        encoder=load_encoder(options.baseline_encoder) if encodes else None,
        fitted=load(options.fitted) if options.fitted else None,
    )
    return BaselineJudge(options.baseline, tools)


def _guard(options: argparse.Namespace, settings: "ScoreSettings") -> Any:
    """The guard that is the reward, or None."""
    from csrm.align.baseline_judge import GuardJudge
    from csrm.bench.guards.scorer import GuardScorer
    from csrm.bench.guards.table import get_guard, weights

    if not options.guard:
        return None
    if options.guard_model is None:
        raise ValueError(f"--guard {options.guard} needs --guard-model, the folder of its model")
    guard = get_guard(options.config_dir, options.guard)
    return GuardJudge(GuardScorer.open(guard, weights(guard, options.guard_model), settings))


def _folders(options: argparse.Namespace) -> list[Path]:
    """The folders that a trainer writes adapters to, made."""
    folders = [options.output, *options.checkpoints]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def _settings(options: argparse.Namespace) -> AlignSettings:
    settings: AlignSettings = read_slice(options.settings, AlignSettings)
    return settings


def _samples(path: Path) -> "list[Sample]":
    from csrm.align.schema import Sample

    return read_rows(path, Sample)


def _counts(samples: "list[Sample]") -> dict[str, int]:
    return {
        "samples": len(samples),
        "empty": sum(not s.response for s in samples),
        "unfinished": sum(not s.finished for s in samples),
        "tokens": sum(s.n_tokens for s in samples),
    }


def _existing(options: argparse.Namespace, *names: str) -> dict[str, Path]:
    """Inputs of a command; the encoder `hash` is no file."""
    paths = {name: getattr(options, name) for name in names}
    return {name: path for name, path in paths.items() if not (name == "encoder" and str(path) == "hash")}
