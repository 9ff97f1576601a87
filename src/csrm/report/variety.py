"""How configurability grows with the number of categories that CCA draws from (section 3.2)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from csrm.bench.registry import Benchmark
from csrm.report.figures import METRIC_NAMES, configurability_table, error_bars, sizes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LOOKS: Mapping[str, dict[str, Any]] = {
    "seen": {"color": "0.55", "linestyle": "--", "marker": "s"},
    "unseen": {"color": "C0", "linestyle": "-", "marker": "o"},
}


def variety_table(
    documents: Sequence[Mapping[str, Any]], benchmarks: Mapping[str, Benchmark], categories: Mapping[str, int]
) -> "pd.DataFrame":
    """`configurability_table` with the number of bank categories of each model's draw, by that number.

    Args:
        documents: evaluations of the models.
        benchmarks: the table of benchmarks.
        categories: model -> categories that its CCA drew from.

    Raises:
        ValueError: if a model's number is missing.
    """
    table = configurability_table(documents, benchmarks)
    missing = sorted(set(table["model"]) - set(categories))
    if missing:
        raise ValueError(f"no statistics with `bank_categories` for the draws of {missing}")
    table = table.assign(categories=[categories[model] for model in table["model"]])
    return table.sort_values(["metric", "benchmark", "scope", "categories", "model"], ignore_index=True)


def draw_variety(plt: Any, table: "pd.DataFrame") -> "Figure":
    """One panel a metric and benchmark: seen and unseen families against the number of categories, chance dashed."""
    metrics = [metric for metric in METRIC_NAMES if metric in set(table["metric"])]
    families = sorted(set(table["benchmark"]))
    size = (0.8 + 2.6 * len(families), 0.7 + 2.1 * len(metrics))
    figure, axes = plt.subplots(len(metrics), len(families), figsize=size, sharex=True, squeeze=False)
    for r, metric in enumerate(metrics):
        for c, family in enumerate(families):
            axis, part = axes[r, c], table[(table["metric"] == metric) & (table["benchmark"] == family)]
            for scope, how in LOOKS.items():
                rows = part[part["scope"] == scope]
                counts = sizes(rows).replace("\n", ", ")
                axis.errorbar(
                    rows["categories"],
                    rows["value"],
                    yerr=error_bars(rows),
                    capsize=2,
                    label=f"{scope} ({counts})",
                    **how,
                )
            axis.axhline(0.5, color="0.3", linestyle=":", linewidth=0.8)
            axis.set(xscale="log", title=family if r == 0 else "", ylim=(0, 1.02))
            axis.legend(loc="lower right")
        axes[r, 0].set_ylabel(METRIC_NAMES[metric])
    for axis in axes[-1]:
        axis.set_xlabel("categories that CCA draws from")
    return figure
