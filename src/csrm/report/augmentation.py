"""The table of what CCA did: labels that flip, and categories that were proposed, rejected and used (section 3.2)."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from csrm.report.cells import markdown_head, markdown_line, to_csv

NOTE = (
    "A flip is a configuration whose label differs from the conversation's under its standard configuration; its rate "
    "is over the configurations of conversations with that label. Rejected proposals are by reason and over the "
    "proposed ones; labels verify the bank's, so that none is rejected. Counted on all groups of each draw, before "
    "mixing: no sample, so without intervals. Drawn with the run's `seed`."
)


class Line(NamedTuple):
    """One count of a draw and what it is a share of; without a rate where there is nothing to be a share of."""

    draw: str
    backend: str
    what: str
    source: str
    number: int
    of: int | None
    rate: float | None


def augmentation_table(statistics: Mapping[str, Mapping[str, Any]], scale: str) -> tuple[str, str]:
    """`cca_statistics.json` by draw, as (CSV, Markdown)."""
    lines = [
        Line(draw, found["backend"], what, f"measured@{scale}", count, of, count / of if of else None)
        for draw, found in statistics.items()
        for what, count, of in _counts(found)
    ]
    head = list(Line._fields)
    shown = [[*line[:4], f"{line.number:,}", _number(line.of), _rate(line.rate)] for line in lines]
    text = ["## Configuration augmentation (CCA)", "", NOTE, "", *markdown_head(head)]
    return to_csv(lines, Line._fields), "\n".join([*text, *map(markdown_line, shown)]) + "\n"


def _counts(found: Mapping[str, Any]) -> Iterator[tuple[str, int, int | None]]:
    branches = sum(found["branches"].values())
    yield "conversations", found["groups"], None
    for reason, dropped in found["dropped"].items():
        yield f"conversations dropped: {reason}", dropped, found["groups"] + sum(found["dropped"].values())
    yield "ranking pairs", found["pairs"], None
    for label, count in found["branches"].items():
        yield f"configurations labelled {label}", count, branches
    for name, flip in found["flips"].items():
        yield f"flips {name}", flip["count"], flip["branches"]
    for side, proposals in found["proposals"].items():
        yield f"{side} proposed", proposals["proposed"], proposals["requests"]
        yield f"{side} accepted", proposals["accepted"], proposals["proposed"]
        yield f"{side} rejected", sum(r["count"] for r in proposals["rejected"].values()), proposals["proposed"]
        for reason, rejected in proposals["rejected"].items():
            yield f"{side} rejected: {reason}", rejected["count"], proposals["proposed"]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
