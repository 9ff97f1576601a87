"""Manifests: what they hold, where they lie, and that failures write none."""

import hashlib
from pathlib import Path

import pytest

from csrm import provenance
from csrm.files import read_json, sha256, write_text
from csrm.provenance import code_digest, hardware, manifest_path, recording
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


def test_the_code_digest_is_that_of_sorted_paths_and_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out: another order or form would run every finished workflow again."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    provenance._lines.cache_clear()
    expected = ["files.py", "model/a/b.yaml", "model/a/z.py", "model/a.py", "model/b.py", "rows.py"]
    for name in [*expected, "model/__pycache__/a.cpython-311.pyc", "model/a/__pycache__/z.pyc.139", "other/c.py"]:
        write_text(tmp_path / name, name)
    lines = "".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in expected)
    assert code_digest("model") == hashlib.sha256(lines.encode()).hexdigest()[:16]
    paths = sorted(Path(name) for name in expected)
    assert [path.as_posix() for path in paths] == expected
    write_text(tmp_path / "model/a/z.py", "changed")
    assert code_digest("model", "rows.py") == code_digest("model"), "read once a process"
    provenance._lines.cache_clear()
    assert code_digest("model") != hashlib.sha256(lines.encode()).hexdigest()[:16]
    provenance._lines.cache_clear()
