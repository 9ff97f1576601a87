"""Commands of CoSAlign; each reads files, calls one pure function and writes files with a manifest."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm.files import read_dicts, read_json, read_rows, write_json, write_rows
from csrm.provenance import recording
from csrm.rows import ScoreRow
from csrm.settings import CosaSettings, MetricSettings, read_slice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csrm.cosa.judges import Judge
    from csrm.cosa.schema import Labelled, Verdict
    from csrm.cosa.topics import Taxonomy

FLAGS: dict[str, dict[str, Any]] = {
    "--settings": {"type": Path, "required": True, "help": "slice `cosa`"},
    "--policy": {"type": Path, "required": True, "help": "model folder"},
    "--encoder": {"type": Path, "required": True, "help": "sentence encoder folder, or `hash`"},
    "--prompts": {"type": Path, "required": True, "help": "training or test prompts of `csrm cosalign-prompts`"},
    "--pairs": {"type": Path, "required": True, "help": "pairs of `csrm cosalign-pairs`"},
    "--answers": {"type": Path, "required": True, "help": "answers of `csrm cosalign-answer`"},
    "--llm-cache": {"type": Path, "help": "answers of the judge (default: the user's cache)"},
    "--scratch": {"type": Path, "required": True, "help": "folder for the trainer's temporary files"},
    "--seed": {"type": int, "default": 0, "help": "seed of all draws"},
    "--output": {"type": Path, "required": True, "help": "file or folder to write"},
}
JUDGING = ("--settings", "--llm-cache")
TRAINING = ("--policy", "--pairs", "--settings", "--seed", "--scratch", "--output")


def register(commands: Any) -> None:
    """Add the commands of this module to the subparsers of `csrm`."""
    prompts = _add(commands, "cosalign-prompts", run_prompts, "--settings", "--seed")
    prompts.add_argument("--rows", type=Path, help="rows of CoSAlign-Test (cosa.taxonomy cosalign)")
    prompts.add_argument("--output-dir", type=Path, required=True, help="folder to write train.jsonl and test.jsonl to")
    _add(
        commands,
        "cosalign-label",
        run_label,
        "--policy",
        "--prompts",
        "--settings",
        "--llm-cache",
        "--seed",
        "--output",
    )
    imports = _add(commands, "cosalign-import", run_import, *JUDGING, "--output")
    imports.add_argument("--rows", type=Path, nargs="+", required=True, help="rows of data sets labelled with harms")
    imports.add_argument("--test-prompts", type=Path, required=True, help="prompts that are left out")
    imports.add_argument("--data-settings", type=Path, required=True, help="slice `data`, for the length of responses")
    pairs = _add(commands, "cosalign-pairs", run_pairs, "--settings", "--seed", "--output")
    pairs.add_argument("--responses", type=Path, required=True, help="labelled responses, by any judge")
    pairs.add_argument("--test-prompts", type=Path, help="prompts whose responses are left out")
    check = _add(commands, "cosalign-check", run_check, "--output")
    check.add_argument("--rows", type=Path, nargs="+", required=True, help="JSON lines in CoSAlign-Train's columns")
    check.add_argument(
        "--categories", type=int, choices=(4, 7), default=4, help="size of T: 4 as published, 7 as for in-context shots"
    )
    _add(commands, "cosalign-export", run_export, "--pairs", "--output")
    _add(commands, "cosalign-finetune", run_finetune, *TRAINING)
    prefer = _add(commands, "cosalign-prefer", run_prefer, *TRAINING)
    prefer.add_argument("--tuned", type=Path, required=True, help="adapter of `csrm cosalign-finetune`")
    answer = _add(commands, "cosalign-answer", run_answer, "--policy", "--prompts", "--settings", "--seed", "--output")
    answer.add_argument("--adapters", type=Path, nargs="*", default=[], help="LoRA adapters, merged in this order")
    answer.add_argument("--examples", type=Path, help="labelled responses to draw in-context exchanges from")
    _add(commands, "cosalign-items", run_items, "--answers", "--settings", "--output")
    _add(commands, "cosalign-judge", run_judge, "--answers", "--encoder", *JUDGING, "--output")
    evaluate = _add(commands, "cosalign-evaluate", run_evaluate, "--settings", "--seed", "--output")
    evaluate.add_argument(
        "--verdicts",
        type=Path,
        nargs="+",
        required=True,
        help="METHOD.jsonl of cosalign-judge, a folder a seed",
    )
    evaluate.add_argument(
        "--own-scores",
        type=Path,
        nargs="+",
        required=True,
        help="the policy's scores of its own answers, a file a seed",
    )
    evaluate.add_argument("--responses", type=Path, nargs="+", required=True, help="labelled responses of the pairs")
    evaluate.add_argument(
        "--trained", type=Path, nargs="+", required=True, help="folders of cosalign-finetune and cosalign-prefer"
    )
    evaluate.add_argument("--seeds", type=int, nargs="+", required=True, help="seed of each folder and file of scores")
    evaluate.add_argument("--taxonomy", choices=("topics", "cosalign"), required=True, help="recorded in the result")
    evaluate.add_argument("--judge", choices=("lexicon", "llm"), required=True, help="recorded in the result")
    evaluate.add_argument("--scale", required=True, help="recorded in the result")


def run_prompts(options: argparse.Namespace) -> None:
    """Draw training and test prompts, which share none; over `cosalign` test prompts alone."""
    from csrm.cosa.imported import configured_prompts
    from csrm.cosa.topics import Split, draw_prompts
    from csrm.rows import PromptRow

    taxonomy = _taxonomy(options)
    outputs = [options.output_dir / f"{part}.jsonl" for part in Split._fields]
    inputs = _inputs(options, *["rows"] * bool(options.rows))
    with recording(outputs, inputs, taxonomy.settings, options.seed) as notes:
        if taxonomy.settings.taxonomy == "topics":
            split = draw_prompts(taxonomy, options.seed)
        elif options.rows:
            split = Split([], configured_prompts(read_rows(options.rows, PromptRow), taxonomy.settings, options.seed))
        else:
            raise ValueError("cosa.taxonomy cosalign needs --rows, the rows of cosa.test_data")
        for path, rows in zip(outputs, split, strict=True):
            notes[path.stem] = write_rows(path, (row.model_dump() for row in rows))


def run_label(options: argparse.Namespace) -> None:
    """Sample responses to training prompts, bare and under drawn configurations, and label them."""
    from csrm.align.policy import load_policy
    from csrm.cosa.answers import responses, training_requests
    from csrm.cosa.schema import Asked

    taxonomy = _taxonomy(options)
    with recording([options.output], _inputs(options, "policy", "prompts"), taxonomy.settings, options.seed) as notes:
        prompts = read_rows(options.prompts, Asked)
        requests = training_requests(prompts, taxonomy, options.seed)
        judge = _judge(options, taxonomy)
        rows = judge.label(responses(load_policy(options.policy), requests, taxonomy.settings, options.seed))
        write_rows(options.output, (row.model_dump() for row in rows))
        notes.update(prompts=len(prompts), **judge.notes(), **_labels(rows))
        notes.update(empty=sum(not row.response for row in rows), unfinished=sum(not row.finished for row in rows))


def run_import(options: argparse.Namespace) -> None:
    """Take responses that data sets label with harms as CoSAlign's labelled responses, or label them anew."""
    from csrm.cosa.imported import import_rows
    from csrm.cosa.schema import Asked
    from csrm.rows import Row
    from csrm.settings import DataSettings

    longest = read_slice(options.data_settings, DataSettings).max_response_words
    taxonomy = _taxonomy(options)
    inputs = _inputs(options, "rows", "test_prompts", "data_settings")
    with recording([options.output], inputs, taxonomy.settings) as notes:
        tested = {row.prompt_id for row in read_rows(options.test_prompts, Asked)}
        rows = [row for path in options.rows for row in read_rows(path, Row)]
        made = import_rows(rows, tested, longest)
        asked = taxonomy.settings.judge == "llm"
        judge = _judge(options, taxonomy)
        labelled = judge.label(made.rows) if asked else made.rows
        write_rows(options.output, (row.model_dump() for row in labelled))
        notes.update(rows=len(rows), left_out=made.left_out, **_labels(labelled))
        notes.update(judge.notes() if asked else {"judge": "data set"})


