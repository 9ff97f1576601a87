"""One look for all figures: context, palette keyed by model, and writing of PDF, PNG and CSV with stable bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrm.files import atomic, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ORDER = (
    *("csrm", "csrm-no-cca", "csrm-no-sa", "zero-shot", "minilm-similarity", "keyword", "length"),
    *("minilm-lr", "minilm-lr-no-config", "tfidf-lr", "tfidf-lr-no-config"),
)
"""Models with a fixed colour, in the order of legends; others follow in alphabetical order."""
PUBLISHED_COLOUR = "0.55"
DIGITS = 6
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@contextmanager
def styled() -> Iterator[Any]:
    """`matplotlib.pyplot` with the package's style, without a display; settings and figures are gone afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    path = resources.files("csrm.report").joinpath("style.mplstyle")
    with plt.rc_context():
        sns.set_theme(context="paper", style="ticks")
        with resources.as_file(path) as file:
            plt.style.use(str(file))
        try:
            yield plt
        finally:
            plt.close("all")


def ordered(models: Sequence[str]) -> list[str]:
    """Models in the order of legends, each once."""
    known = [model for model in ORDER if model in models]
    return known + sorted(set(models) - set(ORDER))


def look(models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each model; known models keep theirs in every figure."""
    import seaborn as sns

    colours = sns.color_palette("colorblind", 10)
    names = [*ORDER, *sorted(set(models) - set(ORDER))]
    return {
        name: {
            "color": colours[i % len(colours)],
            "linestyle": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, name in enumerate(names)
    }


def origin(table: "pd.DataFrame") -> str:
    """Sources of a table's numbers with their seeds: `measured@demo, seed 0; published`."""
    parts = []
    for source, rows in table.groupby("source", sort=True):
        seeds = [str(seed) for seed in sorted(set(rows["seed"].dropna().astype(int)))]
        parts.append(f"{source}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" if seeds else str(source))
    return "; ".join(parts)


def save(figure: "Figure", table: "pd.DataFrame", prefix: str | Path) -> list[Path]:
    """Write `<prefix>.pdf`, `.png` and `.csv` (the tidy table that was drawn); equal input gives equal bytes.

    The table has columns `source` and `seed`; a line below the panels says what they hold.
    """
    figure.supxlabel(origin(table), x=0.99, ha="right", fontsize=6, color="0.5")
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None, "Producer": "csrm", "Creator": "csrm"},
        "png": {"Software": None},
    }
    paths = []
    for suffix, meta in metadata.items():
        path = Path(f"{prefix}.{suffix}")
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, metadata=meta)
        paths.append(path)
    path = Path(f"{prefix}.csv")
    table = table.round(DIGITS).astype({"seed": "Int64"})
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    return [*paths, path]
