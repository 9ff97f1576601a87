"""The cell of a result table: one number with its source, interval, counterpart and whether the two may be compared."""

import csv
import io
from collections.abc import Sequence
from typing import Literal, NamedTuple

COMPARABLE = Literal["yes", "partly", "no"]


class Cell(NamedTuple):
    """One number of a table.

    `source` is `published`, `copied` (the paper copied it from another) or `measured@<scale>`. A published cell has
    `published` and no `measured`; a measured cell has `published` too when the paper prints a counterpart.
    """

    table: str
    model: str
    benchmark: str
    stand_in_for: str
    metric: str
    positive_class: str
    source: str
    published: float | None = None
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    comparable: COMPARABLE | Literal[""] = ""
    reason: str = ""
    n: int | None = None
    seed: int | None = None
    protocol: str = ""


def to_csv(cells: Sequence[NamedTuple], fields: Sequence[str]) -> str:
    """Long CSV with a header; floats as `repr`, missing values empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for cell in cells:
        writer.writerow(["" if value is None else repr(value) if isinstance(value, float) else value for value in cell])
    return out.getvalue()


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A value for reading, three decimals, with its interval when there is one."""
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def to_markdown(title: str, note: str, cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """One line per (model, benchmark, source), one column per metric; counterparts and caveats at the end of the line.

    Every line holds cells of one source, which its `source` column names.
    """
    rows: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.benchmark, cell.model, cell.source), {})[cell.metric] = cell
    head = ["benchmark", "model", "source", *metrics, "n", "seed", "published counterpart", "comparable"]
    lines = [f"## {title}", "", note, "", markdown_line(head), markdown_line(["---"] * len(head))]
    for (benchmark, model, source), found in rows.items():
        first = next(iter(found.values()))
        name = f"{benchmark} (stand-in for {first.stand_in_for})" if first.stand_in_for else benchmark
        values = [_value(found[metric]) if metric in found else "" for metric in metrics]
        sizes = [str(max((c.n for c in found.values() if c.n is not None), default="")), _text(first.seed)]
        lines.append(markdown_line([name, model, source, *values, *sizes, _counterparts(found), _verdict(found)]))
    return "\n".join(lines) + "\n"


def _value(cell: Cell) -> str:
    shown = cell.published if cell.measured is None and cell.source in ("published", "copied") else cell.measured
    return number(shown, cell.low, cell.high)


def _counterparts(found: dict[str, Cell]) -> str:
    parts = [
        f"{cell.metric} {number(cell.published)}, difference {cell.difference:+.3f}"
        for cell in found.values()
        if cell.published is not None and cell.difference is not None
    ]
    return "; ".join(parts)


def _verdict(found: dict[str, Cell]) -> str:
    verdicts = {f"{cell.comparable}: {cell.reason}" for cell in found.values() if cell.comparable}
    return "; ".join(sorted(verdicts))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def markdown_line(values: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(value.replace("|", "/") for value in values) + " |"