def run_pairs(options: argparse.Namespace) -> None:
    """Pair labelled responses by error score under drawn configurations."""
    from csrm.cosa.pairs import make_pairs, record
    from csrm.cosa.records import problems
    from csrm.cosa.schema import Asked, Labelled

    taxonomy = _taxonomy(options)
    inputs = _inputs(options, "responses", *["test_prompts"] * bool(options.test_prompts))
    with recording([options.output], inputs, taxonomy.settings, options.seed) as notes:
        held_out = read_rows(options.test_prompts, Asked) if options.test_prompts else []
        tested = {row.prompt_id for row in held_out}
        made = make_pairs(read_rows(options.responses, Labelled), taxonomy, options.seed, tested)
        seen = frozenset(taxonomy.settings.seen)
        wrong = [f"{pair.id}: {problem}" for pair in made.pairs for problem in problems(record(pair), seen)]
        if wrong:
            raise ValueError(f"{len(wrong)} pairs break CoSAlign's rules, such as {wrong[0]}")
        if not made.pairs:
            raise ValueError(f"no two responses to a prompt differ in their labels: {made.counts}; sample more of them")
        write_rows(options.output, (pair.model_dump() for pair in made.pairs))
        notes.update(made.counts)


def run_check(options: argparse.Namespace) -> None:
    """Check rows in CoSAlign-Train's columns: error scores, their order, and the modes of the configurations."""
    from csrm.cosa.records import problems, published_record
    from csrm.cosa.synthesis import NAMED, SEEN

    nameable = NAMED if options.categories == 7 else SEEN
    with recording([options.output], {"rows": options.rows}):
        found: dict[str, list[str]] = {}
        count = 0
        for path in options.rows:
            for number, row in enumerate(read_dicts(path), start=1):
                count += 1
                try:
                    read = published_record(row)
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from None
                if wrong := problems(read, nameable):
                    found[f"{path.name}:{number}"] = wrong
        report = {"kind": "cosalign-check", "categories": options.categories, "rows": count, "wrong": len(found)}
        write_json(options.output, {**report, "problems": found})
    if found:
        place, wrong = next(iter(found.items()))
        raise ValueError(f"{len(found)} of {count} rows break CoSAlign's rules, such as {place}: {'; '.join(wrong)}")


