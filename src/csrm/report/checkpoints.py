"""The figure of over-optimisation: reward and judge along the training of each policy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from csrm.report.figures import dodge, error_bars
from csrm.report.style import DASHES, MARKERS, look, ordered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = {
    "reward": "reward, mean P(safe)",
    "safety": "judged safety",
    "helpfulness": "judged helpfulness",
    "cosa_score": "judged CoSA-Score",
}
FURTHER = ("log_odds", "total_reward", "helpfulness_0_5")
ENDS = {"": "value", "_low": "low", "_high": "high"}


def curve_table(documents: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """One row a quantity, step and policy, with the difference to step 0 over the same prompts.

    Raises:
        ValueError: if there is no curve among the documents.
    """
    import pandas as pd

    rows = [row for document in documents for point in document["curve"] for row in _rows(document, point)]
    if not rows:
        raise ValueError("no curve of checkpoints among the inputs")
    keys = ["config", "algorithm", "reward", "quantity", "step"]
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True)


def _rows(document: Mapping[str, Any], point: Mapping[str, Any]) -> list[dict[str, Any]]:
    head = {name: document[name] for name in ("config", "algorithm", "reward")} | {"step": point["step"]}
    tail = {"source": f"measured@{document['scale']}", "seed": document["seed"]}
    rows = []
    for name in (*PANELS, *FURTHER):
        since = point.get("since_start", {}).get(name, {})
        change = {f"since_start{end}": since.get(key) for end, key in ENDS.items()}
        rows.append({**head, "quantity": name, **point[name], **change, **tail})
    kl = [] if point["kl"] is None else [{**head, "quantity": "kl", "value": point["kl"], **tail}]
    return rows + kl


def draw_curves(plt: Any, table: "pd.DataFrame") -> "Figure":
    """One row of panels a configuration; colour by reward, dashes and marker by algorithm, intervals drawn."""
    configs = sorted(set(table["config"]))
    size = (2.2 + 2.1 * len(PANELS), 0.5 + 2.0 * len(configs))
    figure, axes = plt.subplots(len(configs), len(PANELS), figsize=size, squeeze=False)
    for row, config in zip(axes, configs, strict=True):
        own = table[table["config"] == config]
        for axis, (name, title) in zip(row, PANELS.items(), strict=True):
            _draw_panel(axis, own[own["quantity"] == name], table)
            axis.set(title=title, xlabel="optimiser step")
        sizes = own[own["quantity"] == "safety"][["n", "n_prompts"]].drop_duplicates().astype(int).to_numpy().tolist()
        row[0].set_ylabel("\n".join([config, *(f"n={n}, {prompts} prompts" for n, prompts in sizes)]))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _draw_panel(axis: Any, panel: "pd.DataFrame", table: "pd.DataFrame") -> None:
    """One line a reward and algorithm of the whole table, shifted so that intervals do not cover each other."""
    rewards, algorithms = ordered(list(table["reward"])), sorted(set(table["algorithm"]))
    lines, looks = [(reward, algorithm) for reward in rewards for algorithm in algorithms], look(rewards)
    width = 0.2 * max(table["step"]) / table["step"].nunique()
    for i, (reward, algorithm) in enumerate(lines):
        rows = panel[(panel["reward"] == reward) & (panel["algorithm"] == algorithm)]
        place = algorithms.index(algorithm)
        style = {**looks[reward], "linestyle": DASHES[place % len(DASHES)], "marker": MARKERS[place % len(MARKERS)]}
        x = rows["step"] + dodge(i, len(lines), width)
        label = f"{reward} ({algorithm})"
        axis.errorbar(x, rows["value"], yerr=error_bars(rows), label=label, elinewidth=0.6, capsize=1.5, **style)
