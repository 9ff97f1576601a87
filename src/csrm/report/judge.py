"""The table of the judge's own accuracy against verdicts of people."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, markdown_line, number, to_csv

DECIDES = {
    "lexicon": "Table 5's judge decides by rules whether a response refuses (`csrm.align.refusal`), and how much it "
    "helps (`csrm.align.helpfulness`).",
    "llm": "Table 5's judge is a language model, {llm}, whose rating of 0-5 says how much a response helps; 0 is a "
    "refusal.",
}
NOTE = (
    "Here it is held against verdicts of others on other responses (`labels` says whose): "
    "`refuses`, whether a response is a refusal; `helps`, whether it does what the prompt asks, for which the judge "
    "says helpfulness above 0 (`auroc`: of the helpfulness itself). The decision is the positive class. `majority` is "
    "the accuracy of always giving the commoner verdict. Intervals are percentile bootstraps clustered by prompt "
    "(exact binomial for shares of 0 or 1). Invalid verdicts are left out and counted in `invalid`; beside the "
    "accuracy stands what they leave open. Not measured: whether it finds what a configuration forbids, which nobody "
    "has labelled."
    f" {NO_INTERVAL}"
)


class Accuracy(NamedTuple):
    """One measure of the judge on one data set."""

    dataset: str
    decision: str
    labels: str
    measure: str
    source: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    invalid: int
    seed: int


def judge_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Every measure on every data set as (CSV, Markdown)."""
    rows = [
        row
        for document in documents
        for name, decisions in document["datasets"].items()
        for decision, found in decisions.items()
        for row in _rows(document, name, decision, found)
    ]
    head = ["data set", "decision", "labels", "measure", "source", "value", "n", "prompts", "invalid", "seed"]
    lines = [
        markdown_line(
            [r.dataset, r.decision, r.labels, r.measure, r.source, number(r.value, r.low, r.high)]
            + [str(size) for size in (r.n, r.n_prompts, r.invalid, r.seed)]
        )
        for r in rows
    ]
    decides = dict.fromkeys(DECIDES[document["judge"]].format(llm=document.get("llm")) for document in documents)
    text = [
        "## The judge's own accuracy",
        "",
        " ".join([*decides, NOTE]),
        "",
        markdown_line(head),
        "|---" * len(head) + "|",
        *lines,
    ]
    return to_csv(rows, Accuracy._fields), "\n".join(text) + "\n"


def _rows(document: Mapping[str, Any], name: str, decision: str, found: Mapping[str, Any]) -> list[Accuracy]:
    everything = {"low": None, "high": None, "n": found["n"], "n_prompts": found["n_prompts"]}
    measures = {**found["measures"], "majority": {"value": found["majority"], **everything}}
    if found["invalid"]:
        names = ("accuracy, invalid wrong", "accuracy, invalid right")
        everything["n"] += found["invalid"]
        measures |= {
            name: {"value": value, **everything} for name, value in zip(names, found["accuracy_bounds"], strict=True)
        }
    return [
        Accuracy(
            name,
            decision,
            ", ".join(found["label_sources"]),
            measure,
            f"measured@{document['scale']}",
            value["value"],
            value["low"],
            value["high"],
            value["n"],
            value["n_prompts"],
            found["invalid"],
            document["seed"],
        )
        for measure, value in measures.items()
    ]
