"""Figure 3: recall of unsafe conversations as a category's guideline covers more of the category.

Left: the classifier l of Algorithm 1 on the pools D_p, one line a category, from `sa_statistics.json`. Right: scored
models in the place of l, on test items that ask for the same severity thresholds, beside the human severities.
Recall of a set that the standard guideline calls unsafe should rise with the share covered; where it falls, a rewrite
did not do what it was asked for, which is why strictness is tested (section 3.2).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrm.bench.evaluate import join
from csrm.bench.metrics import interval, prompt_weights
from csrm.report.figures import dodge, error_bars
from csrm.report.style import DASHES, MARKERS, look, ordered
from csrm.rows import Item, ScoreRow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ALGORITHM = "Algorithm 1"
HUMAN = "human severity"
DRAWN = 6  # categories that the figure shows, those with the largest pools
SHIFT = 0.09
SHIFTED = "markers shifted to the left for legibility"
COLUMNS = ("classifier", "category", "covered", "value", "low", "high", "n")


class Asked(NamedTuple):
    """A conversation asked for a category at a severity threshold, and whether it was called unsafe."""

    prompt: str
    conversation: tuple[str, str, str]
    severity: float
    threshold: float
    unsafe: bool


def algorithm_rows(statistics: Mapping[str, Any], level: float) -> list[tuple[Any, ...]]:
    """Recall of each rewrite d_k on D_p by category, with exact binomial intervals; fields are `COLUMNS`."""
    from scipy.stats import binomtest

    rows = []
    for category, entry in statistics["categories"].items():
        for rewrite in entry.get("rewrites", []) if entry.get("pool") else []:
            found = binomtest(rewrite["flagged"], entry["pool"])
            low, high = found.proportion_ci(level, method="exact")
            value = float(found.statistic)
            rows.append((ALGORITHM, category, rewrite["covered"], value, float(low), float(high), entry["pool"]))
    return rows


def asked(
    items: Mapping[str, Sequence[Item]], scores: Sequence[tuple[str, str, Sequence[ScoreRow]]], decision: float
) -> dict[str, list[Asked]]:
    """Model -> its answers to items that carry `threshold`, `severity` and `category` in their `meta`.

    Args:
        items: benchmark -> items.
        scores: (model, benchmark, scores).
        decision: log-odds above which a response counts as safe.
    """
    answers: dict[str, list[Asked]] = defaultdict(list)
    for model, benchmark, rows in scores:
        for item, row in zip(items[benchmark], join(items[benchmark], rows), strict=True):
            if item.meta.get("threshold") is None or item.meta.get("severity") is None:
                continue
            key = (item.prompt_id, item.messages[-1].content, str(item.meta["category"]))
            severity, threshold = float(item.meta["severity"]), float(item.meta["threshold"])
            answers[model].append(Asked(item.prompt_id, key, severity, threshold, row.log_odds <= decision))
    return dict(answers)


def model_rows(
    answers: Mapping[str, Sequence[Asked]], standard: float, resamples: int, level: float, seed: int
) -> list[tuple[Any, ...]]:
    """Recall by share of the severity levels asked for, over conversations that the standard guideline calls unsafe.

    Only conversations that were asked at every threshold count, so that all points have one population; intervals
    resample prompts, and one prompt gives none. The line `HUMAN` says which share the labels call unsafe.

    Args:
        answers: model -> its answers; all models were asked the same.
        standard: severity from which the standard guideline calls a response unsafe.
        resamples: bootstrap resamples.
        level: level of the intervals.
        seed: seed of the resampling.
    """
    rows = []
    for model, found in {**answers, HUMAN: _human(answers)}.items():
        pool = _pool(found, standard)
        thresholds = sorted({a.threshold for a in pool}, reverse=True)
        for k, threshold in enumerate(thresholds, 1):
            part = [a for a in pool if a.threshold == threshold]
            value, low, high = _share(part, resamples, level, seed)
            size = len({a.conversation for a in part})
            rows.append((model, "all", k / len(thresholds), value, low, high, size))
    return rows


def recall_table(rows: Sequence[tuple[Any, ...]]) -> "pd.DataFrame":
    """The drawn rows as a table.

    Raises:
        ValueError: if there are none.
    """
    import pandas as pd

    if not rows:
        raise ValueError("no category has a pool with rewrites, and no item a severity threshold: nothing to draw")
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


def draw_recall(plt: Any, table: "pd.DataFrame") -> "Figure":
    """One panel for Algorithm 1, one for models; those that have rows."""
    own = table["classifier"] == ALGORITHM
    panels = [(part, by) for part, by in ((table[own], "category"), (table[~own], "classifier")) if len(part)]
    figure, axes = plt.subplots(1, len(panels), figsize=(1.0 + 3.4 * len(panels), 3.4), sharey=True, squeeze=False)
    for axis, (part, by) in zip(axes[0], panels, strict=True):
        looks = _category_looks(part) if by == "category" else _model_looks(part)
        last = dodge(len(looks) - 1, len(looks), SHIFT)
        for i, (name, style) in enumerate(looks.items()):
            rows = part[part[by] == name].sort_values("covered")
            x, label = rows["covered"] + dodge(i, len(looks), SHIFT) - last, f"{name} (n={rows['n'].max()})"
            axis.errorbar(x, rows["value"], yerr=error_bars(rows), label=label, capsize=2, **style)
        axis.set(xlabel=f"share of severity levels forbidden\n({SHIFTED})", ylim=(-0.05, 1.05), xlim=(0, 1.02))
        axis.set_title("classifier of Algorithm 1, $D_p$" if by == "category" else "models, test conversations")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2, fontsize="small")
    axes[0, 0].set_ylabel("recall of unsafe")
    return figure


def _category_looks(part: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    import seaborn as sns

    sizes = part.groupby("category")["n"].max().sort_index().sort_values(ascending=False, kind="stable")
    colours = sns.color_palette("colorblind", DRAWN)
    return {
        name: {"color": colours[i], "linestyle": DASHES[i % len(DASHES)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(sizes.index[:DRAWN])
    }


def _model_looks(part: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    models = ordered([name for name in part["classifier"] if name != HUMAN])
    looks = look(models)
    return {**{model: looks[model] for model in models}, HUMAN: {"color": "0.3", "linestyle": "--"}}


def _human(answers: Mapping[str, Sequence[Asked]]) -> list[Asked]:
    first = next(iter(answers.values()), [])
    return [a._replace(unsafe=a.severity >= a.threshold) for a in first]


def _pool(answers: Sequence[Asked], standard: float) -> list[Asked]:
    unsafe = [a for a in answers if a.severity >= standard]
    every = {a.threshold for a in unsafe}
    at: dict[tuple[str, str, str], set[float]] = defaultdict(set)
    for answer in unsafe:
        at[answer.conversation].add(answer.threshold)
    return [a for a in unsafe if at[a.conversation] == every]


def _share(part: Sequence[Asked], resamples: int, level: float, seed: int) -> tuple[float, float | None, float | None]:
    by_prompt: dict[str, list[bool]] = defaultdict(list)
    for answer in part:
        by_prompt[answer.prompt].append(answer.unsafe)
    sums = np.array([[sum(by_prompt[p]), len(by_prompt[p])] for p in sorted(by_prompt)], dtype=float)
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) < 2:
        return value, None, None
    weights = prompt_weights(len(sums), resamples, np.random.default_rng(seed))
    low, high, _ = interval((weights @ sums[:, 0]) / (weights @ sums[:, 1]), level, len(sums))
    return value, low, high
