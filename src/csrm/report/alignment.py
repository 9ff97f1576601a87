"""Table 5 (alignment before and after), from the documents of `csrm.align`."""

from collections.abc import Mapping, Sequence
from typing import Any

from csrm.report.cells import Cell, printed_cell, side_by_side, to_csv
from csrm.report.counterparts import MODELS
from csrm.report.published import Published, footnote, select
from csrm.report.tables import NOTE

Document = Mapping[str, Any]

TITLE = "Table 5: downstream alignment"
BEFORE = "before alignment"
METRICS = (
    "safety",
    "helpfulness_0_5",
    "cosa_product_0_5",
    "cosa_score",
    "helpful_safe",
    "helpful_unsafe",
    "unhelpful_safe",
    "unhelpful_unsafe",
)
PRINTED = {"Safety": "safety", "Helpfulness": "helpfulness_0_5", "CoSA score": "cosa_product_0_5"}
DOMAINS = {
    "cosapien-book-publisher": "CoSApien: Arab Publisher",
    "cosapien-film-production": "CoSApien: Film Production",
    "cosapien-game-development": "CoSApien: Game Development",
    "cosapien-language-learning": "CoSApien: Language Learning",
    "cosapien-public-prosecutor": "CoSApien: Public Prosecutor",
}
NOT_COMPARABLE = "other policy, prompts, algorithm and judge; the paper does not name its judge"
PARTLY = "the paper does not name its judge, nor the H of its rewards"
EXPLAINED = (
    "`safety` is the share of compliant responses, `helpfulness_0_5` is on 0-5, `cosa_product_0_5` is mean(s h) with s "
    "in {0, 1} (our reading of the paper's column), `cosa_score` is mean(s h) with s = ±1 and h in [0, 1] (CoSA), "
    "`helpful_safe` and so on are shares of responses (helpful: h > 0). Responses without a verdict "
    "are left out; where there are any, the line of `cosa_score` counts them, with the bounds that they leave. "
    "`minus` lines are differences on the same resampled prompts: an interval that contains 0 shows none. Means over "
    "seeds (of sampled responses, pairs, training, answers; one set of prompts, one reward model) have intervals over "
    "prompts and seeds."
)


def is_comparison(document: Document) -> bool:
    """Whether a document compares generations before and after alignment, or policies of two rewards."""
    return ("anchors" in document and "all" in document) or document.get("kind") == "policies"


def alignment_table(documents: Sequence[Document]) -> tuple[str, str]:
    """Safety, helpfulness and CoSA before and after alignment, and the printed Tables 5 and 8, as (CSV, Markdown)."""
    cells: list[Cell] = []
    seen = set()
    for document in sorted(documents, key=lambda one: "other" in one):
        if "other" in document:
            cells += _policies(document)
            continue
        config, parts, means = document["config"], document["all"], document.get("over_seeds")
        if config not in seen:
            seen.add(config)
            cells += _cells(document, BEFORE, parts["before"])
            cells += _seed_cells(document, BEFORE, means["before"]) if means else []
            cells += _anchors(document)
        model = _policy(document)
        for name, part in ((model, "after"), (f"{model}, after minus before", "difference")):
            cells += _cells(document, name, parts[part])
            cells += _seed_cells(document, name, means[part]) if means else []
    cells.sort(key=lambda cell: cell.benchmark)
    cells += published_cells()
    return to_csv(cells, Cell._fields), side_by_side(TITLE, f"{NOTE} {EXPLAINED}", cells)


def _policy(document: Document) -> str:
    """A policy's name: its reward and algorithm, and the configuration that it was trained under where another."""
    return f"{document['reward']}{_under(document)} ({document['algorithm']})"


def _under(document: Document) -> str:
    trained = document.get("trained_under", document["config"])
    return "" if trained == document["config"] else f", trained under {trained}"


def _cells(document: Document, model: str, found: Mapping[str, Any]) -> list[Cell]:
    cells = []
    for metric in METRICS:
        value, printed = found[metric], _printed(document, model, metric)
        cell = _cell(document, model, metric, value["value"])
        cell = cell._replace(low=value["low"], high=value["high"], n=value["n"], n_prompts=value["n_prompts"])
        if metric == "cosa_score" and found.get("invalid"):
            cell = cell._replace(reason=_unjudged(found))
        if printed:
            difference = value["value"] - printed.value
            cell = cell._replace(published=printed.value, difference=difference, footnote=footnote(printed))
            cell = cell._replace(printed_in=printed.place)
        cells.append(cell)
    return cells


