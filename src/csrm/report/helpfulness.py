"""The table of helpfulness models: held-out pair accuracy beside the baselines, by data set."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, number, to_csv

NOTE = (
    "Pair accuracy on held-out prompts: the share of pairs whose chosen response gets the higher score, ties one half. "
    "`proxy` is the rule-based H, `longer` prefers more words, `constant` nothing. Differences are the model minus the "
    "baseline on the same pairs. Intervals are percentile bootstraps clustered by prompt (exact binomial for shares of "
    "0 or 1). Pairs set answers against refusals, of unsafe prompts too: H ignores ethics."
    f" {NO_INTERVAL}"
)


class Accuracy(NamedTuple):
    """One accuracy, or one difference of accuracies, of one helpfulness model or baseline."""

    data: str
    scorer: str
    measure: str
    source: str
    value: float
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    seed: int


def helpfulness_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Accuracies, differences to the baselines, and the maps to [0, 1], as (CSV, Markdown)."""
    rows = list(dict.fromkeys(row for document in documents for row in _rows(document)))
    head = "| data | scorer | measure | source | value | pairs | prompts | seed |\n|---|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.data} | {r.scorer} | {r.measure} | {r.source} | {number(r.value, r.low, r.high)} | {r.n} "
        f"| {r.n_prompts} | {r.seed} |"
        for r in rows
    ]
    text = ["## Helpfulness models", "", NOTE, "", head, *lines, "", *map(_map_line, documents)]
    return to_csv(rows, Accuracy._fields), "\n".join(text) + "\n"


def _rows(document: Mapping[str, Any]) -> list[Accuracy]:
    source, seed = f"measured@{document['scale']}", document["seed"]

    def row(data: str, scorer: str, measure: str, found: Mapping[str, Any]) -> Accuracy:
        return Accuracy(data, scorer, measure, source, **found, seed=seed)

    names = {"model": document["model"]}
    rows = [
        row(data, names.get(scorer, scorer), "pair accuracy", found)
        for data, by_scorer in document["accuracy"].items()
        for scorer, found in by_scorer.items()
    ]
    differences = document["difference"].items()
    return rows + [row("all", document["model"], f"difference to {base}", found) for base, found in differences]


def _map_line(document: Mapping[str, Any]) -> str:
    mapped, mean = document["map"], document["mean_h"]
    return (
        f"- {document['model']}: H = sigma({mapped['slope']:.3g} (score - {mapped['centre']:.3g})); mean H of chosen "
        f"{mean['chosen']:.3f}, of rejected {mean['rejected']:.3f}; pair loss {document['pair_loss']:.3f} nats"
    )
