"""The table of general capability before and after alignment: perplexity on neutral text, and tasks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.report.cells import NO_INTERVAL, markdown_line, number, to_csv

NOTE = (
    "Of the policy, of the aligned policy, and the change: the ratio of perplexities on neutral passages that the "
    "project wrote (plain text, no chat template; 1 means that alignment cost nothing here), or the difference of a "
    "task's mean value (lm-evaluation-harness). `n` counts tokens and passages, or documents. Intervals are "
    "percentile bootstraps over passages or documents (and over seeds of alignment, where there are several), both "
    "sides resampled alike. The papers print no such number; Table 5 says what alignment brought."
    f" {NO_INTERVAL}"
)


SIDES = ("before", "after", "ratio", "difference")


class Capability(NamedTuple):
    """One side, or the change, of one measure of one aligned policy."""

    config: str
    algorithm: str
    reward: str
    measure: str
    side: str
    source: str
    value: float
    low: float | None
    high: float | None
    n: int
    n_passages: int | None
    seeds: str


def capability_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Each measure before, after, and its change, of each policy, as (CSV, Markdown)."""
    rows = [_rows(document, measure) for document in documents for measure in document["measures"]]
    head = ["configuration", "algorithm", "reward", "measure", "before", "after", "change", "n", "source", "seeds"]
    lines = [_line(sides) for sides in rows]
    text = ["## General capability", "", NOTE, "", markdown_line(head), "|---" * len(head) + "|", *lines]
    return to_csv([side for sides in rows for side in sides], Capability._fields), "\n".join(text) + "\n"


def _rows(document: Mapping[str, Any], measure: str) -> list[Capability]:
    return [
        Capability(
            document["config"],
            document["algorithm"],
            document["reward"],
            measure,
            side,
            f"measured@{document['scale']}",
            found["value"],
            found["low"],
            found["high"],
            found["n"],
            found.get("n_passages"),
            " ".join(map(str, document["seeds"])),
        )
        for side in SIDES
        if (found := document["measures"][measure].get(side))
    ]


def _line(sides: Sequence[Capability]) -> str:
    one = sides[0]
    values = [number(side.value, side.low, side.high) for side in sides]
    values[-1] += " x" if sides[-1].side == "ratio" else ""
    size = f"{one.n} / {one.n_passages}" if one.n_passages else str(one.n)
    return markdown_line([one.config, one.algorithm, one.reward, one.measure, *values, size, one.source, one.seeds])
