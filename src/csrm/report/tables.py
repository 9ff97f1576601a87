"""Result tables: measured numbers beside the published ones, never mixed up with them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.bench.metrics import STATISTICS
from csrm.bench.registry import Benchmark
from csrm.report.cells import COMPARABLE, Cell, number, side_by_side, to_csv, to_markdown
from csrm.report.published import Published, footnote, lookup, select

Document = Mapping[str, Any]

DATASETS = {
    "beavertails": "BeaverTails",
    "beavertails-30k-test": "BeaverTails",
    "cosapien": "CoSApien",
    "wildguard-response": "WildGuardMix",
    "safe-rlhf": "Safety-RLHF",
    "safe-rlhf-test": "Safety-RLHF",
    "xstest": "XSTest",
    "or-bench-union": "OR-Bench",
    "dynabench-turnwise": "DynaBench",
}
"""Benchmarks that measure what a column of the paper measures."""
OWN_SPLITS = ("beavertails", "safe-rlhf")
"""Those that read this project's own test split of the training data, not a published one."""
MODELS = {
    "csrm": "CSRM (ours)",
    "csrm-no-cca": "CSRM (-CCA)",
    "csrm-no-sa": "CSRM (-SA)",
    "zero-shot": "Llama-3.1-8B-Inst",
    "llamaguard-3-8b": "LlamaGuard-3-8B",
    "shieldgemma-9b": "ShieldGemma-9B",
    "llama-3.1-8b-instruct": "Llama-3.1-8B-Inst",
    "gpt-oss-safeguard-20b": "OSS-Safeguard-20B-High",
    "dynaguard-8b-cot": "DynaGuard-8B-CoT",
}
"""Our name of a model -> the row of the paper's tables."""
VIOLATION = "violation"
"""How `published_results.csv` writes the positive class of F1 over violations."""
METRICS = {
    "f1_safe": "F1",
    "auprc_safe": "AUPRC",
    "smece": "smECE",
    "pair_accuracy": "pairwise accuracy",
    "reward_gap": "delta reward",
}
OWN_METRIC = {paper: own for own, paper in METRICS.items()}


class Table(NamedTuple):
    """What a table of the paper shows."""

    title: str
    printed: str
    metrics: tuple[str, ...]
    note: str


NOTE = (
    "Every line names its source: `published` (printed in the paper), `copied` (the paper copied it from another) or "
    "`measured@<scale>`. Intervals are percentile bootstraps clustered by prompt; a share of 0 or 1 has the exact "
    "binomial interval of its prompts. `n` counts items or pairs, `prompts` the prompts that are resampled. As in the "
    "paper, `csrm-no-cca` is trained without CCA and `csrm-no-sa` without either augmentation."
)
TABLES = {
    "table2": Table("Table 2: classification", "Table 2", ("f1_safe", "f1_unsafe", "auprc_safe", "smece"), NOTE),
    "table3": Table("Table 3: pairwise accuracy and delta reward", "Table 3", ("pair_accuracy", "reward_gap"), NOTE),
    "table4": Table("Table 4: over-refusal", "Table 4", ("f1_safe", "f1_unsafe", "fpr"), NOTE),
}


def belongs(name: str, document: Document, benchmark: Benchmark | None) -> bool:
    """Whether a benchmark's metrics are shown in a table."""
    counts = document["overall"]["counts"]
    pseudo = benchmark is not None and benchmark.builder == "pseudo-response"
    if name == "table3":
        return bool(counts["n_pairs"])
    labelled = counts["n_safe"] + counts["n_unsafe"] > 0
    return labelled and (benchmark is None or benchmark.positive_class != "none") and pseudo == (name == "table4")


def verdict(
    document: Document, metric: str, fact: Published | None, benchmark: Benchmark | None
) -> tuple[COMPARABLE, str]:
    """Whether a measured number may be set against the printed one, and why (not)."""
    if document["overall"]["metrics"][metric]["value"] is None:
        return "no", str(document["overall"]["metrics"][metric]["reason"])
    if benchmark is not None and benchmark.stand_in_for:
        return "no", f"stand-in for {benchmark.stand_in_for}: other data and labels"
    if fact is None:
        return "no", "nothing printed for it"
    if document["scale"] != "paper":
        return "no", f"scale {document['scale']}: other backbone, training data and test split"
    if document["benchmark"] in OWN_SPLITS:
        return "no", "an own test split of the training data, not a published one"
    if fact.source == "copied":
        return "no", f"the paper copied this number from another protocol ({fact.note})"
    if metric == "f1_safe":
        return "partly", "the paper does not state the positive class"
    return "partly", "the paper does not state the test split"


def measured_cells(
    name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark], metrics: Sequence[str]
) -> list[Cell]:
    """The measured cells of a table, each with its printed counterpart where there is one."""
    cells = []
    for document in documents:
        benchmark = benchmarks.get(document["benchmark"])
        for metric in metrics:
            cells.append(_measured_cell(name, document, metric, benchmark))
    return cells


def _measured_cell(name: str, document: Document, metric: str, benchmark: Benchmark | None) -> Cell:
    found = document["overall"]["metrics"][metric]
    fact = counterpart(name, document["model"], document["benchmark"], metric)
    comparable, reason = verdict(document, metric, fact, benchmark)
    value, printed = found["value"], fact.value if fact else None
    return Cell(
        table=name,
        model=document["model"],
        benchmark=document["benchmark"],
        stand_in_for=(benchmark.stand_in_for or "") if benchmark else "",
        metric=metric,
        positive_class=_positive_class(metric),
        source=f"measured@{document['scale']}",
        published=printed,
        measured=value,
        low=found["low"],
        high=found["high"],
        difference=value - printed if value is not None and printed is not None else None,
        comparable=comparable,
        reason=reason,
        n=found["n"],
        n_prompts=found["n_prompts"],
        seed=document["seed"],
        protocol=benchmark.protocol if benchmark else "",
        footnote=footnote(fact) if fact else "",
    )


