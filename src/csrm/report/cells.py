"""The cell of a result table: one number with its source, interval, counterpart and whether the two may be compared."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

COMPARABLE = Literal["yes", "partly", "no"]


class Cell(NamedTuple):
    """One number of a table.

    `source` is `published`, `copied` (the paper copied it from another) or `measured@<scale>`. A published cell has
    `published` and no `measured`; a measured cell has `published` too when the paper prints a counterpart. `footnote`
    says what is suspicious about the published number.
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
    n_prompts: int | None = None
    seed: int | None = None
    protocol: str = ""
    footnote: str = ""


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
    """One line per (benchmark, model, source), one column per metric: for tables without published numbers.

    `n` counts labelled items; pair accuracy and reward gap are of the `pairs`, the conditional AUROC of their items.
    """
    rows: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.benchmark, cell.model, cell.source), {})[cell.metric] = cell
    head = ["benchmark", "model", "source", *metrics, "n", "pairs", "prompts", "seed"]
    lines = [f"## {title}", "", note, "", *_head(head)]
    for (_, model, source), found in rows.items():
        first = next(iter(found.values()))
        values = [_measured(found[metric]) if metric in found else "" for metric in metrics]
        pairs = _largest(c.n for c in found.values() if c.metric == "pair_accuracy")
        sizes = [_largest(c.n for c in found.values()), pairs, _largest(c.n_prompts for c in found.values())]
        lines.append(markdown_line([_benchmark(first), model, source, *values, *sizes, _text(first.seed)]))
    return "\n".join(lines) + "\n"


def side_by_side(title: str, note: str, cells: Sequence[Cell]) -> str:
    """One line a number: published, measured, their difference, and whether they may be compared (why not)."""
    notes: dict[str, int] = {}
    head = ["benchmark", "model", "metric", "source", "published", "measured", "difference", "comparable?"]
    head += ["n", "prompts", "seed"]
    lines = [f"## {title}", "", note, "", *_head(head)]
    for cell in cells:
        marks = [str(notes.setdefault(text, len(notes) + 1)) for text in cell.footnote.split(" / ") if text]
        published = "" if cell.published is None else number(cell.published)
        if marks and published:
            published += f" [{', '.join(marks)}]"
        measured = "" if cell.source in ("published", "copied") else _measured(cell)
        difference = "" if cell.difference is None else f"{cell.difference:+.3f}"
        verdict = ": ".join(part for part in (cell.comparable, cell.reason) if part)
        values = [published, measured, difference, verdict, _text(cell.n), _text(cell.n_prompts), _text(cell.seed)]
        lines.append(markdown_line([_benchmark(cell), cell.model, cell.metric, cell.source, *values]))
    if notes:
        lines += ["", "Published numbers to read with care:", ""]
        lines += [f"{mark}. {text}" for text, mark in notes.items()]
    return "\n".join(lines) + "\n"


def _benchmark(cell: Cell) -> str:
    return f"{cell.benchmark} (stand-in for {cell.stand_in_for})" if cell.stand_in_for else cell.benchmark


def _measured(cell: Cell) -> str:
    return number(cell.measured, cell.low, cell.high)


def _largest(sizes: Iterable[int | None]) -> str:
    return str(max((size for size in sizes if size is not None), default=""))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _head(names: Sequence[str]) -> list[str]:
    return [markdown_line(names), markdown_line(["---"] * len(names))]


def markdown_line(values: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(value.replace("|", "/") for value in values) + " |"
