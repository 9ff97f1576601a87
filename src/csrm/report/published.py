"""The published numbers (`published_results.csv`: one fact a line, with its source), and what is suspicious in them."""

import csv
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Literal, NamedTuple

PAPER = "CSRM (arXiv 2605.30487v1)"


class Published(NamedTuple):
    """One number as printed in a paper; `source` tells a paper's own number from one that it copied."""

    paper: str
    table: str
    row: str
    dataset: str
    metric: str
    value: float
    text: str
    unit: str
    positive_class: str
    note: str
    source: Literal["published", "copied"]

    @property
    def share(self) -> float:
        """The value with percents as shares."""
        return round(self.value / 100, 9) if self.unit.startswith("percent") else self.value

    @property
    def place(self) -> str:
        """Paper and table, for reading: `CSRM, Table 2`."""
        return f"{self.paper.partition(' (')[0]}, {self.table}"


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """All published numbers, in the file's order."""
    text = resources.files("csrm.report").joinpath("published_results.csv").read_text(encoding="utf-8")
    lines = csv.reader(text.splitlines())
    next(lines)
    return tuple(_parse(line) for line in lines)


def _parse(line: list[str]) -> Published:
    paper, table, row, dataset, metric, value, unit, positive, note = line
    source: Literal["published", "copied"] = "copied" if "copied from" in note.lower() else "published"
    return Published(paper, table, row, dataset, metric, float(value), value, unit, positive, note, source)


def select(table: str, paper: str = PAPER) -> list[Published]:
    """The numbers of one table or figure of a paper."""
    return [fact for fact in published() if fact.table == table and fact.paper == paper]


def lookup(table: str, row: str, dataset: str, metric: str, paper: str = PAPER) -> Published | None:
    """One published number, or None."""
    for fact in select(table, paper):
        if (fact.row, fact.dataset, fact.metric) == (row, dataset, metric):
            return fact
    return None


@lru_cache
def lines_of(name: str) -> tuple[tuple[str, ...], ...]:
    """The lines of a tab-separated file of this package, without comments and header."""
    text = resources.files("csrm.report").joinpath(name).read_text(encoding="utf-8")
    lines = [tuple(line.split("\t")) for line in text.splitlines() if not line.startswith("#")]
    return tuple(lines[1:])


def footnote(fact: Published) -> str:
    """What is suspicious or easily misread about a number of the CSRM paper; several notes are joined by ` / `."""
    if fact.paper != PAPER:
        return ""
    place = (fact.table, fact.row, fact.dataset, fact.metric)
    return " / ".join(
        note for *where, note in lines_of("published_footnotes.tsv") if all(map(fnmatchcase, place, where))
    )