def counterpart(table: str, model: str, benchmark: str, metric: str) -> Published | None:
    """The printed number that a measured one is set against: same table, row, data set and positive class."""
    if table not in TABLES:
        return None
    paper = "F1" if metric == "f1_unsafe" else METRICS.get(metric, "")
    fact = lookup(TABLES[table].printed, MODELS.get(model, ""), DATASETS.get(benchmark, ""), paper)
    if fact is None or paper != "F1":
        return fact
    return fact if _own_metric(fact) == metric else None


def _own_metric(fact: Published) -> str:
    """Our name of a printed metric; F1 over violations is filed under `f1_unsafe`."""
    violation = fact.metric == "F1" and fact.positive_class.startswith(VIOLATION)
    return "f1_unsafe" if violation else OWN_METRIC[fact.metric]


def constant_cells(
    name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark], metrics: Sequence[str]
) -> list[Cell]:
    """The constant predictors of each benchmark, once."""
    cells, seen = [], set()
    for document in documents:
        benchmark = benchmarks.get(document["benchmark"])
        counts = document["overall"]["counts"]
        for constant, values in document["overall"]["constants"].items():
            key = (document["benchmark"], constant, document["scale"])
            if key in seen:
                continue
            seen.add(key)
            for metric in (m for m in metrics if m in values):
                cell = Cell(
                    table=name,
                    model=constant.replace("_", "-"),
                    benchmark=document["benchmark"],
                    stand_in_for=(benchmark.stand_in_for or "") if benchmark else "",
                    metric=metric,
                    positive_class=_positive_class(metric),
                    source=f"measured@{document['scale']}",
                    measured=values[metric],
                    comparable="no",
                    reason="constant predictor",
                    n=counts["n_safe"] + counts["n_unsafe"],
                    n_prompts=counts["n_prompts"],
                    seed=document["seed"],
                )
                cells.append(cell)
    return cells


def _positive_class(metric: str) -> str:
    return (
        "safe"
        if metric.endswith("_safe")
        else "unsafe"
        if metric.endswith("_unsafe") or metric in ("fpr", "fnr")
        else ""
    )


def published_cells(name: str) -> list[Cell]:
    """The printed table, cell by cell."""
    return [
        Cell(
            table=name,
            model=fact.row,
            benchmark=fact.dataset,
            stand_in_for="",
            metric=_own_metric(fact),
            positive_class=fact.positive_class,
            source=fact.source,
            published=fact.value,
            reason=fact.note,
            footnote=footnote(fact),
        )
        for fact in select(TABLES[name].printed)
    ]


def paper_table(name: str, documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """A table of the paper with our rows, as (CSV, Markdown); the Markdown shows each printed number once."""
    table = TABLES[name]
    documents = [d for d in documents if belongs(name, d, benchmarks.get(d["benchmark"]))]
    measured = measured_cells(name, documents, benchmarks, table.metrics)
    shown = {
        (MODELS[cell.model], DATASETS[cell.benchmark], cell.metric) for cell in measured if cell.published is not None
    }
    measured += constant_cells(name, documents, benchmarks, table.metrics)
    measured.sort(key=lambda cell: cell.benchmark)
    printed = published_cells(name)
    alone = [cell for cell in printed if (cell.model, cell.benchmark, cell.metric) not in shown]
    text = side_by_side(table.title, table.note, [*measured, *alone])
    return to_csv([*measured, *printed], Cell._fields), text


def results_table(documents: Sequence[Document], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """Every metric of every model on every benchmark, as (CSV, Markdown); the Markdown shows the main ones."""
    metrics = tuple(STATISTICS)
    cells = measured_cells("results", documents, benchmarks, metrics)
    cells += constant_cells("results", documents, benchmarks, metrics)
    cells.sort(key=lambda cell: cell.benchmark)
    shown = (
        "auroc",
        "conditional_auroc",
        "f1_safe",
        "f1_unsafe",
        "balanced_accuracy",
        "smece",
        "pair_accuracy",
        "reward_gap",
        "spearman",
    )
    kept = [cell for cell in cells if cell.metric in shown]
    return to_csv(cells, Cell._fields), to_markdown("All results", NOTE, kept, shown)


class Difference(NamedTuple):
    """A paired difference between two models on the same items."""

    benchmark: str
    metric: str
    model_a: str
    model_b: str
    source: str
    difference: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    seed: int
    reason: str


def comparison_table(documents: Sequence[Document]) -> tuple[str, str]:
    """Paired differences between models, as (CSV, Markdown)."""
    rows = [
        Difference(
            document["benchmark"], metric, document["model_a"], document["model_b"], f"measured@{document['scale']}",
            found["value"], found["low"], found["high"], found["n"], found["n_prompts"],
            document["seed"], found["reason"] or "",
        )
        for document in documents
        for metric, found in document["differences"].items()
    ]  # fmt: skip
    head = "| benchmark | metric | a | b | source | a - b | n | prompts | seed |\n|---|---|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.benchmark} | {r.metric} | {r.model_a} | {r.model_b} | {r.source} "
        f"| {number(r.difference, r.low, r.high)} | {r.n} | {r.n_prompts} | {r.seed} |"
        for r in rows
    ]
    note = "Both models are resampled with the same prompts; an interval that contains 0 shows no difference."
    markdown = "\n".join(["## Paired differences", "", note, "", head, *lines]) + "\n"
    return to_csv(rows, Difference._fields), markdown
