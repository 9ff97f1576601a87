"""Commands that evaluate policies: each reads judged generations or rewards and writes one JSON document."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm.align.commands import ALGORITHMS, language_model_judge
from csrm.files import read_dicts, read_json, read_rows, write_json, write_rows
from csrm.provenance import recording
from csrm.rows import ScoreRow
from csrm.settings import AlignSettings, CapabilitySettings, MetricSettings, read_slice

if TYPE_CHECKING:
    from csrm.align.schema import Judgement


def register(commands: Any) -> None:
    """Add the commands of this module to the subparsers of `csrm`."""
    evaluate = _policy(commands, "evaluate-policy", run_evaluate)
    compare = _policy(commands, "compare-policies", run_compare)
    compare.add_argument("--other", required=True, help="reward of the policy that is subtracted")
    for command, names in (
        (evaluate, ("judgements-before", "judgements-after")),
        (compare, ("judgements", "other-judgements")),
    ):
        for name in names:
            command.add_argument(f"--{name}", type=Path, nargs="+", required=True, help="of `csrm judge`, one a seed")
        command.add_argument("--trained-under", help="the policies' own configuration (default: --config-id)")
        command.add_argument("--seeds", type=int, nargs="+", help="of alignment, in the same order (default: --seed)")
        command.add_argument("--algorithm", choices=ALGORITHMS, required=True, help="recorded in the result")
    pareto = _policy(commands, "pareto", run_pareto)
    pareto.add_argument("--samples", type=Path, required=True, help="samples of `csrm sample`")
    pareto.add_argument("--scores", type=Path, required=True, help="the reward's scores of the samples")
    pareto.add_argument("--judgements", type=Path, required=True, help="judgements of the same samples")
    pareto.add_argument("--align-settings", type=Path, required=True, help="slice `align`: offsets and slope")
    pareto.add_argument("--others", nargs="*", default=[], help="rewards that this one's hypervolume is set against")
    pareto.add_argument("--other-scores", type=Path, nargs="*", default=[], help="their scores, in the same order")
    judge = _document(commands, "evaluate-judge", run_evaluate_judge)
    judge.add_argument(
        "--rows", type=Path, nargs="+", required=True, help="rows with human verdicts on refusal or objective"
    )
    way = judge.add_mutually_exclusive_group(required=True)
    way.add_argument("--encoder", help="the judge by rules: its encoder's folder, or `hash`")
    way.add_argument("--align-settings", type=Path, help="the judge by rating: slice `align`, whose `llm` rates")
    judge.add_argument("--llm-cache", type=Path, help="answers of the judge (default: the user's cache)")
    curve = _policy(commands, "evaluate-checkpoints", run_evaluate_checkpoints)
    curve.add_argument("--adapter", type=Path, required=True, help="folder of the policy at the end of training")
    curve.add_argument("--judgements", type=Path, nargs="+", required=True, help="before training, then step by step")
    curve.add_argument("--scores", type=Path, nargs="+", required=True, help="the reward's, in the same order")
    curve.add_argument("--align-settings", type=Path, required=True, help="slice `align`: slope of the reward")
    curve.add_argument("--algorithm", choices=ALGORITHMS, required=True, help="recorded in the result")
    measure = commands.add_parser(
        "measure-capability", help=run_measure_capability.__doc__, description=run_measure_capability.__doc__
    )
    measure.add_argument("--policy", type=Path, required=True, help="plain Hugging Face folder")
    measure.add_argument("--adapter", type=Path, help="folder of an aligned policy's adapter")
    measure.add_argument("--settings", type=Path, help="slice `capability`: tasks of the harness")
    measure.add_argument("--texts", type=Path, help="JSON lines of `id` and `text` (default: the project's passages)")
    measure.add_argument("--seed", type=int, default=0, help="of the harness")
    measure.add_argument("--output", type=Path, required=True, help="JSON lines to write, one a passage or document")
    measure.set_defaults(run=run_measure_capability)
    capability = _policy(commands, "evaluate-capability", run_evaluate_capability)
    capability.add_argument("--before", type=Path, required=True, help="of `csrm measure-capability`, of the policy")
    capability.add_argument("--after", type=Path, nargs="+", required=True, help="of the aligned policy, one a seed")
    capability.add_argument("--seeds", type=int, nargs="+", help="of alignment, in the same order (default: --seed)")
    capability.add_argument("--algorithm", choices=ALGORITHMS, required=True, help="recorded in the result")


def run_evaluate(options: argparse.Namespace) -> None:
    """Metrics before and after alignment, of the first seed, and their means over all seeds where there are several."""
    from csrm.align.metrics import compare
    from csrm.align.seed_means import invalid_over_seeds, over_seeds

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    inputs = {name: getattr(options, name) for name in ("judgements_before", "judgements_after")}
    with recording([options.output], inputs, settings, options.seed):
        before, after = (_runs(paths, options) for paths in inputs.values())
        head = _trained(options, settings)
        means = {
            name: over_seeds(runs, subtracted, settings, options.seed) | invalid_over_seeds(runs, subtracted)
            for name, runs, subtracted in (
                ("before", before, None),
                ("after", after, None),
                ("difference", after, before),
            )
            if len(runs) > 1
        }
        found = compare(before[0], after[0], settings, options.seed)
        write_json(options.output, {**head, **found, "over_seeds": means or None})


def run_compare(options: argparse.Namespace) -> None:
    """One reward's policy minus another's, on the same prompts and seeds."""
    from csrm.align.seed_means import invalid_over_seeds, over_seeds

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    inputs = {name: getattr(options, name) for name in ("judgements", "other_judgements")}
    with recording([options.output], inputs, settings, options.seed):
        own, others = (_runs(paths, options) for paths in inputs.values())
        head = _trained(options, settings)
        found = over_seeds(own, others, settings, options.seed) | invalid_over_seeds(own, others)
        write_json(options.output, {"kind": "policies", **head, "other": options.other, "difference": found})


def run_pareto(options: argparse.Namespace) -> None:
    """Sweep the offset of the safety logits (Figure 4)."""
    from csrm.align.pareto import sweep
    from csrm.align.schema import Judgement, Sample

    if len(options.others) != len(options.other_scores):
        raise ValueError(f"--others names {len(options.others)} rewards, --other-scores {len(options.other_scores)}")
    align: AlignSettings = read_slice(options.align_settings, AlignSettings)
    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    inputs = {name: getattr(options, name) for name in ("samples", "scores", "judgements", "other_scores")}
    slices = {"align": align.model_dump(mode="json"), "metrics": settings.model_dump(mode="json")}
    with recording([options.output], inputs, slices, options.seed):
        result = sweep(
            read_rows(options.samples, Sample),
            read_rows(options.scores, ScoreRow),
            read_rows(options.judgements, Judgement),
            align,
            settings,
            options.seed,
            {name: read_rows(path, ScoreRow) for name, path in zip(options.others, options.other_scores, strict=True)},
        )
        write_json(options.output, {**_identity(options, settings), **result})


def run_evaluate_judge(options: argparse.Namespace) -> None:
    """Accuracy of what the judge decides, by rules or by a language model's rating, against verdicts of people."""
    from csrm.align.judge import Rating
    from csrm.align.judge_accuracy import by_rating, by_rules, judge_accuracy
    from csrm.augment.encoder import load_encoder
    from csrm.rows import Row

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    slices: dict[str, Any] = {"metrics": settings.model_dump(mode="json")}
    inputs: dict[str, Any] = {"rows": options.rows}
    judge = None
    head: dict[str, Any] = {"kind": "judge", "judge": "lexicon"}
    if options.align_settings:
        align: AlignSettings = read_slice(options.align_settings, AlignSettings)
        slices["align"] = align.model_dump(mode="json", include={"judge", "llm"})
        judge = language_model_judge(align, (), options.llm_cache)
        head.update(judge="llm", llm=align.llm.model)
    elif options.encoder != "hash":
        inputs["encoder"] = Path(options.encoder)
    with recording([options.output], inputs, slices, options.seed) as notes:
        deciders = by_rating(Rating(judge)) if judge else by_rules(load_encoder(options.encoder))
        told = {path.stem: read_rows(path, Row) for path in options.rows}
        found = {name: judge_accuracy(rows, deciders, settings, options.seed) for name, rows in told.items()}
        head |= {"scale": options.scale, "seed": options.seed, "level": settings.level}
        write_json(options.output, {**head, "datasets": found})
        notes.update(judge.notes() if judge else {})


