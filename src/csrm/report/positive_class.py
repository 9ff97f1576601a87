"""Which class a paper's F1 or AUPRC takes as positive, where it does not say: the one whose measured numbers fit."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from csrm.report.cells import Cell, markdown_head, markdown_line, number
from csrm.report.counterparts import BOTH, MODELS

LEVEL = 0.05
"""A class fits where a two-sided sign test over the printed numbers is below this."""
ALL = "all columns"
NOTE = (
    "Mean absolute difference between measured and printed numbers, with either class as positive. Of models on one "
    "benchmark the items are the same, so that the numbers are not independent."
)


class Pair(NamedTuple):
    """One printed number beside both classes: absolute differences, and whether the numbers may be compared."""

    metric: str
    benchmark: str
    safe: float
    unsafe: float
    comparable: bool
    reason: str


class Fit(NamedTuple):
    """How well either class fits one metric in one column; `closer` counts numbers, `n` all of them."""

    metric: str
    benchmark: str
    safe: float
    unsafe: float
    closer_safe: int
    closer_unsafe: int
    n: int


def decision(cells: Sequence[Cell]) -> tuple[list[Cell], str]:
    """The fit of both classes per column as cells, and a Markdown section that says which class fits, if one does.

    Args:
        cells: measured cells of one table, with both classes beside a printed number whose class is not stated.
    """
    pairs = _pairs(cells)
    lines, found = [], []
    for metric in [name for name in BOTH if any(cell.metric == BOTH[name][0] for cell in cells)]:
        own = [pair for pair in pairs if pair.metric == metric]
        kept = [pair for pair in own if pair.comparable] or own
        found += [_fit(metric, name, kept) for name in [*sorted({p.benchmark for p in kept}), ALL] if kept]
        lines += ["", _sentence(metric, own)]
    if not lines:
        return [], ""
    text = ["", "### Which class is positive", "", NOTE, *lines]
    if found:
        head = ["metric", "column", "safe positive", "unsafe positive", "closer: safe", "closer: unsafe", "n cells"]
        text += ["", *markdown_head(head), *map(_line, found)]
    return [cell for fit in found for cell in _cells(fit, cells[0])], "\n".join(text) + "\n"


def _pairs(cells: Sequence[Cell]) -> list[Pair]:
    by_place: dict[tuple[str, str, str], Cell] = {(c.model, c.benchmark, c.metric): c for c in cells}
    pairs, voted = [], set()
    for (model, benchmark, metric), safe in by_place.items():
        printed = (MODELS.get(model, model), benchmark, metric)  # two of our models may stand for one printed row
        if printed in voted:
            continue
        for name, (first, second) in BOTH.items():
            unsafe = by_place.get((model, benchmark, second))
            if metric != first or safe.difference is None or unsafe is None or unsafe.difference is None:
                continue
            voted.add(printed)
            comparable = "no" not in (safe.comparable, unsafe.comparable)
            pairs.append(Pair(name, benchmark, abs(safe.difference), abs(unsafe.difference), comparable, safe.reason))
    return pairs


def _fit(metric: str, benchmark: str, pairs: Sequence[Pair]) -> Fit:
    own = [pair for pair in pairs if benchmark in (pair.benchmark, ALL)]
    safe, unsafe = fmean(pair.safe for pair in own), fmean(pair.unsafe for pair in own)
    closer_safe, closer_unsafe = sum(p.safe < p.unsafe for p in own), sum(p.unsafe < p.safe for p in own)
    return Fit(metric, benchmark, safe, unsafe, closer_safe, closer_unsafe, len(own))


def _sentence(metric: str, pairs: Sequence[Pair]) -> str:
    from scipy.stats import binomtest

    if not pairs:
        return f"**{metric}: undecided**, no measured number stands beside a printed one whose class is not stated."
    kept = [pair for pair in pairs if pair.comparable]
    if not kept:
        why = f"none of {len(pairs)} numbers may be compared ({pairs[0].reason})"
        return f"**{metric}: undecided at this scale**, {why}."
    fit = _fit(metric, ALL, kept)
    name, closer = max(("safe", fit.closer_safe), ("unsafe", fit.closer_unsafe), key=lambda one: one[1])
    told = fit.closer_safe + fit.closer_unsafe
    p = float(binomtest(closer, told).pvalue) if told else 1.0
    nearer = "safe" if fit.safe < fit.unsafe else "unsafe"
    means = f"mean absolute difference {fit.safe:.3f} with safe, {fit.unsafe:.3f} with unsafe as positive"
    evidence = f"{name} is closer for {closer} of {told} numbers (sign test p = {p:.2g}); {means}."
    if p > LEVEL or nearer != name:
        return f"**{metric}: undecided**, {evidence}"
    return f"**{metric}: {name} fits**, {evidence}"


def _line(fit: Fit) -> str:
    counts = [str(fit.closer_safe), str(fit.closer_unsafe), str(fit.n)]
    return markdown_line([fit.metric, fit.benchmark, number(fit.safe), number(fit.unsafe), *counts])


def _cells(fit: Fit, example: Cell) -> list[Cell]:
    """The mean absolute differences of one column as cells of the CSV, of the example's table, scale and seed."""
    return [
        Cell(
            table=example.table,
            model="all models",
            benchmark=fit.benchmark,
            stand_in_for="",
            metric=f"mean absolute difference, {BOTH[fit.metric][name == 'unsafe']}",
            positive_class=name,
            source=example.source,
            measured=value,
            n=fit.n,
            seed=example.seed,
            reason="over printed numbers whose positive class is not stated",
        )
        for name, value in (("safe", fit.safe), ("unsafe", fit.unsafe))
    ]
