"""Table 1: the training data by source and data set, published counts beside those of a run, with licences."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from csrm.data.tables import Dataset
from csrm.report.cells import footnote_list, markdown_head, markdown_line, marked, to_csv
from csrm.report.published import Published, footnote, select
from csrm.rows import Group

TASKS = {"CLS": "examples (CLS)", "RM": "examples (RM)"}
ALL = "all"
PRINTED = {
    "BeaverTails": ("base", "beavertails"),
    "WildGuardMix": ("base", "wildguardmix"),
    "AEGIS-2.0": ("base", "aegis2"),
    "Creative Safety Categories (CCA)": ("cca", ALL),
    "CoSApien": ("evaluation", "cosapien-prompts"),
    "DynaBench": ("evaluation", "dynabench"),
    "Safe-RLHF": ("response", "safe-rlhf"),
    "BeaverTails-Aug (SA)": ("sa", "beavertails"),
    "WildGuardMix-Aug (SA)": ("sa", "wildguardmix"),
}
"""Row of the printed table -> source and data set of this project."""
WHOLE = {
    "beavertails": "beavertails-330k-train",
    "aegis2": "aegis2-train",
    "safe-rlhf": "safe-rlhf-ranked",
    "cosapien-prompts": "cosapien-judged",
}
"""Data set -> the split or reading of it that stands in its line where a run has that."""
ANSWERED = {"topics": "topics-prompts"}
"""Data sets whose responses the policy model wrote -> the data set of their prompts."""
ORDER = ("base", "cca", "sa", "response", "evaluation", ALL)
NOTE = (
    "CLS counts labelled configurations (one classification example each), RM ranking pairs; one conversation gives "
    "several. `published` is printed in the paper (rounded there to thousands), `{measured}` was counted in this "
    "run's training groups before mixing. CoSApien and DynaBench are evaluated on, not trained on; of them "
    "rows are counted, where the run has a benchmark of them."
)


class Count(NamedTuple):
    """What one source made of one data set."""

    conversations: int
    groups: int
    cls: int
    rm: int


class Line(NamedTuple):
    """A line of Table 1: examples of one task from one source and data set."""

    source: str
    dataset: str
    task: str
    published: int | None
    measured: int | None
    scale: str
    groups: int | None
    conversations: int | None
    published_as: str
    licence: str
    footnote: str


def count(groups: Iterable[Group], datasets: Mapping[str, str]) -> dict[tuple[str, str], Count]:
    """Examples by (source, data set); each source has an entry for `ALL` of its data sets as well.

    Args:
        groups: training groups of any source.
        datasets: id of a row -> its data set.

    Raises:
        ValueError: if a group comes from none of the rows.
    """
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    rows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for group in groups:
        source, row = origin(group)
        if row not in datasets:
            raise ValueError(f"group {group.id!r} comes from row {row!r}, which is in none of the files of --rows")
        labelled = sum(branch.label is not None for branch in group.branches)
        for key in ((source, datasets[row]), (source, ALL)):
            sums[key].update(groups=1, cls=labelled, rm=len(group.pairs))
            rows[key].add(row)
    return {key: Count(len(rows[key]), found["groups"], found["cls"], found["rm"]) for key, found in sums.items()}


def count_evaluation(datasets: Iterable[str]) -> dict[tuple[str, str], Count]:
    """Rows of benchmarks by data set, as counts of source `evaluation`.

    Args:
        datasets: the data set of each row.
    """
    return {("evaluation", name): Count(n, 0, n, 0) for name, n in Counter(datasets).items()}


def origin(group: Group) -> tuple[str, str]:
    """Source of a group and id of the row that it was made from."""
    source = group.branches[0].source
    row = group.id.removeprefix(f"{source}:")
    return source, row.rsplit(":", 2)[0] if source == "sa" else row


def data_table(counts: Mapping[tuple[str, str], Count], datasets: Mapping[str, Dataset], scale: str) -> tuple[str, str]:
    """Table 1 as CSV and Markdown.

    Args:
        counts: see `count`.
        datasets: `config/datasets.tsv`.
        scale: scale of the run.

    Raises:
        ValueError: if a counted data set is not in the table of data sets.
    """
    printed = {(*_place(fact, counts), _task(fact)): fact for fact in select("Table 1")}
    keys = {(*key, task) for key in counts for task in TASKS} | printed.keys()
    ordered = sorted(keys, key=lambda key: (ORDER.index(key[0]), key[1] == ALL, key[1], key[2]))
    lines = [_line(key, printed.get(key), counts.get(key[:2]), datasets, scale) for key in ordered]
    lines = [line for line in lines if line.published is not None or line.measured]
    lines += [_total(task, lines, scale) for task in TASKS]
    return to_csv(lines, Line._fields), _markdown(lines, scale)


def _place(fact: Published, counts: Mapping[tuple[str, str], Count]) -> tuple[str, str]:
    """Source and data set that a printed count is set against."""
    source, dataset = PRINTED[fact.row]
    whole = (source, WHOLE.get(dataset, dataset))
    return whole if whole in counts else (source, dataset)


def number(fact: Published) -> int:
    """A printed count in examples."""
    return round(fact.value * (1000 if fact.unit.startswith("thousand") else 1))


def _task(fact: Published) -> str:
    return next(task for task, metric in TASKS.items() if metric == fact.metric)


def _line(
    key: tuple[str, str, str],
    fact: Published | None,
    found: Count | None,
    datasets: Mapping[str, Dataset],
    scale: str,
) -> Line:
    source, dataset, task = key
    return Line(
        source,
        dataset,
        task,
        None if fact is None else number(fact),
        None if found is None else getattr(found, task.lower()),
        "" if found is None else scale,
        None if found is None else found.groups or None,
        None if found is None else found.conversations,
        "" if fact is None else fact.row,
        _licence(dataset, datasets),
        "" if fact is None else footnote(fact),
    )


def _total(task: str, lines: Iterable[Line], scale: str) -> Line:
    """Sums over what is trained on; of measured lines those of `ALL` data sets of a source, which hold the others."""
    trained = [line for line in lines if line.task == task and line.source != "evaluation"]
    published = sum(line.published or 0 for line in trained)
    whole = [line for line in trained if line.dataset == ALL]
    measured, groups = sum(line.measured or 0 for line in whole), sum(line.groups or 0 for line in whole)
    return Line(ALL, ALL, task, published, measured, scale, groups, None, "sum", "", "")


def _licence(dataset: str, datasets: Mapping[str, Dataset]) -> str:
    if dataset == ALL:
        return ""
    prompts = ANSWERED.get(dataset)
    name = prompts or dataset
    if name not in datasets:
        raise ValueError(f"data set {name!r} has no line in datasets.tsv; known: {', '.join(sorted(datasets))}")
    return f"{datasets[name].licence} (prompts)" if prompts else datasets[name].licence


def _markdown(lines: Iterable[Line], scale: str) -> str:
    measured = f"measured@{scale}"
    head = ["source", "data set", "task", "published", measured, "groups", "conversations", "published as", "licence"]
    text = ["## Table 1: training data", "", NOTE.format(measured=measured), ""]
    text += markdown_head(head)
    notes: dict[str, int] = {}
    for line in lines:
        published = marked(_count(line.published), line.footnote, notes)
        shown = [line.source, line.dataset, line.task, published, _count(line.measured)]
        shown += [_count(line.groups), _count(line.conversations), line.published_as, line.licence]
        text.append(markdown_line(shown))
    return "\n".join([*text, *footnote_list(notes)]) + "\n"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