def _unjudged(found: Mapping[str, Any]) -> str:
    low, high = found["cosa_score_bounds"]
    return f"{found['invalid']} without a verdict: between {low:.3f} and {high:.3f}"


def _policies(document: Document) -> list[Cell]:
    """One reward's policy minus another's, of the run's seed or as a mean over seeds."""
    model = f"{document['reward']} minus {document['other']}{_under(document)} ({document['algorithm']})"
    if len(document["seeds"]) > 1:
        return _seed_cells(document, model, document["difference"])
    return _cells(document, model, document["difference"])


def _seed_cells(document: Document, model: str, found: Mapping[str, Any]) -> list[Cell]:
    """Means over seeds, with the value of each seed and their standard deviation as the reason."""
    seeds = ", ".join(map(str, document["seeds"]))
    told = {m: " ".join(f"{v:.3f}" for v in found[m]["by_seed"]) + f" (sd {found[m]['sd']:.3f})" for m in METRICS}
    if found.get("invalid"):
        told["cosa_score"] += f"; {_unjudged(found)}"
    return [
        cell._replace(seed=None, reason=f"seeds {seeds}: {told[cell.metric]}")
        for cell in _cells(document, f"{model}, mean of {len(document['seeds'])} seeds", found)
    ]


def _anchors(document: Document) -> list[Cell]:
    """What a policy that always refuses and one that always complies would score."""
    before = document["all"]["before"]
    n, unknown = before["safety"]["n"] + before["invalid"], document.get("unknown_topic", {"before": 0})["before"]
    shown = {name: {"reason": "constant policy", "n": n, "protocol": ""} for name in document["anchors"]}
    if unknown and "comply_always" in shown:
        reason = f"constant policy; {unknown} responses to prompts without a verdict on their topic are left out"
        shown["comply_always"] |= {"reason": reason, "n": n - unknown}
    return [
        _cell(document, name.replace("_", "-"), metric, values[metric])._replace(**shown[name])
        for name, values in document["anchors"].items()
        for metric in METRICS
    ]


def _cell(document: Document, model: str, metric: str, value: float) -> Cell:
    config = document["config"]
    alike = document["scale"] == "paper" and config in DOMAINS
    return Cell(
        table="table5",
        model=model,
        benchmark=config,
        stand_in_for="" if config in DOMAINS else "a CoSApien configuration",
        metric=metric,
        positive_class="",
        source=f"measured@{document['scale']}",
        measured=value,
        comparable="partly" if alike else "no",
        reason=PARTLY if alike else NOT_COMPARABLE,
        seed=document.get("seed"),
        protocol=str(document.get("algorithm", "")),
    )


def _printed(document: Document, model: str, metric: str) -> Published | None:
    """The printed counterpart: same domain, algorithm and kind of reward; `ootb` before alignment."""
    domain, reward = DOMAINS.get(document["config"]), document["reward"]
    row: str | None
    if model == BEFORE:
        row, table, prefix = "ootb", "Table 8", ""
    elif model == _policy(document) and document.get("trained_under", document["config"]) == document["config"]:
        row, table, prefix = MODELS.get(reward), "Table 5", f"{document['algorithm']}: "
    else:
        return None
    for fact in select(table):
        name = fact.metric.removeprefix(prefix)
        if (fact.row, fact.dataset) == (row, domain) and PRINTED.get(name) == metric:
            return fact
    return None


def published_cells() -> list[Cell]:
    """Tables 5 and 8 as printed (Table 8 adds only the rows before alignment)."""
    cells = []
    for fact in [*select("Table 8"), *select("Table 5")]:
        algorithm, _, name = fact.metric.rpartition(": ")
        cell = printed_cell("table5", fact, PRINTED[name])
        model = f"{fact.row} ({algorithm})" if algorithm else fact.row
        cell = cell._replace(model=model, reason=fact.note, protocol=algorithm)
        cells.append(cell)
    return sorted(cells, key=lambda cell: cell.benchmark)
