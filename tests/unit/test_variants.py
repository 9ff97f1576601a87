"""Variants: one table of overrides, checked against the training settings; nothing but its own training changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from csrm.data.tables import load_models
from csrm.settings import AugmentSettings, TrainSettings, load, write_slice
from csrm.variants import (
    draw_of,
    draw_slice,
    load_variants,
    variant_draws,
    variant_settings,
    variant_slice,
    write_variant_slices,
)

CONFIG = Path(__file__).parents[2] / "config"
TABLE = load_variants(CONFIG)


def resolve(changes: dict[str, Any], base: TrainSettings | None = None) -> TrainSettings:
    base = (base or TrainSettings()).model_copy(update={"variants": ["v"]})
    return variant_settings({"v": changes}, base)["v"]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_entry_of_the_table_is_valid(name: str) -> None:
    settings = resolve(TABLE[name])
    assert settings.backbone in load_models(CONFIG)
    base = load(CONFIG)
    draws = variant_draws(TABLE, base.train.model_copy(update={"variants": [name]}), base.augment)
    for key, value in TABLE[name].items():
        holder, changes = (draws[name], value) if key == "augment" else (settings, {key: value})
        for setting, wanted in changes.items():
            assert merged(getattr(holder, setting)).items() >= merged(wanted).items()


def merged(value: Any) -> dict[str, Any]:
    """A setting as a mapping, sections as their keys."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    return value if isinstance(value, dict) else {"value": value}


def test_the_variants_of_table_2() -> None:
    settings = variant_settings(TABLE, load(CONFIG).train)
    flags = {name: (s.cca, s.sa) for name, s in settings.items()}
    assert flags == {"csrm": (True, True), "csrm-no-cca": (False, True), "csrm-no-sa": (False, False)}
    assert next(iter(settings)) == "csrm"
    differing = {key for s in settings.values() for key in changed(s, settings["csrm"])}
    assert differing == {"cca", "sa", "variants"}


def changed(one: TrainSettings, other: TrainSettings) -> set[str]:
    left, right = one.model_dump(), other.model_dump()
    return {key for key in left if left[key] != right[key]}


def test_the_ready_ablations_are_there() -> None:
    values = {name: resolve(changes) for name, changes in TABLE.items()}
    assert {0.0, 0.5, 1.0} <= {v.margin for v in values.values()}
    assert {0.1, 1.0} <= {v.gamma for v in values.values()}
    assert len({v.section_order for v in values.values()}) == 3
    assert len({tuple(v.verbalizer.safe) for v in values.values()}) >= 2
    assert len({v.backbone for v in values.values()}) >= 2


def test_mappings_merge_and_the_scale_shows_through() -> None:
    base = load(CONFIG, {"scale": "paper"}).train
    settings = resolve({"shares": {"cca": 9.0}}, base)
    assert settings.shares == {**base.shares, "cca": 9.0}
    assert settings.max_length == base.max_length == 8192


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margn": 1}, r"variant 'v'(.|\n)*margn"),
        ({"margin": -1}, r"variant 'v'(.|\n)*greater than or equal to 0"),
        ({"verbalizer": {"yes": ["yes"]}}, r"verbalizer\.yes"),
        ({"verbalizer": {"safe": []}}, r"verbalizer\.safe"),
        ({"device_groups": 5}, "must be a multiple"),
        ({"variants": ["other"]}, "remove it"),
        (
            {"bank_size": 10, "contrasts": 1, "steps": 3},
            r"'v': \['bank_size', 'contrasts'\] belong to section `augment`: write them under `augment`",
        ),
    ],
)
def test_wrong_overrides_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(changes)


def test_unknown_variant_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"\['csrm-big'\] are not in config/variants.yaml; choose among \['csrm'"):
        variant_settings(TABLE, TrainSettings(variants=["csrm-big"]))


