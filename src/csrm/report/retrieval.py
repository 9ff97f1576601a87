"""Figure 8 and its table: recall of relevant policy entries among BM25's first k, published beside measured."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from csrm.report.cells import markdown_head, markdown_line, number, to_csv
from csrm.report.published import select
from csrm.report.style import DASHES, MARKERS, PUBLISHED_COLOUR

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PRINTED = "relevant entries (the paper does not say how they are found)"
SHOWN = (1, 2, 3, 5, 10, 12, 17, 20)
NOTE = (
    "Share of a conversation's relevant policy entries among the k that BM25 finds closest to it, mean over "
    "conversations with at least one; intervals resample prompts. `chance`: a random order. `longer`: conversations "
    "whose policy has more than k entries; where there is none, recall is 1 by construction. DynaBench does not "
    "publish which rules are relevant. A `proxy` takes the taxonomy as the policy and the categories that the response "
    "is labelled with as relevant; a taxonomy's guidelines are more abstract than DynaBench's rules, so it is not "
    "comparable. Published values are read off the figure; the last point stands for every k from 17 on."
)
ALONE = "published points alone:\nno data set with relevant rules\nor labelled categories was measured"


class Recall(NamedTuple):
    """Recall at one k on one data set; `source` is `published` or `measured@<scale>`."""

    source: str
    dataset: str
    relevance: str
    k: int
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int | None = None
    n_prompts: int | None = None
    n_longer: int | None = None
    seed: int | None = None


def published_rows() -> list[Recall]:
    """The points of Figure 8, read off it."""
    rows = []
    for fact in select("Fig. 8"):
        found = re.match(r"BM25 k=(\d+)", fact.row)
        if not found:
            raise ValueError(f"Fig. 8 has a row {fact.row!r}: expected 'BM25 k=<number>'")
        rows.append(Recall(fact.source, fact.dataset, PRINTED, int(found[1]), fact.value))
    return rows


def measured_rows(documents: Sequence[Mapping[str, Any]]) -> list[Recall]:
    """Every k of every document of `csrm evaluate-retrieval`."""
    return [
        Recall(
            source=f"measured@{document['scale']}",
            dataset=document["dataset"],
            relevance=document["relevance"],
            seed=document["seed"],
            **{field: point[field] for field in ("k", "value", "low", "high", "chance", "n", "n_prompts", "n_longer")},
        )
        for document in documents
        for point in document["recall"]
    ]


def retrieval_table(documents: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Published and measured recall as (CSV: every k, Markdown: the k of `SHOWN`)."""
    rows = [*published_rows(), *measured_rows(documents)]
    head = ["data set", "relevant are", "source", "k", "recall", "chance", "longer", "n", "prompts", "seed"]
    lines = [
        markdown_line(
            [
                *(row.dataset, row.relevance, row.source, f"{row.k}", number(row.value, row.low, row.high)),
                "" if row.chance is None else number(row.chance),
                *("" if value is None else str(value) for value in (row.n_longer, row.n, row.n_prompts, row.seed)),
            ]
        )
        for row in rows
        if row.k in SHOWN
    ]
    text = ["## Figure 8: retrieval of policy entries", "", NOTE, "", *markdown_head(head), *lines]
    return to_csv(rows, Recall._fields), "\n".join(text) + "\n"


def retrieval_frame(documents: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """What Figure 8 draws, one row a point; the published ones alone where nothing was measured."""
    import pandas as pd

    return pd.DataFrame([*published_rows(), *measured_rows(documents)], columns=list(Recall._fields))


def draw_retrieval(plt: Any, table: "pd.DataFrame") -> "Figure":
    """Recall against k: the paper's points grey, ours with bands, a random order dotted in the same colour."""
    import seaborn as sns

    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    printed, own = table[table["source"] == "published"], table[table["source"] != "published"]
    grey = {"color": PUBLISHED_COLOUR, "linestyle": "--", "marker": "X", "zorder": 3}
    axis.plot(printed["k"], printed["value"], label="paper, DynaBench (read off its figure)", **grey)
    colours = sns.color_palette("colorblind", 10)
    for i, ((dataset, relevance), part) in enumerate(own.groupby(["dataset", "relevance"], sort=False)):
        look = {"color": colours[i % len(colours)], "linestyle": DASHES[i % len(DASHES)]}
        rows = part.sort_values("k")
        label = f"{dataset} (n = {rows['n'].iloc[0]:.0f})\n{relevance}"
        axis.plot(rows["k"], rows["value"], label=label, marker=MARKERS[i % len(MARKERS)], markersize=3, **look)
        axis.fill_between(
            rows["k"], rows["low"].astype(float), rows["high"].astype(float), color=look["color"], alpha=0.2
        )
        axis.plot(rows["k"], rows["chance"], color=look["color"], linestyle=":", linewidth=0.8)
    if own.empty:
        axis.text(0.97, 0.05, ALONE, transform=axis.transAxes, ha="right", va="bottom", fontsize=7)
    else:
        axis.plot([], [], color="0.3", linestyle=":", linewidth=0.8, label="random order")
    axis.set(xlabel="policy entries kept, k", ylabel="recall of relevant entries", ylim=(0, 1.05))
    axis.set_xticks([1, 5, 10, 15, 20])
    figure.legend(loc="outside right upper", fontsize=7)
    return figure