def run_export(options: argparse.Namespace) -> None:
    """Write pairs over CoSAlign's harms in CoSAlign-Train's columns, as JSON lines."""
    from csrm.cosa.export import export_pairs
    from csrm.cosa.schema import Pair

    with recording([options.output], _inputs(options, "pairs")) as notes:
        rows, categories = export_pairs(read_rows(options.pairs, Pair))
        notes.update(rows=write_rows(options.output, rows), categories=categories)


def run_finetune(options: argparse.Namespace) -> None:
    """Fine-tune the policy on the chosen responses (a LoRA adapter)."""
    from csrm.cosa.schema import Pair
    from csrm.cosa.train import fine_tune

    settings = _settings(options)
    options.output.mkdir(parents=True, exist_ok=True)
    with recording([options.output], _inputs(options, "policy", "pairs"), settings, options.seed) as notes:
        pairs = read_rows(options.pairs, Pair)
        trained = fine_tune(options.policy, pairs, settings, options.seed, options.scratch, options.output)
        write_rows(options.output / "log.jsonl", trained.log)
        notes.update(trained.notes)


def run_prefer(options: argparse.Namespace) -> None:
    """Train the fine-tuned policy by DPO (a second LoRA adapter)."""
    from csrm.cosa.schema import Pair
    from csrm.cosa.train import prefer

    settings = _settings(options)
    options.output.mkdir(parents=True, exist_ok=True)
    with recording([options.output], _inputs(options, "policy", "pairs", "tuned"), settings, options.seed) as notes:
        pairs = read_rows(options.pairs, Pair)
        trained = prefer(options.policy, options.tuned, pairs, settings, options.seed, options.scratch, options.output)
        write_rows(options.output / "log.jsonl", trained.log)
        notes.update(trained.notes)


