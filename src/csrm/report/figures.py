"""Figures from tidy tables: `<name>_table` makes the table, `draw_<name>` draws it; intervals are always drawn."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csrm.bench.evaluate import join
from csrm.bench.metrics import interval, prompt_weights
from csrm.bench.registry import Benchmark
from csrm.files import read_dicts, read_json
from csrm.report.style import look, ordered
from csrm.rows import Item, ScoreRow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

METRIC_NAMES = {"conditional_auroc": "conditional AUROC", "pair_accuracy": "pairwise accuracy"}
CURVES = {"loss": "total", "loss_cls": "$L_{cls}$", "loss_rm": "$L_{rm}$", "brier": "Brier score"}
SMOOTHING = 0.05


def configurability_table(
    documents: Sequence[Mapping[str, Any]], benchmarks: Mapping[str, Benchmark]
) -> "pd.DataFrame":
    """Conditional AUROC and pairwise accuracy on seen and unseen families, one row a (benchmarks, model, metric)."""
    import pandas as pd

    rows = []
    for document in documents:
        benchmark = benchmarks.get(document["benchmark"])
        if benchmark is None or benchmark.builder != "conditional" or benchmark.scope == "all":
            continue
        for metric in METRIC_NAMES:
            found = document["overall"]["metrics"][metric]
            if found["value"] is not None:
                family = benchmark.id.removesuffix(f"-{benchmark.scope}")
                head = {"benchmark": family, "scope": benchmark.scope, "model": document["model"], "metric": metric}
                kept = {key: found[key] for key in ("value", "low", "high", "n", "n_prompts")}
                rows.append({**head, **kept, "source": f"measured@{document['scale']}", "seed": document["seed"]})
    if not rows:
        raise ValueError("no metrics of a `conditional` benchmark with scope seen or unseen among the inputs")
    return pd.DataFrame(rows).sort_values(["metric", "benchmark", "scope", "model"], ignore_index=True)


def draw_configurability(plt: Any, table: "pd.DataFrame") -> "Figure":
    """Seen against unseen per model, chance dashed; ticks say how many items (or pairs) and prompts there are."""
    metrics = [metric for metric in METRIC_NAMES if metric in set(table["metric"])]
    families = sorted(set(table["benchmark"]))
    models = ordered(list(table["model"]))
    looks = look(models)
    size = (1.2 + 2.4 * len(families), 0.9 + 2.1 * len(metrics))
    figure, axes = plt.subplots(len(metrics), len(families), figsize=size, sharey="row", squeeze=False)
    for r, metric in enumerate(metrics):
        for c, family in enumerate(families):
            part = table[(table["metric"] == metric) & (table["benchmark"] == family)]
            _scope_panel(axes[r, c], part, models, looks)
            axes[r, c].set_title(family if r == 0 else "")
        axes[r, 0].set_ylabel(METRIC_NAMES[metric])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _scope_panel(axis: Any, part: "pd.DataFrame", models: Sequence[str], looks: Mapping[str, Any]) -> None:
    scopes = ["seen", "unseen"]
    for i, model in enumerate(models):
        rows = part[part["model"] == model].set_index("scope").reindex(scopes).dropna(subset=["value"])
        x = [scopes.index(scope) + dodge(i, len(models), 0.72) for scope in rows.index]
        axis.errorbar(x, rows["value"], yerr=error_bars(rows), label=model, capsize=2, **looks[model])
    axis.axhline(0.5, color="0.3", linestyle="--", linewidth=0.8)
    axis.set_xticks([0, 1], [f"{scope}\n{sizes(part[part['scope'] == scope])}" for scope in scopes])
    axis.set_xlim(-0.5, 1.5)


def dodge(index: int, count: int, width: float) -> float:
    """Shift of line `index` of `count`, so that intervals at one place do not cover each other; all fit in `width`."""
    return (index - (count - 1) / 2) * width / max(1, count)


def sizes(rows: "pd.DataFrame") -> str:
    """`n=84` and, on a line of its own, `38 prompts`; ranges where rows differ; empty without rows."""
    if rows.empty:
        return ""
    numbers = [sorted({int(value) for value in rows[name]}) for name in ("n", "n_prompts")]
    n, prompts = ("–".join(map(str, dict.fromkeys(values[:1] + values[-1:]))) for values in numbers)
    return f"n={n}\n{prompts} prompts"


def error_bars(rows: "pd.DataFrame") -> Any:
    """(2, n) distances from the value to the ends of its interval; 0 where there is none."""
    low = (rows["value"] - rows["low"].astype(float)).clip(lower=0).fillna(0)
    high = (rows["high"].astype(float) - rows["value"]).clip(lower=0).fillna(0)
    return np.array([low, high], dtype=float)


def training_table(logs: Sequence[Path]) -> "pd.DataFrame":
    """Losses and calibration by step, long form; variant and seed of a log are those of the model folder it is in."""
    import pandas as pd

    seeds = {path: read_json(path.parent / "manifest.json")["seed"] for path in logs}
    rows = [
        {"variant": path.parent.name, "step": int(line["step"]), "curve": curve, "value": float(line[curve])}
        | {"seed": seeds[path]}
        for path in logs
        for line in read_dicts(path)
        for curve in CURVES
        if line.get(curve) is not None
    ]
    if not rows:
        raise ValueError(f"no lines with {sorted(CURVES)} in {[str(path) for path in logs]}")
    return pd.DataFrame(rows).sort_values(["curve", "variant", "step"], ignore_index=True)


def draw_training(plt: Any, table: "pd.DataFrame") -> "Figure":
    """One panel a curve: raw values thin, their running mean (5 % of the steps) thick."""
    curves = [curve for curve in CURVES if curve in set(table["curve"])]
    variants = ordered(list(table["variant"]))
    looks = look(variants)
    figure, axes = plt.subplots(1, len(curves), figsize=(1.2 + 2.3 * len(curves), 2.4), squeeze=False)
    for axis, curve in zip(axes[0], curves, strict=True):
        for variant in variants:
            rows = table[(table["curve"] == curve) & (table["variant"] == variant)]
            if rows["value"].abs().sum() == 0:
                continue
            colour, dashes = looks[variant]["color"], looks[variant]["linestyle"]
            smooth = rows["value"].rolling(max(1, round(SMOOTHING * len(rows))), min_periods=1).mean()
            axis.plot(rows["step"], rows["value"], color=colour, alpha=0.3, linewidth=0.7)
            axis.plot(rows["step"], smooth, color=colour, linestyle=dashes, label=variant)
        absent = [variant for variant in variants if variant not in axis.get_legend_handles_labels()[1]]
        note = f"\n(not in {', '.join(absent)})" if absent else ""
        axis.set(title=CURVES[curve] + note, xlabel="optimiser step")
    axes[0, 0].set_ylabel("loss, nats")
    axes[0, 0].legend()
    return figure


def threshold_points(
    items: Mapping[str, Sequence[Item]], scores: Sequence[tuple[str, str, Sequence[ScoreRow]]]
) -> list[tuple[str, float, str, float]]:
    """(model, threshold, prompt id, log-odds) of the items that carry a severity threshold in their `meta`.

    Args:
        items: benchmark -> items.
        scores: (model, benchmark, scores).
    """
    return [
        (model, float(item.meta["threshold"]), item.prompt_id, row.log_odds)
        for model, benchmark, rows in scores
        for item, row in zip(items[benchmark], join(items[benchmark], rows), strict=True)
        if item.meta.get("threshold") is not None
    ]


def strictness_table(
    points: Sequence[tuple[str, float, str, float]], resamples: int, level: float, seed: int
) -> "pd.DataFrame":
    """Mean reward at each severity threshold, with prompt-clustered intervals.

    Args:
        points: (model, threshold, prompt id, log-odds) of each scored item.
        resamples: bootstrap resamples.
        level: level of the intervals.
        seed: seed of the resampling.
    """
    import pandas as pd

    data = pd.DataFrame(points, columns=["model", "threshold", "prompt", "log_odds"])
    if data.empty:
        raise ValueError("no item carries a severity threshold (meta.threshold)")
    rows = []
    for (model, threshold), part in data.groupby(["model", "threshold"], sort=True):
        by_prompt = part.groupby("prompt", sort=True)["log_odds"].agg(["sum", "size"]).to_numpy(dtype=float)
        weights = prompt_weights(len(by_prompt), resamples, np.random.default_rng(seed))
        low, high, _ = interval((weights @ by_prompt[:, 0]) / (weights @ by_prompt[:, 1]), level)
        value = float(part["log_odds"].mean())
        row = {"model": model, "threshold": threshold, "value": value, "low": low, "high": high}
        rows.append({**row, "n": len(part), "n_prompts": len(by_prompt)})
    return pd.DataFrame(rows)


def draw_strictness(plt: Any, table: "pd.DataFrame") -> "Figure":
    """Mean reward against the severity from which the configuration forbids; it should rise.

    Each threshold has its own items: the ticks say how many.
    """
    models = ordered(list(table["model"]))
    looks = look(models)
    figure, axis = plt.subplots(figsize=(4.2, 2.6))
    places = sorted(set(table["threshold"]))
    width = 0.4 * min((b - a for a, b in pairwise(places)), default=1.0)
    for i, model in enumerate(models):
        rows = table[table["model"] == model]
        x = rows["threshold"] + dodge(i, len(models), width)
        axis.errorbar(x, rows["value"], yerr=error_bars(rows), label=model, capsize=2, **looks[model])
    axis.axhline(0, color="0.3", linestyle="--", linewidth=0.8)
    axis.set(xlabel="lowest forbidden severity (lenient to the right)", ylabel="mean safe log-odds, nats")
    labels = [f"{t:g}\n{sizes(table[table['threshold'] == t])}" for t in places]
    axis.set_xticks(places, labels)
    figure.legend(loc="outside right upper")
    return figure
