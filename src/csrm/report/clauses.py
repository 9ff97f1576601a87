"""Table 7 and the configurability probe: verdicts with a clause enforced, removed, allowed or contradicted."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from csrm.bench.clauses import ALL
from csrm.bench.registry import Benchmark
from csrm.configs.taxonomy import load_taxonomy
from csrm.report.cells import Cell, printed_cell, side_by_side, to_csv
from csrm.report.published import Published, footnote, select

TITLE = "Table 7: contradictory clauses, and the configurability probe"
NOTE = (
    "Conversations that violate exactly one category, judged under the whole policy. `enforce`: the category forbids; "
    "`allow`: a clause that permits takes its place; `both`: the two clauses together. `lowered by` and `raised by`: "
    "how much lower the unsafe rate and higher the reward (safe log-odds, nats) are without the category (`loo`) or "
    "with it allowed, and the same for another category that the conversation does not violate, where nothing should "
    "change. Intervals are percentile bootstraps clustered by prompt; a rate of 0 or 1 has the exact binomial interval "
    "of its prompts, a change that is the same for every conversation none."
)
CONDITIONS = {"enforce": "Enforce only", "allow": "Allow only", "both": "Both"}
PROBE = "Sec. 4.2 (configurability probe)"
TEXT = {
    ("enforce", "unsafe rate"): ("CSRM (ours): strict policy", "unsafe rate on targets"),
    ("loo", "unsafe rate lowered by"): ("CSRM (ours): LOO policy", "decrease of target unsafe rate vs strict"),
    ("loo, other category", "unsafe rate lowered by"): ("CSRM (ours): LOO policy", "non-target shift"),
    ("allow", "unsafe rate lowered by"): ("CSRM (ours): Allow policy", "decrease of target unsafe rate vs strict"),
    ("allow, other category", "unsafe rate lowered by"): ("CSRM (ours): Allow policy", "non-target shift"),
}
"""(condition, metric) over all conversations -> row and metric of the number that section 4.2 states."""


def clause_table(documents: Sequence[Mapping[str, Any]], benchmarks: Mapping[str, Benchmark]) -> tuple[str, str]:
    """The probe of each model as (CSV, Markdown), the paper's numbers beside those of its own model.

    Raises:
        ValueError: if a probe's benchmark has no taxonomy.
    """
    cells = [cell for document in documents for cell in _cells(document, benchmarks[document["benchmark"]])]
    beside = any(cell.published is not None for cell in cells)
    alone = (
        [] if beside else [printed_cell("table7", fact, fact.metric) for fact in (*select("Table 7"), *select(PROBE))]
    )
    return to_csv([*cells, *alone], Cell._fields), side_by_side(TITLE, NOTE, [*cells, *alone])


def _cells(document: Mapping[str, Any], benchmark: Benchmark) -> list[Cell]:
    if benchmark.taxonomy is None:
        raise ValueError(f"benchmark {benchmark.id!r}: a clause probe needs a taxonomy")
    places = {c.key: (n, c.name) for n, c in enumerate(load_taxonomy(benchmark.taxonomy).categories, start=1)}
    own_data = benchmark.taxonomy == "beavertails"
    cells = []
    for line in document["lines"]:
        place, name = places.get(line["category"], (0, "all categories"))
        fact = _counterpart(line, place) if document["model"] == "csrm" and own_data else None
        comparable, reason = _verdict(fact, document["scale"])
        value, printed = line["value"], fact.value if fact else None
        cells.append(
            Cell(
                table="table7",
                model=document["model"],
                benchmark=f"{benchmark.id}, {name}",
                stand_in_for="",
                metric=f"{line['metric']}, {line['condition']}",
                positive_class="",
                source=f"measured@{document['scale']}",
                published=printed,
                measured=value,
                low=line["low"],
                high=line["high"],
                difference=None if printed is None else value - printed,
                comparable=comparable,
                reason=reason,
                n=line["n"],
                n_prompts=line["n_prompts"],
                seed=document["seed"],
                protocol=benchmark.protocol,
                footnote=footnote(fact) if fact else "",
                printed_in=fact.place if fact else "",
            )
        )
    return cells


def _counterpart(line: Mapping[str, Any], place: int) -> Published | None:
    """The printed number of a line: of the slice at the category's place, or of the text for all conversations."""
    if line["category"] == ALL:
        row, metric = TEXT.get((line["condition"], line["metric"]), ("", ""))
        return next((f for f in select(PROBE) if (f.row, f.metric) == (row, metric)), None)
    condition = CONDITIONS.get(line["condition"], "")
    named = [f for f in select("Table 7") if f.metric == f"{line['metric']}, {condition}"]
    return next((f for f in named if re.search(rf"\bS{place}\b", f.dataset)), None)


def _verdict(fact: Published | None, scale: str) -> tuple[Any, str]:
    if fact is None:
        return "no", "nothing printed for it"
    if scale != "paper":
        return "no", f"scale {scale}: other backbone, training data and conversations"
    return "partly", "wording of the clauses and choice of conversations are not stated"