def test_a_variant_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "variants.yaml").write_text("csrm: 3\n")
    with pytest.raises(ValueError, match=r"\['csrm'\] are not mappings"):
        load_variants(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("csrm: {}\nslow:\n  steps: 1\nslow: {}\n", r"variants.yaml: key 'slow' is given twice, in lines 2 and 4"),
        ("csrm: {}\nslow: {steps: 1, steps: 2}\n", r"variants.yaml: key 'steps' is given twice, in lines 2 and 2"),
        ("csrm+seed-1: {}\n", r"\['csrm\+seed-1'\] cannot be names of variants(.*)`\+seed-N` is added"),
        ("a/b: {}\ntrain: {}\nzero-shot: {}\n", r"\['a/b', 'train', 'zero-shot'\] cannot be names"),
        ("[csrm]\n", "expected a mapping of names to settings"),
        ("", "expected a mapping of names to settings"),
        ("csrm: {\n", r"variants.yaml: while parsing"),
    ],
)
def test_a_wrong_table_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "variants.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_variants(tmp_path)


def test_adding_a_variant_leaves_the_slices_of_others_alone(tmp_path: Path) -> None:
    write_variant_slices(tmp_path, variant_settings(TABLE, TrainSettings(variants=["csrm"])), {})
    path = Path(variant_slice(tmp_path, "csrm"))
    before = path.stat().st_mtime_ns
    both = variant_settings(TABLE, TrainSettings(variants=["csrm-margin-1", "csrm"]))
    write_variant_slices(tmp_path, both, {})
    assert path.stat().st_mtime_ns == before
    written = yaml.safe_load(Path(variant_slice(tmp_path, "csrm-margin-1")).read_text())
    assert TrainSettings(**{**written, "variants": ["csrm-margin-1"]}) == both["csrm-margin-1"]


def test_every_variant_is_trained_with_every_further_seed() -> None:
    base = TrainSettings(variants=["csrm", "csrm-no-cca"], seeds=[1, 7])
    found = variant_settings(TABLE, base)
    names = ["csrm", "csrm-no-cca", "csrm+seed-1", "csrm-no-cca+seed-1", "csrm+seed-7", "csrm-no-cca+seed-7"]
    assert list(found) == names
    assert [s.seed for s in found.values()] == [None, None, 1, 1, 7, 7]
    assert [s.cca for s in found.values()] == [True, False] * 3


def test_naming_another_model_changes_no_slice(tmp_path: Path) -> None:
    few, many = TrainSettings(variants=["csrm"]), TrainSettings(variants=["csrm", "csrm-margin-1"], seeds=[1])
    write_slice(tmp_path / "few.yaml", few)
    write_slice(tmp_path / "many.yaml", many)
    assert (tmp_path / "few.yaml").read_text() == (tmp_path / "many.yaml").read_text()


def test_a_variant_may_have_a_draw_of_its_own(tmp_path: Path) -> None:
    base = TrainSettings(variants=["csrm", "csrm-bank-10", "csrm-no-cca"], seeds=[1])
    draws = variant_draws(TABLE, base, AugmentSettings(contrasts=3))
    assert list(draws) == ["train", "csrm-bank-10"]
    assert draws["csrm-bank-10"] == AugmentSettings(contrasts=3, bank_size=10)
    found = variant_settings(TABLE, base)
    assert found["csrm-bank-10"].model_dump() == {**found["csrm"].model_dump(), "variants": ["csrm-bank-10"]}
    assert {name: draw_of(name, base, draws) for name in found} == {
        name: "csrm-bank-10" if "bank" in name else "train" for name in found
    }
    write_variant_slices(tmp_path, found, draws)
    assert yaml.safe_load(Path(draw_slice(tmp_path, "csrm-bank-10")).read_text())["bank_size"] == 10
    assert draw_slice(tmp_path, "train") == f"{tmp_path}/config/augment.yaml"


def test_wrong_augmentation_overrides_are_named() -> None:
    base = TrainSettings(variants=["v"])
    for wrong, message in (
        ({"bank_sise": 3}, "(.|\n)*bank_sise"),
        ({"gamma": 3}, r": \['gamma'\] belong to section `train`: write them beside `augment`"),
        (10, ": `augment` takes a mapping of settings, got 10"),
    ):
        with pytest.raises(ValueError, match=f"variant 'v'{message}"):
            variant_draws({"v": {"augment": wrong}}, base, AugmentSettings())
