"""The printed numbers that a measured one is set against, and whether the two may be compared."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from csrm.bench.registry import Benchmark
from csrm.report.cells import COMPARABLE
from csrm.report.published import PAPER, Published, lines_of, published

Document = Mapping[str, Any]

TABLES = ("Table 2", "Table 3", "Table 4")
"""The tables of the CSRM paper that print what benchmarks measure; of other papers all count."""
OWN_SPLITS = ("beavertails", "safe-rlhf")
"""Benchmarks that read this project's own test split of the training data, not a published one."""
UNSAFE = ("violation", "harmful", "refusal")
"""How `published_results.csv` writes positive classes that are `unsafe` here."""
UNSTATED = {
    "beavertails-30k-test": "the test split",
    "beavertails-330k-test": "the test split",
    "safe-rlhf-test": "the test split",
    "cosapien": "who wrote and labelled the responses (here: as your file says)",
    "xstest": "the configuration's text",
    **{name: "the configuration's text, the subset" for name in ("or-bench", "or-bench-union", "or-bench-full")},
    "beavertails-strictness": "which pairs",
    "wildguard-strictness": "which pairs",
}
"""What the CSRM paper leaves open about its own benchmarks."""
BOTH = {"F1": ("f1_safe", "f1_unsafe"), "AUPRC": ("auprc_safe", "auprc_unsafe")}
"""Metrics of a class; where a paper does not state its class, the number is set against both of ours."""
METRICS = {
    "smECE": ("smece",),
    "accuracy": ("accuracy",),
    "pairwise accuracy": ("pair_accuracy",),
    "delta reward": ("reward_gap",),
}
DATASETS = tuple((own, paper, name) for own, paper, name in lines_of("published_datasets.tsv"))
"""(benchmark, paper, data set) that measure the same."""
ROWS = tuple((own, paper, row) for own, paper, row in lines_of("published_models.tsv"))
"""(model, paper, row of its tables) that are the same model."""
MODELS = {own: row for own, paper, row in reversed(ROWS) if paper == PAPER}
"""Our name of a model -> its row in the CSRM paper (the first, where tables spell it differently)."""


def states_class(fact: Published) -> bool:
    """Whether a number of one class says which class is positive."""
    return fact.positive_class.startswith(UNSAFE)


def own_metrics(fact: Published) -> tuple[str, ...]:
    """Our metrics that a printed one is set against; none where nothing here measures it."""
    if fact.metric in BOTH:
        return BOTH[fact.metric][1:] if states_class(fact) else BOTH[fact.metric]
    return METRICS.get(fact.metric, ())


def shown_metric(fact: Published) -> str:
    """How a printed metric is filed: under ours, or by its own name where the positive class is not stated."""
    own = own_metrics(fact)
    return own[0] if len(own) == 1 else fact.metric.lower()


@lru_cache
def counterparts(model: str, benchmark: str, metric: str) -> tuple[Published, ...]:
    """All printed numbers of a model on a benchmark under a metric, those of the CSRM paper first."""
    places = {(paper, name) for own, paper, name in DATASETS if own == benchmark}
    rows = {(paper, row) for own, paper, row in ROWS if own == model}
    return tuple(
        fact
        for fact in published()
        if (fact.paper, fact.dataset) in places
        and (fact.paper, fact.row) in rows
        and (fact.paper != PAPER or fact.table in TABLES)
        and metric in own_metrics(fact)
    )


def counterpart(table: str, model: str, benchmark: str, metric: str) -> Published | None:
    """The number that one table of the CSRM paper prints, or None."""
    found = counterparts(model, benchmark, metric)
    return next((fact for fact in found if (fact.paper, fact.table) == (PAPER, table)), None)


def verdict(
    document: Document, metric: str, fact: Published | None, benchmark: Benchmark | None
) -> tuple[COMPARABLE, str]:
    """Whether a measured number may be set against the printed one, and why (not) or what differs."""
    if reason := _refusal(document, metric, fact, benchmark):
        return "no", reason
    assert fact is not None
    return "partly", "; ".join([*_doubts(document, metric, fact), *_cuts(document)])


def _refusal(document: Document, metric: str, fact: Published | None, benchmark: Benchmark | None) -> str:
    """Why the two numbers must not be compared, or nothing."""
    found = document["overall"]["metrics"][metric]
    if found["value"] is None:
        return str(found["reason"])
    if benchmark is not None and benchmark.stand_in_for:
        return f"stand-in for {benchmark.stand_in_for}: other data and labels"
    if fact is None:
        return "nothing printed for it"
    if document["scale"] != "paper":
        return f"scale {document['scale']}: other backbone, training data and test split"
    if changed := _changed(document):
        return f"other settings than the published set-up's: {', '.join(changed)}"
    if document["benchmark"] in OWN_SPLITS:
        return "an own test split of the training data, not a published one"
    if fact.source == "copied":
        return f"the paper copied this number from another protocol ({fact.note})"
    if document["model"] == "wildguard" and document["benchmark"].startswith("dynabench"):
        return "printed with the policy in the prompt, here WildGuard's own format, which reads none"
    bare = document["model"] == "wildguard" and document["benchmark"] == "wildguard-prompt"  # its adapter reads prompts
    if fact.paper != PAPER and benchmark is not None and benchmark.builder == "pseudo-response" and not bare:
        return "printed for the prompt itself, here a pseudo-response is judged"
    return ""


def _changed(document: Document) -> list[str]:
    """Settings that bear on this model's numbers and are not those of the scale's files."""
    trained = document["model"].startswith("csrm")
    return [name for name in document.get("changed", []) if trained or not name.startswith(("train.", "augment."))]


def _doubts(document: Document, metric: str, fact: Published) -> list[str]:
    """What nobody states, or is known to differ, though data and metric are the same."""
    if fact.paper != PAPER:
        return [f"prompt format and decoding of {fact.place}" + (f" ({fact.note})" if fact.note else "")]
    unstated = [UNSTATED.get(document["benchmark"], "")]
    unstated += ["the positive class"] if fact.metric in BOTH and not states_class(fact) else []
    unstated += [] if document["model"].startswith("csrm") else ["the baselines' prompts"]
    told = ", ".join(filter(None, unstated))
    return [f"the paper does not state {told}"] if told else []


def _cuts(document: Document) -> list[str]:
    """What a run left out of the benchmark, or cut."""
    left_out, counts = document.get("items", {}).get("left_out"), document["overall"]["counts"]
    reasons = []
    if left_out is None:
        reasons.append("whether score.item_cap left out items is not recorded")
    elif left_out:
        reasons.append(f"capped: {counts['n']} of {counts['n'] + left_out} items (score.item_cap)")
    if counts["truncated"]:
        reasons.append(f"{counts['truncated']} inputs were cut at score.max_length")
    if counts["cut"]:
        reasons.append(f"{counts['cut']} items were cut to data.max_prompt_words and data.max_response_words")
    return reasons
