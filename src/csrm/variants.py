"""Variants of the reward model: one table of overrides of the training settings, `config/variants.yaml`.

Under `augment` a variant may override augmentation settings; it then trains on groups of its own draw.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from csrm.settings import SEED_MARK, AugmentSettings, Section, TrainSettings, explain, merge, write_slice
from csrm.yaml_reader import read_yaml

TRAIN = "train"
AUGMENT = "augment"
RESERVED = (TRAIN, "zero-shot")
NAME = re.compile(r"\w[\w.-]*")
Settings = TypeVar("Settings", bound=Section)


def load_variants(config_dir: str | Path) -> dict[str, dict[str, Any]]:
    """The table of variants: name -> overrides of the `train` settings, and of the `augment` settings under `augment`.

    Raises:
        ValueError: if the file is no mapping of mappings, or for a name that is given twice or cannot be one.
    """
    path = Path(config_dir) / "variants.yaml"
    table = read_yaml(path)
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected a mapping of names to settings, got {table!r}")
    if bad := [name for name, changes in table.items() if not isinstance(changes, dict)]:
        raise ValueError(f"{path}: variants {bad} are not mappings of settings; write {{}} for no change")
    if wrong := [name for name in map(str, table) if name in RESERVED or not NAME.fullmatch(name)]:
        raise ValueError(
            f"{path}: {wrong} cannot be names of variants: use letters, digits, `.`, `_` and `-` (`{SEED_MARK}N` is "
            f"added for a further seed), and none of {list(RESERVED)}"
        )
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


def variant_draws(
    table: Mapping[str, dict[str, Any]], base: TrainSettings, augment: AugmentSettings
) -> dict[str, AugmentSettings]:
    """The draws of training groups: `train` with the run's settings, and one for each variant that overrides some.

    Raises:
        ValueError: for an override with an unknown key or value.
    """
    own = {name: changes for name in base.variants if (changes := table[name].get(AUGMENT))}
    return {TRAIN: augment, **{name: _override(name, augment, changes) for name, changes in own.items()}}


def margin_variants(table: Mapping[str, dict[str, Any]], base: TrainSettings) -> list[str]:
    """The run's variants that differ in backbone and margin alone (Table 6); none where no variant sets either."""
    own = [name for name in base.variants if table[name].keys() <= {"backbone", "margin"}]
    return own if any(table[name] for name in own) else []


def draw_of(model: str, base: TrainSettings, draws: Mapping[str, AugmentSettings]) -> str:
    """The draw that a trained model's groups come from, whatever its seed."""
    variant, _ = base.names()[model]
    return variant if variant in draws else TRAIN


def draw_slice(outdir: str | Path, draw: str) -> str:
    """Where the augmentation settings of a draw lie."""
    return f"{outdir}/config/augment.yaml" if draw == TRAIN else f"{outdir}/config/augment/{draw}.yaml"


def variant_slice(outdir: str | Path, variant: str) -> str:
    """Where the training settings of a variant lie."""
    return f"{outdir}/config/train/{variant}.yaml"


def write_variant_slices(
    outdir: str | Path, variants: Mapping[str, TrainSettings], draws: Mapping[str, AugmentSettings]
) -> None:
    """Write the settings of each trained model and of each draw, untouched where nothing changed."""
    for name, settings in variants.items():
        write_slice(Path(variant_slice(outdir, name)), settings)
    for draw, augment in draws.items():
        write_slice(Path(draw_slice(outdir, draw)), augment)


def _resolve(name: str, changes: dict[str, Any], base: TrainSettings, seed: int | None) -> TrainSettings:
    if chosen := sorted(TrainSettings.selection & set(changes)):
        raise ValueError(f"variant {name!r} overrides {chosen}: a variant changes its own training only; remove it")
    own = {key: value for key, value in changes.items() if key != AUGMENT}
    further = {} if seed is None else {"seed": seed}
    return _override(name, base, {**own, **further, "variants": [name], "seeds": []})


def _override(name: str, base: Settings, changes: dict[str, Any]) -> Settings:
    _check_level(name, type(base), changes)
    try:
        return type(base).model_validate(merge(base.model_dump(mode="json"), changes))
    except ValidationError as error:
        raise ValueError(f"config/variants.yaml, variant {name!r}: {explain(error, type(base))}") from None


def _check_level(name: str, own: type[Section], changes: Any) -> None:
    """Refuse settings of the other section, with the place where they belong."""
    place = f"config/variants.yaml, variant {name!r}"
    if not isinstance(changes, dict):
        raise ValueError(f"{place}: `{AUGMENT}` takes a mapping of settings, got {changes!r}")
    train = own is TrainSettings
    other, fix = (AugmentSettings, f"under `{AUGMENT}`") if train else (TrainSettings, f"beside `{AUGMENT}`, not in it")
    if wrong := sorted(changes.keys() & other.model_fields.keys() - own.model_fields.keys()):
        raise ValueError(f"{place}: {wrong} belong to section `{AUGMENT if train else TRAIN}`: write them {fix}")
