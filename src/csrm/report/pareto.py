"""Figure 4 (Pareto sweep) and the table of its hypervolumes, from the documents of `csrm pareto`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from csrm.align.hypervolume import hypervolume
from csrm.report.cells import NO_INTERVAL, markdown_line, number, to_csv
from csrm.report.figures import error_bars
from csrm.report.published import select
from csrm.report.style import PUBLISHED_COLOUR, look, ordered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Document = Mapping[str, Any]

AXES = ("safety", "helpfulness")
ENDS = {"": "value", "_low": "low", "_high": "high"}
AREA = "hypervolume"
NOTE = (
    "`hypervolume` is the area that a reward's sweep (Figure 4) dominates: safety times helpfulness, both in [0, 1], "
    "from (0, 0); 1 is best. `minus` is this reward's hypervolume minus another's on the same resampled prompts; an "
    "interval that contains 0 shows no difference. Intervals are percentile bootstraps over prompts. A front takes the "
    "best of its points, so that resamples lie a little above the value. The printed points of Figure 4 give the lines "
    "`published`: other policy, prompts and judge."
    f" {NO_INTERVAL}"
)


class Area(NamedTuple):
    """The hypervolume of one reward, or its difference to the one that `minus` names."""

    config: str
    reward: str
    minus: str
    source: str
    value: float
    low: float | None
    high: float | None
    points: int
    n_prompts: int | None
    seed: int | None


def is_sweep(document: Document) -> bool:
    """Whether a document holds the points of a Pareto sweep."""
    return "points" in document and "slope" in document


def area_table(documents: Sequence[Document]) -> tuple[str, str]:
    """Hypervolumes of all sweeps, their paired differences, and those of the printed points, as (CSV, Markdown)."""
    rows = [row for document in documents for row in _areas(document)]
    rows.sort(key=lambda row: row.config)
    for (config, reward), points in published_sweep().groupby(["config", "reward"], sort=True):
        area = float(points[AREA].iloc[0])
        rows.append(Area(str(config), str(reward), "", "published", area, None, None, len(points), None, None))
    head = ["configuration", "reward", "source", "hypervolume", "points", "prompts", "seed"]
    lines = [
        markdown_line(
            [
                row.config,
                f"{row.reward} minus {row.minus}" if row.minus else row.reward,
                row.source,
                number(row.value, row.low, row.high),
                *("" if value is None else str(value) for value in (row.points, row.n_prompts, row.seed)),
            ]
        )
        for row in rows
    ]
    text = ["## Hypervolume of the Pareto sweeps", "", NOTE, "", markdown_line(head), "|---" * len(head) + "|", *lines]
    return to_csv(rows, Area._fields), "\n".join(text) + "\n"


def _areas(document: Document) -> list[Area]:
    head = (document["config"], document["reward"])
    found = [("", document[AREA]), *document[f"{AREA}_minus"].items()]
    return [
        Area(
            *head,
            minus,
            f"measured@{document['scale']}",
            area["value"],
            area["low"],
            area["high"],
            len(document["points"]),
            area["n_prompts"],
            document["seed"],
        )
        for minus, area in found
    ]


def sweep_table(documents: Sequence[Document]) -> "pd.DataFrame":
    """The points of all sweeps and of the paper's Figure 4, one row a point.

    Raises:
        ValueError: if there is no sweep among the documents.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for document in documents:
        for point in document["points"]:
            row = {"config": document["config"], "reward": document["reward"], "offset": point["offset"]}
            row |= {f"{AREA}{end}": document[AREA][key] for end, key in ENDS.items()}
            for name, metric in (("safety", "safety"), ("helpfulness", "helpfulness_0_5")):
                found = point[metric]
                row |= {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
            row |= {"n": point["safety"]["n"], "source": f"measured@{document['scale']}", "seed": document["seed"]}
            rows.append(row)
    if not rows:
        raise ValueError("no Pareto sweep among the inputs")
    table = pd.DataFrame(rows).sort_values(["config", "reward", "offset"], ignore_index=True)
    return pd.concat([table, published_sweep()], ignore_index=True)


def published_sweep() -> "pd.DataFrame":
    """The points of the paper's Figure 4, as read off the figure, and their hypervolume."""
    import pandas as pd

    points: dict[tuple[str, str], dict[str, Any]] = {}
    for fact in select("Fig. 4"):
        reward, _, point = fact.row.partition(" (point ")
        head = {"config": fact.dataset, "reward": reward, "point": float(point.rstrip(")")), "source": fact.source}
        points.setdefault((reward, point), head)[fact.metric.lower()] = fact.value
    table = pd.DataFrame(list(points.values()))
    for _, rows in table.groupby("reward"):
        table.loc[rows.index, AREA] = float(hypervolume(rows["safety"], rows["helpfulness"] / 5))
    return table


def draw_sweep(plt: Any, table: "pd.DataFrame") -> "Figure":
    """Figure 4: safety against helpfulness per reward; one panel a configuration, the printed points in grey.

    A point's number is the offset (nats) that was added to the reward; HV is the front's hypervolume.
    """
    own, printed = table[table["source"] != "published"], table[table["source"] == "published"]
    configs, rewards = sorted(set(own["config"])), ordered(list(own["reward"]))
    looks = look(rewards)
    size = (0.8 + 2.5 * (len(configs) + 1), 2.7 + 0.15 * max(len(rewards), 3))
    figure, axes = plt.subplots(1, len(configs) + 1, figsize=size, squeeze=False)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    for axis, config in zip(axes[0], configs, strict=False):
        for reward in rewards:
            rows = own[(own["config"] == config) & (own["reward"] == reward)]
            axis.errorbar(
                rows["safety"], rows["helpfulness"], label=_label(reward, rows), **_bars(rows), **looks[reward]
            )
            for point, same in rows.groupby(["safety", "helpfulness"]):
                text = ", ".join(f"{offset:+g}" for offset in same["offset"])
                place = {"textcoords": "offset points", "xytext": (3, 3), "fontsize": "x-small"}
                axis.annotate(text, point, color=looks[reward]["color"], **place)
        sizes = "–".join(str(n) for n in sorted({int(n) for n in own[own["config"] == config]["n"]}))
        axis.set(title=f"{config}\n(measured, n={sizes} a point)", xlabel="safety")
        axis.legend(**below)
    last = axes[0, -1]
    for (name, rows), marker in zip(printed.groupby("reward", sort=True), "osD", strict=False):
        style = {"color": PUBLISHED_COLOUR, "marker": marker, "linewidth": 1.0}
        last.plot(rows["safety"], rows["helpfulness"], label=_label(str(name), rows), **style)
    last.set(title="Arab publisher (published,\nother policy and judge)", xlabel="safety")
    last.legend(**below)
    axes[0, 0].set_ylabel("helpfulness, 0–5")
    return figure


def _label(reward: str, rows: "pd.DataFrame") -> str:
    """`csrm, HV 0.52 [0.41, 0.63]`; without an interval where there is none, as for one panel without points."""
    if rows.empty:
        return reward
    value, low, high = (float(rows[f"{AREA}{end}"].astype(float).iloc[0]) for end in ENDS)
    return f"{reward}, HV {value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low <= high else "")


def _bars(rows: "pd.DataFrame") -> dict[str, Any]:
    names = {f"{axis}{end}": new for axis in ("safety", "helpfulness") for end, new in ENDS.items()}
    x, y = (rows[[c for c in rows if str(c).startswith(axis)]].rename(columns=names) for axis in AXES)
    return {"xerr": error_bars(x), "yerr": error_bars(y), "elinewidth": 0.6, "capsize": 1.5}
