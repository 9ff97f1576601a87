"""What `csrm score` does with a model's calibration.json: where it lies, and calibrated probabilities and labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from csrm.files import read_json
from csrm.overrides import as_option

NAME = "calibration.json"
METHODS = ("temperature", "platt", "isotonic")


class Calibration(NamedTuple):
    """How scores are calibrated: p_safe by `method`; labels at `threshold` (log-odds), or at p_safe .5 where None."""

    path: Path
    document: Mapping[str, Any]
    method: str
    threshold: float | None

    def __str__(self) -> str:
        at = "p_safe .5" if self.threshold is None else f"log-odds {self.threshold:+.3f}"
        return f"{self.path} calibrates p_safe ({self.method}); safe above {at}"


def places(model: Path) -> list[Path]:
    """Where a model's calibration is looked for: in its folder, then where the run that trained it writes it.

    The run keeps `OUT/models/csrm/<model>` as training left it, since results are hashed with it, and writes
    `OUT/calibration/<model>/calibration.json`; a copy inside the folder travels with the model.
    """
    found = [model / NAME]
    folder = model.absolute()
    if folder.parts[-3:-1] == ("models", "csrm"):
        run = folder.parents[2]
        shown = run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run
        found.append(shown / "calibration" / folder.name / NAME)
    return found


def open_calibration(
    model: str | Path, path: Path | None, method: str | None, target_fpr: float | None
) -> Calibration | None:
    """The calibration that was asked for by file, method or target false positive rate; None where by none of them.

    Raises:
        FileNotFoundError: if one is needed and lies nowhere.
        ValueError: if the file is none, another model's, or has no such threshold.
    """
    from csrm.bench.calibration import read_calibration, threshold_of

    if path is None and method is None and target_fpr is None:
        return None
    path = path or _find(Path(model))
    document = read_calibration(path)
    card = Path(model) / "csrm.json"
    variant = read_json(card)["variant"] if card.exists() else None
    if document["model"] != variant:
        found = f"{path} calibrates {document['model']!r}, and {model} holds {variant!r}"
        raise ValueError(f"{found}: give that model's calibration.json")
    threshold = None if target_fpr is None else threshold_of(document, target_fpr)
    return Calibration(path, document, method or "platt", threshold)


def _find(model: Path) -> Path:
    tried = places(model)
    for path in tried:
        if path.is_file():
            return path
    looked = " nor ".join(str(path) for path in tried)
    fix = f"make it with `{_command(model, tried[-1])}`" if len(tried) > 1 else "put the model's file there"
    raise FileNotFoundError(f"there is no {looked}: {fix}, or give --calibration FILE")


def _command(model: Path, target: Path) -> str:
    """The command that makes `target` with the overrides of the run that trained the model."""
    manifest = model / "manifest.json"
    overrides = (read_json(manifest).get("overrides") if manifest.is_file() else None) or {}
    return f"snakemake --cores all {target}{as_option(overrides)}"


def calibrate_rows(rows: Sequence[Mapping[str, Any]], calibration: Calibration) -> list[dict[str, Any]]:
    """Rows of `csrm score` with calibrated `p_safe` and `label`; `log_odds` stays raw."""
    import numpy as np

    from csrm.bench.calibration import calibrated
    from csrm.bench.metrics import p_safe

    raw = np.array([row["log_odds"] for row in rows])
    moved = p_safe(calibrated(raw, calibration.document, calibration.method))
    safe = moved > 0.5 if calibration.threshold is None else raw > calibration.threshold
    return [
        {**row, "p_safe": float(p), "label": "safe" if ok else "unsafe"}
        for row, p, ok in zip(rows, moved, safe, strict=True)
    ]
