"""CoSA's Table 3: CoSA-Score and shares of helpful answers on seen and unseen configurations, the published beside."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csrm.report.cells import Cell, printed_cell, side_by_side, to_csv
from csrm.report.published import Published, lookup, select

PAPER = "CoSA (arXiv 2410.08968v1)"
TITLE = "CoSA, Table 3: controllable safety on seen and unseen configurations"
NOTE = (
    "Configurations allow topics; everything else of the taxonomy is off limits. `seen`: configurations of topics that "
    "training allowed in some configuration; `unseen`: each allows a topic that no training text names. `ica`: the "
    "configuration in the system message, nothing trained; `ica-5shot`: with exchanges; `cascade` and "
    "`cascade-oracle`: answers of `ica` withheld where the policy itself or the evaluating judge calls them violating; "
    "`sft`: fine-tuned on chosen responses; `cosalign`: then DPO. CoSA-Score is mean(h s), s = ±1; the other metrics "
    "are shares. Intervals are percentile bootstraps clustered by prompt."
)
ROWS = {
    "ica": "Llama-3.1-8B: Inst+ICA",
    "ica-5shot": "Llama-3.1-8B: Inst+ICA-5shot",
    "cascade": "Llama-3.1-8B: Inst+Cascade",
    "cascade-oracle": "Llama-3.1-8B: Inst+Cascade-Oracle",
    "sft": "Llama-3.1-8B: Inst+CoSAlign (SFT stage only)",
    "cosalign": "Llama-3.1-8B: Inst+CoSAlign",
}
PRINTED = {"cosa_score": "CoSA-Score", "helpful_safe": "Helpful+Safe", "helpful_unsafe": "Helpful+Unsafe"}
REASON = "benign topics instead of harms; other policy, prompts, responses and judge"


def cosa_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Every method on seen and unseen configurations, and its difference to `ica`, as (CSV, Markdown)."""
    cells = [cell for document in documents for cell in _cells(document)]
    shown = {ROWS[cell.model] for cell in cells if cell.published is not None}
    alone = [_printed(fact) for fact in select("Table 3", PAPER) if fact.row not in shown]
    return to_csv([*cells, *alone], Cell._fields), side_by_side(TITLE, NOTE, [*cells, *alone])


def _cells(document: Mapping[str, Any]) -> Iterator[Cell]:
    for group, methods in document["groups"].items():
        for method, found in methods.items():
            for metric, value in found["metrics"].items():
                yield _cell(document, group, method, metric, value)
            if method != "ica":
                yield _cell(document, group, f"{method} minus ica", "cosa_score", found["minus_ica"]["cosa_score"])


def _cell(document: Mapping[str, Any], group: str, method: str, metric: str, found: Mapping[str, Any]) -> Cell:
    fact = lookup("Table 3", ROWS.get(method, ""), f"CoSAlign-Test {group}", PRINTED.get(metric, ""), PAPER)
    printed = fact.share if fact else None
    return Cell(
        table="cosa",
        model=method,
        benchmark=f"topics, {group} configurations",
        stand_in_for="CoSAlign-Test",
        metric=metric,
        positive_class="",
        source=f"measured@{document['scale']}",
        published=printed,
        measured=found["value"],
        low=found["low"],
        high=found["high"],
        difference=None if printed is None else found["value"] - printed,
        comparable="no",
        reason=REASON,
        n=found["n"],
        n_prompts=found["n_prompts"],
        seed=document["seed"],
        protocol="lexicon judge, helpfulness proxy",
        printed_in=fact.place if fact else "",
    )


def _printed(fact: Published) -> Cell:
    return printed_cell("cosa", fact, next(own for own, name in PRINTED.items() if name == fact.metric))