def run_evaluate_checkpoints(options: argparse.Namespace) -> None:
    """Reward and judge along training: over-optimisation."""
    from csrm.align.checkpoints import Answers, reward_curve
    from csrm.align.schema import Judgement

    align: AlignSettings = read_slice(options.align_settings, AlignSettings)
    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    trained = read_json(options.adapter / "manifest.json")["notes"]
    steps = [0, *trained["checkpoints"], trained["updates"]]
    if not len(steps) == len(options.judgements) == len(options.scores):
        raise ValueError(
            f"{options.adapter} was kept at {len(steps) - 1} steps: give {len(steps)} --judgements and --scores, "
            f"got {len(options.judgements)} and {len(options.scores)}"
        )
    inputs = {name: getattr(options, name) for name in ("adapter", "judgements", "scores")}
    slices = {"align": align.model_dump(mode="json"), "metrics": settings.model_dump(mode="json")}
    with recording([options.output], inputs, slices, options.seed):
        answers = [
            Answers(read_rows(judged, Judgement), read_rows(scored, ScoreRow))
            for judged, scored in zip(options.judgements, options.scores, strict=True)
        ]
        points = dict(zip(steps, answers, strict=True))
        curve = reward_curve(points, _kl(options.adapter), align.sweep_slope, settings, options.seed)
        head = {"kind": "checkpoints", **_identity(options, settings), "algorithm": ALGORITHMS[options.algorithm]}
        write_json(options.output, {**head, "curve": curve})


