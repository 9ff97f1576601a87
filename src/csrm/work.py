"""How much a training computes: a bound from its settings, or tokens counted in the groups that a run has made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from csrm.rows import Group
from csrm.settings import AugmentSettings, Settings, TrainSettings

SAMPLED = 64  # groups of each source that are counted


class Work(NamedTuple):
    """What is computed: tokens, mean length of a tree (tokens), answers, and where the counts come from."""

    tokens: float
    row: float
    answers: float
    source: str


def work_from_settings(settings: TrainSettings, tokens_per_group: int | None = None) -> Work:
    """Tokens from settings alone: every unit of a batch as long as one input may be, or `tokens_per_group`.

    That is an upper bound where the inputs of a group, which share their conversation, fit in `train.max_length`
    together. Where the groups of a conversation are one unit they may not, and it is no bound.
    """
    row = tokens_per_group or settings.max_length
    units = settings.steps * settings.batch_groups
    unit = "conversation" if settings.by_conversation else "group"
    together = "no upper bound, its groups may be longer together"
    bound = together if settings.by_conversation else "an upper bound if a group's inputs fit in it together"
    kind = "as given" if tokens_per_group else f"train.max_length: {bound}"
    return Work(float(units * row), float(row), 2.0 * units, f"{row} tokens a {unit} ({kind}), 2 answers a {unit}")


def work_from_groups(settings: TrainSettings, groups: Sequence[Path], backbone: Path, seed: int, sample: int) -> Work:
    """Tokens counted on a sample of the variant's own mixture, and scaled to the whole run.

    Args:
        settings: the variant's training settings.
        groups: JSON lines of training groups.
        backbone: folder of the backbone's tokenizer.
        seed: of the mixture.
        sample: groups to count, rounded up to whole batches.
    """
    from transformers import AutoTokenizer

    from csrm.train.dataset import prepare

    batches = min(settings.steps, -(-sample // settings.batch_groups))
    counted = settings.model_copy(update={"steps": batches})
    examples, _ = prepare(AutoTokenizer.from_pretrained(backbone), groups, counted, seed)
    scale = settings.steps / batches
    rows = [len(example.tree) for example in examples]
    mean_row = sum(size * size for size in rows) / sum(rows)  # weighted by tokens: attention grows with the square
    answers = sum(len(example.labels) for example in examples)
    return Work(sum(rows) * scale, mean_row, answers * scale, f"tokens of {len(examples)} groups of the mixture")


def work_from_sample(settings: TrainSettings, files: Mapping[str, Path], backbone: Path, seed: int) -> Work:
    """Tokens of groups drawn one by one, counted on random lines of each source's file; quick, whatever their size.

    Args:
        settings: the variant's training settings.
        files: source -> JSON lines of its groups.
        backbone: folder of the backbone's tokenizer.
        seed: of the sample.
    """
    from transformers import AutoTokenizer

    from csrm.augment.mix import allocate
    from csrm.train.dataset import encode_unit

    tokenizer = AutoTokenizer.from_pretrained(backbone)
    shares = {source: settings.shares[source] for source in files if settings.shares[source] > 0}  # type: ignore[index]
    tokens = squares = answers = 0.0
    for source, count in allocate(shares, settings.steps * settings.batch_groups).items():
        groups = random_groups(files[source], SAMPLED, Random(f"{seed}:{source}"))
        examples = [encode_unit(tokenizer, (group,), settings) for group in groups]
        sizes = [len(example.tree) for example in examples]
        tokens += count * sum(sizes) / SAMPLED
        squares += count * sum(size * size for size in sizes) / SAMPLED
        answers += count * sum(len(example.labels) for example in examples) / SAMPLED
    mean = tokens / (settings.steps * settings.batch_groups)
    source = f"{mean:.0f} tokens a group, counted on {SAMPLED} random groups of each source that the run has made"
    return Work(tokens, squares / tokens, answers, source)


def random_groups(path: Path, count: int, rng: Random) -> Iterator[Group]:
    """`count` groups of a file: the line after a random byte, again and again."""
    size = path.stat().st_size
    with path.open("rb") as lines:
        for _ in range(count):
            lines.seek(rng.randrange(size))
            lines.readline()
            line = lines.readline()
            if not line:
                lines.seek(0)
                line = lines.readline()
            yield Group.model_validate_json(line)


def planned_work(
    settings: Settings, draws: Mapping[str, AugmentSettings], backbone: Callable[[str], str]
) -> Callable[[TrainSettings], Work]:
    """Work of each model of a run: counted where its groups and its tokenizer are there, else the settings' bound.

    Args:
        settings: the run's.
        draws: the run's draws of groups.
        backbone: model id -> its folder.
    """
    from csrm.variants import draw_of

    def work_of(chosen: TrainSettings) -> Work:
        trained = {"base": True, "cca": chosen.cca, "sa": chosen.sa, "response": bool(settings.data.response_pairs)}
        folder = Path(settings.outdir) / "augmented" / draw_of(chosen.variants[0], settings.train, draws)
        files = {source: folder / f"{source}.jsonl" for source, used in trained.items() if used}
        model = Path(backbone(chosen.backbone))
        made = (model / "config.json").is_file() and all(p.is_file() and p.stat().st_size for p in files.values())
        if chosen.by_conversation or not made:
            return work_from_settings(chosen)
        return work_from_sample(chosen, files, model, settings.seed if chosen.seed is None else chosen.seed)

    return work_of