def run_answer(options: argparse.Namespace) -> None:
    """Answer the test prompts under every test configuration."""
    from csrm.align.policy import load_policy
    from csrm.cosa.answers import answer, test_requests
    from csrm.cosa.schema import Asked, Labelled

    taxonomy = _taxonomy(options)
    inputs = _inputs(
        options, "policy", "prompts", *["adapters"] * bool(options.adapters), *["examples"] * bool(options.examples)
    )
    with recording([options.output], inputs, taxonomy.settings, options.seed) as notes:
        prompts = read_rows(options.prompts, Asked)
        tested = {row.prompt_id for row in prompts}
        shown = read_rows(options.examples, Labelled) if options.examples else []
        examples = [row for row in shown if row.prompt_id not in tested]
        requests = test_requests(prompts, taxonomy, examples, options.seed)
        policy = load_policy(options.policy, *options.adapters)
        rows = answer(policy, requests, taxonomy.settings, options.seed)
        notes.update(prompts=len(prompts), answers=write_rows(options.output, (row.model_dump() for row in rows)))
        notes.update(unfinished=sum(not row.finished for row in rows), empty=sum(not row.response for row in rows))


def run_items(options: argparse.Namespace) -> None:
    """Write a policy's answers as items for its own verdict (Cascade)."""
    from csrm.cosa.evaluate import self_items
    from csrm.cosa.schema import Answer

    taxonomy = _taxonomy(options)
    with recording([options.output], _inputs(options, "answers"), taxonomy.settings) as notes:
        answers = read_rows(options.answers, Answer)
        items = self_items(answers, taxonomy)
        notes.update(answers=len(answers), items=write_rows(options.output, (item.model_dump() for item in items)))


def run_judge(options: argparse.Namespace) -> None:
    """Judge compliance by lexicon and helpfulness by the proxy, or both by a language model."""
    from csrm.cosa.evaluate import judge
    from csrm.cosa.schema import Answer

    taxonomy = _taxonomy(options)
    with recording([options.output], _inputs(options, "answers", "encoder"), taxonomy.settings) as notes:
        answers, asked = read_rows(options.answers, Answer), _judge(options, taxonomy)
        rows = judge(answers, asked.judge(answers))
        notes.update(asked.notes(), rows=write_rows(options.output, (row.model_dump() for row in rows)))
        notes.update(invalid=sum(row.safe is None or row.helpfulness is None for row in rows))


def run_evaluate(options: argparse.Namespace) -> None:
    """CoSA-Score and outcome shares of every method, on seen and unseen configurations, and means over seeds."""
    from csrm.cosa.evaluate import evaluate, evaluate_seeds
    from csrm.cosa.schema import Labelled

    settings = read_slice(options.settings, MetricSettings)
    inputs = _inputs(options, "verdicts", "own_scores", "responses", "trained")
    with recording([options.output], inputs, settings, options.seed):
        runs = _runs(options)
        groups = evaluate(runs[0], settings, options.seed)
        head = {"kind": "cosa", "scale": options.scale, "seed": options.seed, "level": settings.level}
        head |= {"taxonomy": options.taxonomy, "judge": options.judge, "seeds": options.seeds}
        labels = _labels([row for path in options.responses for row in read_rows(path, Labelled)])
        means = {"over_seeds": evaluate_seeds(runs, settings, options.seed)} if len(runs) > 1 else {}
        cut = {"too_long": _too_long([read_json(folder / "manifest.json") for folder in options.trained])}
        write_json(options.output, {**head, "labels": labels, **cut, "groups": groups, **means})


