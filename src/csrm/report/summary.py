"""Models over all benchmarks: mean rank and macro mean, metric by metric."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import number, to_csv

RISING = (
    "auroc",
    "conditional_auroc",
    "f1_safe",
    "f1_unsafe",
    "balanced_accuracy",
    "auprc_unsafe",
    "pair_accuracy",
    "spearman",
)
FALLING = ("brier", "smece")
NOTE = (
    "Ranks (1 is best, ties share their mean) and macro means over the benchmarks on which every model of the metric "
    "has a value; the others are named. The constant predictors are among the models. `n` counts their items (or "
    "pairs), `seed` is that of the evaluations. No intervals: the benchmarks are no sample of anything."
)


class Standing(NamedTuple):
    """One model under one metric, over `n_benchmarks` benchmarks."""

    metric: str
    better: str
    model: str
    source: str
    mean_rank: float
    macro_mean: float
    n_benchmarks: int
    benchmarks: str
    left_out: str
    n: int
    seed: int


def standings(documents: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """Mean rank and macro mean of every model, best rank first within each metric.

    Args:
        documents: evaluations of one scale.

    Raises:
        ValueError: if one model was evaluated twice on a benchmark.
    """
    return [row for metric in (*RISING, *FALLING) for row in _of_metric(metric, documents)]


def _of_metric(metric: str, documents: Sequence[Mapping[str, Any]]) -> list[Standing]:
    import numpy as np
    from scipy.stats import rankdata

    values: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] = {}
    for document in documents:
        value = document["overall"]["metrics"][metric]["value"]
        if value is None:
            continue
        column = values.setdefault(document["benchmark"], {})
        if document["model"] in column:
            raise ValueError(f"model {document['model']!r} is there twice on benchmark {document['benchmark']!r}")
        column[document["model"]] = value
        sizes[document["benchmark"]] = document["overall"]["metrics"][metric]["n"]
        for name, constant in document["overall"]["constants"].items():
            if constant.get(metric) is not None:
                column[name.replace("_", "-")] = constant[metric]
    models = sorted({model for column in values.values() for model in column})
    kept = sorted(name for name, column in values.items() if len(column) == len(models))
    if not kept:
        return []
    table = np.array([[values[name][model] for name in kept] for model in models])
    ranks = rankdata(table if metric in FALLING else -table, axis=0)
    left_out = " ".join(sorted(values.keys() - set(kept)))
    better = "lower" if metric in FALLING else "higher"
    source = f"measured@{documents[0]['scale']}"
    about = (len(kept), " ".join(kept), left_out, sum(sizes[name] for name in kept), documents[0]["seed"])
    found = [
        Standing(metric, better, model, source, float(r), float(m), *about)
        for model, r, m in zip(models, ranks.mean(axis=1), table.mean(axis=1), strict=True)
    ]
    return sorted(found, key=lambda row: (row.mean_rank, row.model))


def summary_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The standings as (CSV, Markdown)."""
    rows = standings(documents)
    head = "| metric | better | model | source | mean rank | macro mean | benchmarks | left out | n | seed |"
    lines = [
        f"| {r.metric} | {r.better} | {r.model} | {r.source} | {r.mean_rank:.2f} | {number(r.macro_mean)} "
        f"| {r.n_benchmarks} | {r.left_out} | {r.n} | {r.seed} |"
        for r in rows
    ]
    markdown = "\n".join(["## Summary over benchmarks", "", NOTE, "", head, "|---" * 10 + "|", *lines]) + "\n"
    return to_csv(rows, Standing._fields), markdown
