"""Figure 5: reliability diagrams with smECE, from raw scores; the paper's is on CoSApien."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from csrm.bench.evaluate import sample_of
from csrm.bench.metrics import Array, Estimate, Sample, estimate, interval, p_safe, prompt_weights, undefined
from csrm.bench.relplot_parts import relplot_part
from csrm.report.counterparts import MODELS
from csrm.report.published import lookup
from csrm.report.style import look, ordered
from csrm.rows import Item, ScoreRow
from csrm.settings import MetricSettings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MESH = 101
BAND_RESAMPLES = 200
COLUMNS = 4  # panels side by side
PRINTED_ON = "cosapien"
"""Benchmark whose counterpart the paper draws."""


def curve(sample: Sample, width: float, weights: Array, mesh: Array) -> tuple[Array, Array]:
    """Kernel-smoothed share of safe items at each P(safe) of the mesh, and the density of P(safe): two (B, M)."""
    kernel = relplot_part("kernels").ReflectedGaussianKernel(width)
    p, y = p_safe(sample.s), sample.y.astype(float)
    means, densities = [], []
    for row in weights:
        w = row[sample.prompt]
        mass = kernel.apply(p, w, mesh)
        means.append(np.divide(kernel.apply(p, w * y, mesh), mass, out=np.full(len(mesh), np.nan), where=mass > 1e-3))
        densities.append(mass / w.sum())
    return np.array(means), np.array(densities)


def reliability_table(
    items: Sequence[Item], scores: Mapping[str, Sequence[ScoreRow]], settings: MetricSettings, seed: int
) -> "pd.DataFrame":
    """Reliability curves of graded scorers, one row a (model, P(safe)); others are named on standard error, with why.

    A curve goes from the model's smallest P(safe) to its largest.
    The kernel width is the one at which smECE is taken; the band resamples prompts at that width.

    Raises:
        ValueError: if no model has graded scores over both classes.
    """
    import pandas as pd

    frames = []
    for model, rows in scores.items():
        sample = sample_of(items, rows, settings)
        if reason := undefined(sample, "smece"):
            print(f"figure5 leaves out {model}: {reason}", file=sys.stderr)
            continue
        weights = prompt_weights(sample.n_prompts, settings.bootstrap, np.random.default_rng(seed))
        error = estimate(sample, "smece", weights, settings.level)
        frames.append(_model_frame(model, sample, weights, error, settings.level))
    if not frames:
        raise ValueError("no model has graded scores over both classes: nothing to draw")
    return pd.concat(frames, ignore_index=True)


def _model_frame(model: str, sample: Sample, weights: Array, error: Estimate, level: float) -> "pd.DataFrame":
    import pandas as pd

    p = p_safe(sample.s)
    mesh = np.linspace(p.min(), p.max(), MESH)
    _, width = relplot_part("metrics").smECE(p, sample.y.astype(float), return_width=True)
    mean, density = curve(sample, width, np.ones((1, sample.n_prompts)), mesh)
    replicates, _ = curve(sample, width, weights[:BAND_RESAMPLES], mesh)
    bands = [interval(replicates[:, i], level)[:2] for i in range(MESH)]
    return pd.DataFrame(
        {
            "model": model,
            "p_safe": mesh,
            "observed": mean[0],
            "low": [low for low, _ in bands],
            "high": [high for _, high in bands],
            "density": density[0],
            "smece": error.value,
            "smece_low": error.low,
            "smece_high": error.high,
            "n": error.n,
        }
    )


def printed_smece(model: str, benchmark: str) -> str:
    """The paper's smECE of the model's counterpart on CoSApien (Figure 5), and what differs; or nothing."""
    row = MODELS.get(model, "")
    value = lookup("Fig. 5", row, "CoSApien", "smECE")
    half = lookup("Fig. 5", row, "CoSApien", "smECE 95% CI half-width")
    differs = "other responses and labels" if benchmark == PRINTED_ON else "other data"
    return f"paper, {row} on CoSApien:\n{value.text} ± {half.text} ({differs})" if value and half else ""


def draw_reliability(plt: Any, table: "pd.DataFrame") -> "Figure":
    """One panel a model, at most `COLUMNS` side by side: curve with band, diagonal, density below, smECE."""
    models = ordered(list(table["model"]))
    looks, benchmark = look(models), table["benchmark"].iloc[0]
    columns = min(COLUMNS, len(models))
    lines = -(-len(models) // columns)
    size = (0.6 + 2.1 * columns, 2.9 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, model in zip(axes.flat, models, strict=False):
        _panel(axis, table[table["model"] == model], looks[model])
        axis.set_xlabel("P(safe)\n" + printed_smece(model, benchmark), fontsize=6)
        axis.tick_params(labelbottom=True)
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel(f"share safe, {benchmark}")
    return figure


def _panel(axis: Any, rows: "pd.DataFrame", style: Mapping[str, Any]) -> None:
    import pandas as pd

    first, colour = rows.iloc[0], style["color"]
    axis.plot([0, 1], [0, 1], color="0.3", linestyle="--", linewidth=0.8)
    axis.fill_between(rows["p_safe"], rows["low"].astype(float), rows["high"].astype(float), color=colour, alpha=0.2)
    axis.plot(rows["p_safe"], rows["observed"], color=colour, linestyle=style["linestyle"])
    axis.fill_between(rows["p_safe"], 0, 0.15 * rows["density"] / rows["density"].max(), color="0.6", alpha=0.5)
    text = f"smECE {first['smece']:.3f}"
    if pd.notna(first["smece_low"]):
        text += f" [{first['smece_low']:.3f}, {first['smece_high']:.3f}]"
    axis.set_title(f"{first['model']} (n = {first['n']})\n{text}", fontsize=7)
    axis.set(xlim=(0, 1), ylim=(0, 1))