def _runs(options: argparse.Namespace) -> "list[dict[str, list[Verdict]]]":
    """Verdicts of every method, one mapping a seed: the files of one folder and one file of the policy's own scores."""
    from csrm.cosa.evaluate import methods
    from csrm.cosa.schema import Verdict

    folders: dict[Path, list[Path]] = {}
    for path in options.verdicts:
        folders.setdefault(path.parent, []).append(path)
    if not len(folders) == len(options.own_scores) == len(options.seeds):
        raise ValueError(
            f"{len(options.seeds)} seeds, {len(folders)} folders of verdicts, {len(options.own_scores)} files of own "
            "scores: give one of each for every seed"
        )
    runs = []
    for paths, scores in zip(folders.values(), options.own_scores, strict=True):
        own = {row.id for row in read_rows(scores, ScoreRow) if row.log_odds <= 0}
        runs.append(methods({path.stem: read_rows(path, Verdict) for path in paths}, own))
    return runs


def _labels(rows: "Sequence[Labelled]") -> dict[str, int]:
    """Counts of labelled responses: all, invalid verdicts, those that address their prompt, those with a label."""
    return {
        "responses": len(rows),
        "invalid": sum(row.addressed is None for row in rows),
        "addressed": sum(row.addressed or 0 for row in rows),
        "touching": sum(bool(row.found) for row in rows),
    }


def _too_long(manifests: "Sequence[Mapping[str, Any]]") -> dict[str, dict[str, int]]:
    """Of each training, over all seeds, what it was given, and what of it was left out over the length limit."""
    names = {"fine-tuning": ("prompts", "too_long"), "DPO": ("pairs", "pairs_too_long")}
    found: dict[str, dict[str, int]] = {}
    for stage, (used, left_out) in names.items():
        notes = [manifest["notes"] for manifest in manifests if left_out in manifest["notes"]]
        dropped = sum(note[left_out] for note in notes)
        found[stage] = {"given": sum(note[used] for note in notes) + dropped, "too_long": dropped}
    return found


def _judge(options: argparse.Namespace, taxonomy: "Taxonomy") -> "Judge":
    """The judge that the settings name; rules need no encoder to label."""
    from csrm.augment.encoder import load_encoder
    from csrm.augment.llm import open_llm
    from csrm.cosa.judges import ModelJudge, RuleJudge

    settings = taxonomy.settings
    if settings.judge == "lexicon":
        encoder = getattr(options, "encoder", None)
        return RuleJudge(taxonomy, load_encoder(encoder) if encoder else None)
    workers = settings.concurrency if settings.llm.base_url else 1
    return ModelJudge(taxonomy, open_llm(settings.llm, None, options.llm_cache), workers)


def _add(commands: Any, name: str, run: Any, *flags: str) -> Any:
    parser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    for flag in flags:
        parser.add_argument(flag, **FLAGS[flag])
    parser.set_defaults(run=run)
    return parser


def _settings(options: argparse.Namespace) -> CosaSettings:
    settings: CosaSettings = read_slice(options.settings, CosaSettings)
    return settings


def _taxonomy(options: argparse.Namespace) -> "Taxonomy":
    from csrm.configs.topics import load_topics
    from csrm.cosa.topics import Taxonomy

    return Taxonomy(load_topics(), _settings(options))


def _inputs(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Inputs of a command; the encoder `hash` is no file."""
    paths = {name: getattr(options, name) for name in names}
    return {name: path for name, path in paths.items() if not (name == "encoder" and str(path) == "hash")}
