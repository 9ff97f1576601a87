"""Manifests: what they hold, where they lie, and that failures write none."""

from pathlib import Path

import pytest

from csrm.files import read_json, sha256, write_text
from csrm.provenance import hardware, manifest_path, recording
from csrm.settings import MetricSettings


def test_manifest_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/csrm", "evaluate", "--seed", "3"])
    for name in ("items", "scores-a", "scores-b"):
        write_text(name, name)
    inputs = {"scores": ["scores-a", "scores-b"], "items": "items"}
    with recording(["metrics.json"], inputs, settings=MetricSettings(), seed=3) as notes:
        write_text("metrics.json", "{}")
        notes["rows"] = 7
    manifest = read_json("metrics.json.manifest.json")
    assert manifest["artifact"] == {"role": "output", "path": "metrics.json", "sha256": sha256("metrics.json")}
    assert [(i["role"], i["path"]) for i in manifest["inputs"]] == [
        ("items", "items"),
        ("scores", "scores-a"),
        ("scores", "scores-b"),
    ]
    assert all(i["sha256"] == sha256(i["path"]) for i in manifest["inputs"])
    assert manifest["command"] == ["csrm", "evaluate", "--seed", "3"]
    assert manifest["settings"]["bootstrap"] == 1000
    assert manifest["seed"] == 3
    assert manifest["notes"] == {"rows": 7}
    assert manifest["packages"]["numpy"]
    assert manifest["wall_seconds"] >= 0
    assert manifest["peak_memory_mib"] > 0
    assert set(manifest["git"]) == {"commit", "dirty"}


def test_manifest_of_a_folder_lies_inside(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with recording([folder], {}):
        write_text(folder / "weights", "1")
    assert manifest_path(folder) == folder / "manifest.json"
    assert read_json(folder / "manifest.json")["artifact"]["sha256"] == sha256(folder)


def test_failure_writes_no_manifest(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    with pytest.raises(RuntimeError), recording([output], {}):
        write_text(output, "{}")
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == [output]


def test_missing_input_writes_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), recording([tmp_path / "a"], {"rows": tmp_path / "nowhere"}):
        write_text(tmp_path / "a", "")
    assert not (tmp_path / "a.manifest.json").exists()


def test_hardware_names_the_machine() -> None:
    found = hardware()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["python"].count(".") == 2
