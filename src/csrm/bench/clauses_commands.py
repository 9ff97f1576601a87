"""Commands of the clause probes: build-clauses makes the items, clause-table the numbers."""

import argparse
from pathlib import Path


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `build-clauses` and `clause-table`; the items are scored by `score-items`."""
    build = commands.add_parser("build-clauses", help="items of the clause probes (Table 7)")
    build.add_argument("--rows", type=Path, nargs="+", required=True)
    build.add_argument("--taxonomy", required=True, help="whose single-category violations are probed")
    build.add_argument("--settings", type=Path, required=True, help="slice `augment` (standard threshold)")
    build.add_argument("--item-cap", type=int, help="at most so many items, whole prompts (default: all)")
    build.add_argument("--seed", type=int, required=True)
    build.add_argument("--output", type=Path, required=True)
    build.set_defaults(run=run_build)

    table = commands.add_parser("clause-table", help="unsafe rate and mean reward per category and condition")
    for flag in ("--items", "--scores", "--settings", "--output-prefix"):
        table.add_argument(flag, type=Path, required=True)
    table.add_argument("--taxonomy", required=True)
    table.add_argument("--seed", type=int, required=True)
    table.set_defaults(run=run_table)


def run_build(options: argparse.Namespace) -> None:
    """Write the items of every row that violates exactly one category."""
    from csrm.bench.build import cap_items
    from csrm.bench.clauses import clause_items
    from csrm.configs.taxonomy import load_taxonomy
    from csrm.files import read_rows, write_rows
    from csrm.provenance import recording
    from csrm.rows import Row
    from csrm.settings import AugmentSettings, read_slice

    settings: AugmentSettings = read_slice(options.settings, AugmentSettings)
    with recording([options.output], {"rows": options.rows}, settings, options.seed) as notes:
        rows = [row for path in options.rows for row in read_rows(path, Row)]
        taxonomy = load_taxonomy(options.taxonomy)
        made = clause_items(rows, taxonomy, settings.standard_threshold, options.seed, options.output.stem)
        items = cap_items(made, options.item_cap)
        write_rows(options.output, items)
        notes.update(rows=len(rows), items=len(items), items_over_cap=len(made) - len(items))


def run_table(options: argparse.Namespace) -> None:
    """Write `<prefix>.csv` (long) and `<prefix>.md`."""
    import csv
    import io

    from csrm.bench.clauses import Line, clause_table, to_markdown
    from csrm.bench.evaluate import join
    from csrm.configs.taxonomy import load_taxonomy
    from csrm.files import read_rows, write_text
    from csrm.provenance import recording
    from csrm.rows import Item, ScoreRow
    from csrm.settings import MetricSettings, read_slice

    settings: MetricSettings = read_slice(options.settings, MetricSettings)
    outputs = [options.output_prefix.with_suffix(suffix) for suffix in (".csv", ".md")]
    with recording(outputs, {"items": options.items, "scores": options.scores}, settings, options.seed):
        items = read_rows(options.items, Item)
        scores = [row.log_odds for row in join(items, read_rows(options.scores, ScoreRow))]
        bounds = (settings.threshold, settings.bootstrap, settings.level, options.seed)
        lines = clause_table(items, scores, *bounds)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Line._fields, *lines])
        write_text(outputs[0], text.getvalue())
        names = {category.key: category.name for category in load_taxonomy(options.taxonomy).categories}
        write_text(outputs[1], to_markdown(lines, names))
