"""CoSA's Table 3: CoSA-Score and shares of helpful answers on seen and unseen configurations, the published beside."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csrm.report.cells import NO_INTERVAL, Cell, printed_cell, side_by_side, to_csv
from csrm.report.published import Published, lookup, select

PAPER = "CoSA (arXiv 2410.08968v1)"
TITLE = "CoSA, Table 3: controllable safety on seen and unseen configurations"
NOTE = (
    "Configurations allow labels of a taxonomy (benign topics, or CoSAlign's harms); the rest of it is off limits. "
    "`seen`: configurations of labels that training allowed in some configuration; `unseen`: each allows a label that "
    "no training text names. `ica`: the "
    "configuration in the system message, nothing trained; `ica-5shot`: with exchanges; `cascade` and "
    "`cascade-oracle`: answers of `ica` withheld where the policy itself or the evaluating judge calls them violating; "
    "`sft`: fine-tuned on chosen responses; `cosalign`: then DPO; `refusal-only` and `comply-always`: constant "
    "policies, of h = 0 and always safe, and of h = 1 and safe where all labels of the prompt are allowed. "
    "CoSA-Score is mean(h s), s = ±1, shown for each configuration too, named by what it allows; the other metrics are "
    "shares. A number over configurations is the mean over them of the means over each one's answers. Those without a "
    "valid verdict are left out; where there are any, the line of the score counts them, with the bounds that they "
    "leave. `labelled responses`: what pairs are made of, and the share without a valid label; `examples of`: the "
    "share that a training leaves out as longer than its limit. Intervals are percentile bootstraps clustered by "
    "prompt; those of means over seeds are over prompts and seeds."
    f" {NO_INTERVAL}"
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
REASONS = {
    "topics": "benign topics instead of harms; other policy, prompts, responses and judge",
    "cosalign": "other policy, responses and judge",
}
JUDGES = {"lexicon": "lexicon judge, helpfulness proxy", "llm": "language model as judge"}
BENCHMARKS = {"topics": "topics", "cosalign": "CoSAlign-Test"}


def cosa_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Every method on seen and unseen configurations, and its difference to `ica`, as (CSV, Markdown)."""
    cells = [cell for document in documents for cell in _cells(document)]
    shown = {ROWS[cell.model] for cell in cells if cell.published is not None}
    alone = [_printed(fact) for fact in select("Table 3", PAPER) if fact.row not in shown]
    return to_csv([*cells, *alone], Cell._fields), side_by_side(TITLE, NOTE, [*cells, *alone])


def _cells(document: Mapping[str, Any]) -> Iterator[Cell]:
    yield _labels(document)
    yield from _too_long(document)
    for group, methods in document["groups"].items():
        for method, found in methods.items():
            for metric, value in found["metrics"].items():
                cell = _cell(document, group, method, metric, value)
                yield _bounded(cell, found) if metric == "cosa_score" and found["invalid"] else cell
            if method != "ica":
                yield _cell(document, group, f"{method} minus ica", "cosa_score", found["minus_ica"]["cosa_score"])
            for config, value in found["by_config"].items():
                yield _cell(document, group, method, "cosa_score", value, config)
    for group, methods in document.get("over_seeds", {}).items():
        for method, found in methods.items():
            for metric, value in found["metrics"].items():
                yield _mean(document, group, method, metric, value)
            if method != "ica":
                yield _mean(document, group, f"{method} minus ica", "cosa_score", found["minus_ica"]["cosa_score"])


def _labels(document: Mapping[str, Any]) -> Cell:
    """The share of training responses whose labels are invalid."""
    counts = document["labels"]
    share, none = counts["invalid"] / counts["responses"], {"low": None, "high": None, "n_prompts": None}
    found = {"value": share, "n": counts["responses"], **none}
    told = f"{counts['addressed']} address their prompt, {counts['touching']} have a label"
    return _cell(document, "training", "labelled responses", "invalid", found)._replace(reason=told)


def _too_long(document: Mapping[str, Any]) -> Iterator[Cell]:
    """The shares of training examples that are left out over the length limit."""
    none = {"low": None, "high": None, "n_prompts": None}
    for stage, unit in (("fine-tuning", "prompts with a chosen response"), ("DPO", "pairs")):
        counts = document["too_long"][stage]
        found = {"value": counts["too_long"] / counts["given"], "n": counts["given"], **none}
        told = f"{counts['too_long']} of {counts['given']} {unit} exceed max_length and are left out whole"
        yield _cell(document, "training", f"examples of {stage}", "too_long", found)._replace(reason=told)


def _mean(document: Mapping[str, Any], group: str, method: str, metric: str, found: Mapping[str, Any]) -> Cell:
    """A mean over seeds, with the value of each seed and their standard deviation as the reason."""
    seeds = document["seeds"]
    told = " ".join(f"{value:.3f}" for value in found["by_seed"])
    cell = _cell(document, group, f"{method}, mean of {len(seeds)} seeds", metric, found)
    return cell._replace(seed=None, reason=f"seeds {', '.join(map(str, seeds))}: {told} (sd {found['sd']:.3f})")


def _bounded(cell: Cell, found: Mapping[str, Any]) -> Cell:
    low, high = found["cosa_score_bounds"]
    told = f"{found['invalid']} without a verdict: between {low:.3f} and {high:.3f}"
    return cell._replace(reason=f"{cell.reason}; {told}")


def _cell(
    document: Mapping[str, Any], group: str, method: str, metric: str, found: Mapping[str, Any], config: str = ""
) -> Cell:
    """One number, over the configurations of a group or of one of them; the paper prints the former alone."""
    measured_on = config or f"CoSAlign-Test {group}"
    fact = lookup("Table 3", ROWS.get(method, ""), measured_on, PRINTED.get(metric, ""), PAPER)
    printed = fact.share if fact else None
    configs = f"configuration {config}" if config else "configurations"
    return Cell(
        table="cosa",
        model=method,
        benchmark=f"{BENCHMARKS[document['taxonomy']]}, {group} {configs}",
        stand_in_for="CoSAlign-Test" if document["taxonomy"] == "topics" else "",
        metric=metric,
        positive_class="",
        source=f"measured@{document['scale']}",
        published=printed,
        measured=found["value"],
        low=found["low"],
        high=found["high"],
        difference=None if printed is None else found["value"] - printed,
        comparable="no",
        reason=REASONS[document["taxonomy"]],
        n=found["n"],
        n_prompts=found["n_prompts"],
        seed=document["seed"],
        protocol=JUDGES[document["judge"]],
        printed_in=fact.place if fact else "",
    )


def _printed(fact: Published) -> Cell:
    return printed_cell("cosa", fact, next(own for own, name in PRINTED.items() if name == fact.metric))
