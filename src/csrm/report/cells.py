"""The cell of a result table: one number with its source, interval, counterpart and whether the two may be compared."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from csrm.report.published import Published, footnote

NO_INTERVAL = "A value without an interval is of one prompt, or the same (or not defined) in the resamples."
COMPARABLE = Literal["yes", "partly", "no"]


class Cell(NamedTuple):
    """One number of a table.

    `source` is `published`, `copied` (the paper copied it from another) or `measured@<scale>`. A published cell has
    `published` and no `measured`; a measured cell has `published` too when a paper prints a counterpart, which
    `printed_in` names. `footnote` says what is suspicious about the published number. `data` is the sha256 of the items
    that were measured on; of these `n_safe` and `n_unsafe` are labelled so, `cut` hold fewer words than their source
    (`data.max_prompt_words`, `data.max_response_words`), `truncated` were longer than the model reads, and `unparsed`
    had no verdict. `protocol` says how items were made, of a published number what its source says about that;
    `no_interval` why a measured number has none.
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
    printed_in: str = ""
    n_safe: int | None = None
    n_unsafe: int | None = None
    truncated: int | None = None
    cut: int | None = None
    unparsed: int | None = None
    data: str = ""
    no_interval: str = ""

    def explained(self) -> "Cell":
        """With `no_interval`, of a measured number that has none and is no constant predictor's."""
        if self.measured is None or self.low is not None or self.no_interval or self.reason.startswith("constant"):
            return self
        return self._replace(no_interval="one prompt" if self.n_prompts == 1 else "the same in every resample")


def printed_cell(table: str, fact: Published, metric: str) -> Cell:
    """A published number on a line of its own."""
    return Cell(
        table=table,
        model=fact.row,
        benchmark=fact.dataset,
        stand_in_for="",
        metric=metric,
        positive_class=fact.positive_class,
        source=fact.source,
        published=fact.share,
        protocol=fact.note or "not stated",
        footnote=footnote(fact),
        printed_in=fact.place,
    )


def to_csv(cells: Sequence[NamedTuple], fields: Sequence[str]) -> str:
    """Long CSV with a header; floats as `repr`, missing values empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for cell in (each.explained() if isinstance(each, Cell) else each for each in cells):
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
    head = ["benchmark", "model", "source", *metrics, "n", "safe", "unsafe", "pairs", "prompts"]
    head += ["cut", "truncated", "seed"]
    lines = [f"## {title}", "", note, "", *markdown_head(head)]
    for (_, model, source), found in rows.items():
        first = next(iter(found.values()))
        values = [_measured(found[metric]) if metric in found else "" for metric in metrics]
        pairs = _largest(c.n for c in found.values() if c.metric == "pair_accuracy")
        sizes = [_largest(c.n for c in found.values()), _text(first.n_safe), _text(first.n_unsafe), pairs]
        sizes += [_largest(c.n_prompts for c in found.values()), _text(first.cut), _text(first.truncated)]
        sizes += [_text(first.seed)]
        lines.append(markdown_line([_benchmark(first), model, source, *values, *sizes]))
    return "\n".join(lines) + "\n"


def side_by_side(title: str, note: str, cells: Sequence[Cell]) -> str:
    """One line a number: published, measured, their difference, and whether they may be compared (why not).

    Columns that no cell fills are left out.
    """
    notes: dict[str, int] = {}
    columns: dict[str, list[str]] = {}
    for cell in cells:
        for name, text in _side_by_side(cell, notes).items():
            columns.setdefault(name, []).append(text)
    kept = {name: texts for name, texts in columns.items() if any(texts)}
    lines = [f"## {title}", "", note, "", *markdown_head([*kept])]
    lines += [markdown_line(values) for values in zip(*kept.values(), strict=True)]
    return "\n".join([*lines, *footnote_list(notes)]) + "\n"


def _side_by_side(cell: Cell, notes: dict[str, int]) -> dict[str, str]:
    """The columns of one line; footnotes are numbered in `notes`."""
    balance = "" if cell.n_safe is None else f"{cell.n_safe} / {cell.n_unsafe}"
    return {
        "benchmark": _benchmark(cell),
        "model": cell.model,
        "metric": cell.metric,
        "source": cell.source,
        "printed in": cell.printed_in,
        "published": marked("" if cell.published is None else number(cell.published), cell.footnote, notes),
        "measured": "" if cell.source in ("published", "copied") else _measured(cell),
        "difference": "" if cell.difference is None else f"{cell.difference:+.3f}",
        "comparable?": ": ".join(part for part in (cell.comparable, cell.reason) if part),
        "n": _text(cell.n),
        "safe / unsafe": balance,
        "prompts": _text(cell.n_prompts),
        "seed": _text(cell.seed),
        "protocol": cell.protocol,
    }


def marked(text: str, footnotes: str, notes: dict[str, int]) -> str:
    """A text with the numbers of its footnotes (joined by ` / `), which are entered in `notes`."""
    marks = [str(notes.setdefault(note, len(notes) + 1)) for note in footnotes.split(" / ") if note]
    return f"{text} [{', '.join(marks)}]" if marks and text else text


def footnote_list(notes: Mapping[str, int]) -> list[str]:
    """The footnotes below a table, by the numbers that `marked` gave them."""
    head = ["", "Published numbers to read with care:", ""] if notes else []
    return [*head, *(f"{mark}. {text}" for text, mark in notes.items())]


def _benchmark(cell: Cell) -> str:
    return f"{cell.benchmark} (stand-in for {cell.stand_in_for})" if cell.stand_in_for else cell.benchmark


def _measured(cell: Cell) -> str:
    return number(cell.measured, cell.low, cell.high)


def _largest(sizes: Iterable[int | None]) -> str:
    return str(max((size for size in sizes if size is not None), default=""))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def markdown_head(names: Sequence[str]) -> list[str]:
    """The head of a Markdown table and the line below it."""
    return [markdown_line(names), markdown_line(["---"] * len(names))]


def markdown_line(values: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(value.replace("|", "/") for value in values) + " |"
