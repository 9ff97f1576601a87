"""Variants of the reward model: one table of overrides of the training settings, `config/variants.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from csrm.settings import TrainSettings, merge, write_slice


def load_variants(config_dir: str | Path) -> dict[str, dict[str, Any]]:
    """The table of variants: name -> overrides of the `train` settings.

    Raises:
        ValueError: if the file is no mapping of mappings.
    """
    path = Path(config_dir) / "variants.yaml"
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    bad = [name for name, changes in table.items() if not isinstance(changes, dict)]
    if bad:
        raise ValueError(f"{path}: variants {bad} are not mappings of settings; write {{}} for no change")
    return {str(name): changes for name, changes in table.items()}


def variant_settings(table: Mapping[str, dict[str, Any]], base: TrainSettings) -> dict[str, TrainSettings]:
    """The training settings of each model that `base` names: its variants in order, then each with every further seed.

    A model's settings hold nothing about the others, so adding one leaves the others' slices alone.

    Raises:
        ValueError: for a variant that is not in the table, or an override with an unknown key or value.
    """
    unknown = sorted(set(base.variants) - set(table))
    if unknown:
        raise ValueError(f"train.variants {unknown} are not in config/variants.yaml; choose among {sorted(table)}")
    return {name: _resolve(name, table[variant], base, seed) for name, (variant, seed) in base.names().items()}


def variant_slice(outdir: str | Path, variant: str) -> str:
    """Where the training settings of a variant lie."""
    return f"{outdir}/config/train/{variant}.yaml"


def write_variant_slices(outdir: str | Path, variants: Mapping[str, TrainSettings]) -> None:
    """Write each variant's settings, untouched where nothing changed."""
    for name, settings in variants.items():
        write_slice(Path(variant_slice(outdir, name)), settings)


def _resolve(name: str, changes: dict[str, Any], base: TrainSettings, seed: int | None) -> TrainSettings:
    if chosen := sorted(TrainSettings.selection & set(changes)):
        raise ValueError(f"variant {name!r} overrides {chosen}: a variant changes its own training only; remove it")
    further = {} if seed is None else {"seed": seed}
    merged = merge(base.model_dump(mode="json"), {**changes, **further, "variants": [name], "seeds": []})
    try:
        return TrainSettings.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"config/variants.yaml, variant {name!r}: {error}") from None
