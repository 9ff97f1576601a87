"""Settings: overlays, errors, and the files generated from the models."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from csrm import settings_docs
from csrm.cli import main
from csrm.settings import (
    STAGES,
    AugmentSettings,
    DataSettings,
    MetricSettings,
    ScoreSettings,
    Settings,
    load,
    merge,
    read_slice,
    write_slice,
)
from csrm.settings.differences import differences

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
SCALES = ("smoke", "demo", "small", "paper")


@pytest.mark.parametrize("scale", SCALES)
def test_all_scales_load(scale: str) -> None:
    settings = load(CONFIG, {"scale": scale})
    assert settings.scale == scale
    assert settings.outdir == ("results" if scale == "demo" else f"results/{scale}")


def test_the_demo_is_the_default() -> None:
    own = Settings.model_validate({"data": {"exclude": ScoreSettings().benchmarks}})
    assert load(CONFIG) == own == load(CONFIG, {"scale": "demo"})


def test_naming_benchmarks_does_not_change_what_is_left_out_of_training() -> None:
    listed = load(CONFIG, {"scale": "small"}).score.benchmarks
    assert "xstest" in listed and "pyrit-threshold" not in listed
    named = load(CONFIG, {"scale": "small", "score": {"benchmarks": ["or-bench-full"]}})
    assert (named.score.benchmarks, named.data.exclude) == (["or-bench-full"], listed)
    assert load(CONFIG, {"scale": "small", "data": {"exclude": ["xstest"]}}).data.exclude == ["xstest"]


def test_overrides_win_over_the_overlay_and_mappings_merge() -> None:
    smoke = load(CONFIG, {"scale": "smoke"})
    changed = load(CONFIG, {"scale": "smoke", "seed": 7, "train": {"steps": 3}})
    assert (changed.seed, changed.train.steps) == (7, 3)
    assert changed.train.backbone == smoke.train.backbone == "random-tiny"


def test_merge_replaces_lists_and_leaves_its_arguments_alone() -> None:
    base: dict[str, Any] = {"a": {"list": [1, 2], "kept": 1}, "b": {"x": 1}}
    assert merge(base, {"a": {"list": [3]}, "b": 2}) == {"a": {"list": [3], "kept": 1}, "b": 2}
    assert base == {"a": {"list": [1, 2], "kept": 1}, "b": {"x": 1}}


def test_short_forms_of_the_caps() -> None:
    settings = load(CONFIG, {"row_cap": 10, "item_cap": 5, "data": {"test_share": 0.5}})
    assert (settings.data.row_cap, settings.score.item_cap) == (10, 5)
    assert settings.data.test_share == 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sede": 1}, "sede"),
        (
            {"train": {"step": 3}},
            r"train\.step: unknown key, perhaps 'steps'; the keys of train: \['backbone'.*'steps'",
        ),
        ({"augment": {"llm": {"q": 1}}}, r"augment\.llm\.q: unknown key; the keys of augment\.llm: \['base_url'"),
        ({"colour": 1}, r"colour: unknown key; the keys of the settings: \['align'"),
        ({"train": {"steps": 0}}, r"train\.steps: input should be greater than or equal to 1, got 0"),
        ({"train": {"section_order": "random"}}, "conversation-first"),
        ({"scale": "huge"}, r"'huge' is unknown; choose one of \['demo', 'paper', 'small', 'smoke'\]"),
        ({"row_cap": 0}, r"data\.row_cap"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(CONFIG, overrides)


@pytest.mark.parametrize("name", ["config.yaml", "scales/smoke.yaml"])
@pytest.mark.parametrize(
    ("added", "key"),
    [("seed: 1\nscale: demo\nseed: 2\n", "seed"), ("topics:\n  temperature: 1\n\n  temperature: 2\n", "temperature")],
)
def test_a_key_given_twice_is_an_error(name: str, added: str, key: str, tmp_path: Path) -> None:
    """It would replace the first silently; the message names the file, the key and both lines."""
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "config" / name).write_text(added)
    with pytest.raises(ValueError, match=rf"{name}: key '{key}' is given twice, in lines (1 and 3|2 and 4): keep one"):
        load(tmp_path / "config", {"scale": "smoke"})


def test_the_standard_threshold_must_not_be_held_out() -> None:
    with pytest.raises(ValueError, match=r"standard_threshold 0\.75 is among(.|\n)*choose another standard threshold"):
        load(CONFIG, {"augment": {"standard_threshold": 0.75}})


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.model_validate({}).seed = 1


@pytest.mark.parametrize("stage", STAGES)
def test_slices_round_trip(stage: str, tmp_path: Path) -> None:
    part = getattr(load(CONFIG, {"scale": "paper"}), stage)
    path = tmp_path / f"{stage}.yaml"
    path.write_text(yaml.safe_dump(part.model_dump(mode="json")))
    assert read_slice(path, type(part)) == part


def test_a_slice_of_another_stage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("steps: 3\n")
    with pytest.raises(ValueError, match="steps"):
        read_slice(tmp_path / "train.yaml", MetricSettings)


def test_generated_files_do_not_drift() -> None:
    assert settings_docs.drifted(CONFIG) == [], "run: csrm settings --config-dir config"


def test_drift_is_found_and_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrm.cli.GROUPS", ("csrm.audit",))
    shutil.copytree(CONFIG, tmp_path / "config")
    folder = str(tmp_path / "config")
    path = tmp_path / "config" / "config.yaml"
    assert main(["settings", "--config-dir", folder]) == 0
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    assert main(["settings", "--config-dir", folder, "--check"]) == 1
    assert "config.yaml differ from src/csrm/settings; run: csrm settings" in capsys.readouterr().err
    assert main(["settings", "--config-dir", folder]) == 0
    assert main(["settings", "--config-dir", folder, "--check"]) == 0


def test_every_description_is_in_the_yaml() -> None:
    settings = Settings.model_validate({})
    text = settings_docs.render_yaml(settings)
    models = [Settings, *(type(getattr(settings, stage)) for stage in STAGES)]
    for info in (info for model in models for info in model.model_fields.values() if info.description):
        assert f"# {info.description}" in text


def test_environments_agree_with_the_constraints() -> None:
    pins = {line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#"}
    assert not any("+" in pin or "/" in pin or "@" in pin for pin in pins)
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        listed = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
        assert set(listed) <= pins, path.name


def test_pool_caps_name_taxonomies() -> None:
    assert AugmentSettings(pools={"wildguard": 50}).pools == {"wildguard": 50}
    with pytest.raises(ValueError, match=r"\['wildguardmix'\]; known: .*'wildguard'"):
        AugmentSettings(pools={"wildguardmix": 100})


def test_what_only_selects_is_in_no_slice(tmp_path: Path) -> None:
    """One more model or fewer items must not change the file that every scored model depends on."""
    path = tmp_path / "score.yaml"
    write_slice(path, ScoreSettings())
    before = path.stat().st_mtime_ns
    write_slice(path, ScoreSettings(models=["zero-shot"], item_cap=7, calibrated=[]))
    assert path.stat().st_mtime_ns == before
    write_slice(path, ScoreSettings(token_budget=100))
    assert read_slice(path, ScoreSettings).token_budget == 100


def test_pairs_without_categories_are_not_trained_on_where_categories_are_held_out() -> None:
    with pytest.raises(ValueError, match=r"response_pairs \['safe-rlhf'\] say nothing of categories.*empty one"):
        DataSettings(response_pairs=["safe-rlhf"], held_out=["pets"])
    assert DataSettings(response_pairs=["safe-rlhf"], held_out=[]).response_pairs


@pytest.mark.parametrize("scale", SCALES)
def test_slices_are_written_as_pyyaml_writes_them(scale: str, tmp_path: Path) -> None:
    """Another form of the same settings would run the stage again."""
    settings = load(CONFIG, {"scale": scale})
    for stage in STAGES:
        section = getattr(settings, stage)
        write_slice(tmp_path / stage, section)
        data = section.model_dump(mode="json", exclude=set(section.selection))
        assert (tmp_path / stage).read_text(encoding="utf-8") == yaml.safe_dump(data, sort_keys=True)


@pytest.mark.parametrize("word", ["long", "long ", "'", '"', "\n", "é ", "#: ", "- ", "\t", "\u2028", "yes", "1e3", ""])
def test_any_text_in_a_slice_is_written_as_pyyaml_writes_it(word: str, tmp_path: Path) -> None:
    section = DataSettings(held_out=[word * n for n in (1, 2, 30, 90)])
    write_slice(tmp_path / "slice", section)
    assert (tmp_path / "slice").read_text(encoding="utf-8") == yaml.safe_dump(
        section.model_dump(mode="json", exclude=set(section.selection))
    )


def test_differences_name_what_bears_on_numbers_and_nothing_else():
    same = {"scale": "paper", "seed": 3, "score": {"benchmarks": ["xstest"]}, "train": {"variants": ["csrm"]}}
    assert differences(load("config", same), "config") == []
    other = {"scale": "paper", "row_cap": 100, "train": {"steps": 5, "launcher": None}, "score": {"max_length": 99}}
    other |= {"augment": {"llm": {"model": "other"}}}
    expected = ["data.row_cap", "train.steps", "score.max_length", "augment.llm.model"]
    assert differences(load("config", other), "config") == expected
