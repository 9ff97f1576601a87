"""The table of proposers: measures of p+ and p- by backend."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, number, to_csv

NOTE = (
    "One request per conversation, one contrast each. `bank` is the deterministic proposer, bound by the human labels; "
    "`llm` proposes and verifies by itself. A proposal's family is that of the bank category nearest in meaning. "
    "`n` counts what a measure is a share of: requests for `found` (p+: where people saw a violation), `on harmless` "
    "(where they saw none) and `closer` (with both p+ and p-); accepted proposals for `family` (p+: where people saw a "
    "violation) and `distinct`; ratings of one category of one conversation for the verifier's three. `prompts` counts "
    "their distinct prompts. Intervals are percentile bootstraps clustered by prompt (exact binomial for 0 or 1)."
    f" {NO_INTERVAL} `distinct` has none either: it is of all accepted ones together."
)


class Measure(NamedTuple):
    """One measure of one backend."""

    measure: str
    backend: str
    source: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int | None
    seed: int


def proposer_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Measures by backend, then what became of the proposals, as (CSV, Markdown)."""
    rows = [row for document in documents for row in _rows(document)]
    head = "| measure | backend | source | value | n | prompts | seed |\n|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.measure} | {r.backend} | {r.source} | {number(r.value, r.low, r.high)} | {r.n} "
        f"| {'' if r.n_prompts is None else r.n_prompts} | {r.seed} |"
        for r in rows
    ]
    counts = [
        f"- {name}, {key}: {count}"
        for document in documents
        for name, backend in document["backends"].items()
        for key, count in backend["counts"].items()
    ]
    models = ", ".join(document["model"] for document in documents)
    text = ["## Proposers", "", f"{NOTE} Language model: {models}.", "", head, *lines, "", "Counts:", "", *counts]
    return to_csv(rows, Measure._fields), "\n".join(text) + "\n"


def _rows(document: Mapping[str, Any]) -> list[Measure]:
    source = f"measured@{document['scale']}"
    found = [
        (name, backend, values)
        for backend, content in document["backends"].items()
        for name, values in content["measures"].items()
    ]
    order = list(dict.fromkeys(name for name, _, _ in found))
    found.sort(key=lambda one: order.index(one[0]))
    return [
        Measure(
            name, backend, source, v["value"], v.get("low"), v.get("high"), v["n"], v.get("n_prompts"), document["seed"]
        )
        for name, backend, v in found
    ]
