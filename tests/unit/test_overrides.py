"""Overrides of a run: handed to its commands, printed so that a shell and Snakemake read them back."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from csrm import overrides
from csrm.files import read_json, write_text
from csrm.provenance import recording
from csrm.settings import load

CONFIG = Path(__file__).parents[2] / "config"
GIVEN: dict[str, Any] = {
    "scale": "smoke",
    "seed": 5,
    "data_root": "a folder",
    "train": {"variants": ["csrm", "csrm-no-sa"], "seeds": ["1"]},
}


def test_printed_overrides_are_read_back() -> None:
    from snakemake.cli import parse_config

    option, *words = shlex.split(overrides.as_option(GIVEN))
    assert option == "--config"
    assert parse_config(words) == GIVEN
    assert load(CONFIG, parse_config(words)).train.seeds == [1]
    assert overrides.as_option({}) == ""


def test_manifests_record_the_overrides_of_a_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(overrides.VARIABLE, "")
    for config in (GIVEN, {}):
        overrides.share(config)
        with recording([tmp_path / "a"], {}):
            write_text(tmp_path / "a", "a")
        assert read_json(tmp_path / "a.manifest.json")["overrides"] == config
    monkeypatch.delenv(overrides.VARIABLE)
    with recording([tmp_path / "a"], {}):
        write_text(tmp_path / "a", "a")
    assert read_json(tmp_path / "a.manifest.json")["overrides"] is None


def test_the_report_is_of_the_same_run() -> None:
    assert overrides.report_command("results", {}) == "make report"
    command = overrides.report_command("results/smoke", {"scale": "smoke"})
    assert command == "snakemake --cores all --report results/smoke/report.html --config scale=smoke"
