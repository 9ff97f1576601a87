"""The table of general capability: perplexity on neutral text before and after alignment."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import markdown_line, number, to_csv

NOTE = (
    "Perplexity on neutral passages that the project wrote (plain text, no chat template): of the policy, of the "
    "aligned policy, and their ratio; 1 means that alignment cost nothing here. Intervals are percentile bootstraps "
    "over passages (and over seeds of alignment, where there are several); the ratio resamples both sides alike. "
    "The papers print no such number; Table 5 says what alignment brought."
)


class Perplexity(NamedTuple):
    """One measure of one aligned policy."""

    config: str
    algorithm: str
    reward: str
    measure: str
    source: str
    value: float
    low: float | None
    high: float | None
    tokens: int
    passages: int
    seeds: str


def capability_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Perplexity before, after, and their ratio, of each policy, as (CSV, Markdown)."""
    rows = [row for document in documents for row in _rows(document)]
    head = ["configuration", "algorithm", "reward", "before", "after", "ratio", "tokens / passages", "source", "seeds"]
    lines = [_line(rows[start : start + 3]) for start in range(0, len(rows), 3)]
    text = ["## General capability", "", NOTE, "", markdown_line(head), "|---" * len(head) + "|", *lines]
    return to_csv(rows, Perplexity._fields), "\n".join(text) + "\n"


def _rows(document: Mapping[str, Any]) -> list[Perplexity]:
    measures = document["perplexity"]
    return [
        Perplexity(
            document["config"],
            document["algorithm"],
            document["reward"],
            measure,
            f"measured@{document['scale']}",
            measures[measure]["value"],
            measures[measure]["low"],
            measures[measure]["high"],
            measures[measure]["n"],
            measures[measure]["n_passages"],
            " ".join(map(str, document["seeds"])),
        )
        for measure in ("before", "after", "ratio")
    ]


def _line(rows: Sequence[Perplexity]) -> str:
    one = rows[0]
    values = [number(row.value, row.low, row.high) for row in rows]
    sizes = f"{one.tokens} / {one.passages}"
    return markdown_line([one.config, one.algorithm, one.reward, *values, sizes, one.source, one.seeds])