def run_measure_capability(options: argparse.Namespace) -> None:
    """What a policy makes of neutral text, passage by passage, and of lm-evaluation-harness's tasks where named."""
    from csrm.align.capability import Passage, measure_passages, project_passages
    from csrm.align.harness import measure_tasks
    from csrm.align.policy import load_policy

    asked = read_slice(options.settings, CapabilitySettings) if options.settings else CapabilitySettings()
    texts = options.texts or project_passages()
    adapters = [options.adapter] if options.adapter else []
    inputs = {"policy": options.policy, "adapter": adapters, "texts": texts}
    with recording([options.output], inputs, asked, options.seed):
        policy = load_policy(options.policy, *adapters, dtype="float32")
        found = measure_passages(policy, read_rows(texts, Passage))
        if asked.tasks:
            found += measure_tasks(load_policy(options.policy, *adapters), asked, options.seed)
        write_rows(options.output, found)


def run_evaluate_capability(options: argparse.Namespace) -> None:
    """Perplexity on neutral text, and tasks, before and after alignment: what alignment cost in general capability."""
    from csrm.align.capability import Measured, compare_measures

    if len(options.after) != len(_seeds(options)):
        raise ValueError(f"{len(options.after)} files after alignment for the seeds {_seeds(options)}: give one a seed")
    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    with recording([options.output], {"before": options.before, "after": options.after}, settings, options.seed):
        before, *after = (read_rows(path, Measured) for path in (options.before, *options.after))
        found = compare_measures(before, after, settings, options.seed)
        head = {**_identity(options, settings), "algorithm": ALGORITHMS[options.algorithm], "seeds": _seeds(options)}
        write_json(options.output, {"kind": "capability", **head, "measures": found})


def _kl(adapter: Path) -> dict[int, float]:
    """Step -> KL estimate of the policy there, where the training log holds any (REINFORCE++).

    A batch is sampled before the update that logs it: line s tells of the policy after s - 1 updates, none of the last.
    """
    return {int(row["step"]) - 1: float(row["kl"]) for row in read_dicts(adapter / "log.jsonl") if "kl" in row}


def _trained(options: argparse.Namespace, settings: MetricSettings) -> dict[str, Any]:
    """Identity of a comparison of policies: algorithm, seeds, and the configuration that they were trained under."""
    head = {**_identity(options, settings), "algorithm": ALGORITHMS[options.algorithm], "seeds": _seeds(options)}
    return {**head, "trained_under": options.trained_under or options.config_id}


def _seeds(options: argparse.Namespace) -> list[int]:
    return list(options.seeds or [options.seed])


def _runs(paths: list[Path], options: argparse.Namespace) -> "list[list[Judgement]]":
    """Judgements of each seed.

    Raises:
        ValueError: if there are not as many files as seeds.
    """
    from csrm.align.schema import Judgement

    if len(paths) != len(_seeds(options)):
        raise ValueError(f"{len(paths)} files of judgements for the seeds {_seeds(options)}: give one a seed")
    return [read_rows(path, Judgement) for path in paths]


def _policy(commands: Any, name: str, run: Any) -> Any:
    """A command whose document is of one configuration and one reward."""
    parser = _document(commands, name, run)
    parser.add_argument("--config-id", required=True, help="recorded in the result")
    parser.add_argument("--reward", required=True, help="recorded in the result")
    return parser


def _document(commands: Any, name: str, run: Any) -> Any:
    parser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="slice `metrics`")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--scale", required=True, help="recorded in the result")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.set_defaults(run=run)
    return parser


def _identity(options: argparse.Namespace, settings: MetricSettings) -> dict[str, Any]:
    head = {"config": options.config_id, "reward": options.reward, "scale": options.scale}
    return {**head, "seed": options.seed, "level": settings.level}
