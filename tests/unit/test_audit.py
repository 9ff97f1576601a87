"""Audit: a sound chain passes, and any changed or missing byte on it is named."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from csrm import overrides, remembered
from csrm.audit import Auditor, lines
from csrm.cli import main
from csrm.data.pin import folder_entry
from csrm.files import file_digests, read_json, sha256, write_json, write_text
from csrm.hashes import Hashes
from csrm.provenance import recording

FIGURE = "results/smoke/figures/f1.png"
CHAIN = (
    "data/raw/toy/rows.csv",
    "results/smoke/interim/rows/toy.jsonl",
    "results/smoke/interim/split/test.jsonl",
    "results/smoke/config/data.yaml",
    "results/smoke/metrics/m.json",
    "config/toy.yaml",
    FIGURE,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small finished run in a git repository: raw -> rows -> split folder -> metrics -> figure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("csrm.cli.GROUPS", ("csrm.audit",))
    raw, rows, split, slice_, metrics, tracked, figure = CHAIN
    for path in (raw, slice_, tracked):
        write_text(path, path)
    _make(rows, {"raw": raw, "settings": slice_})
    with recording(["results/smoke/interim/split"], {"rows": rows, "settings": slice_}, seed=1):
        write_text(split, "test")
        write_text("results/smoke/interim/split/train.jsonl", "train")
    _make(metrics, {"items": [split, rows], "config": tracked})
    _make(figure, {"metrics": metrics})
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", tracked], check=True)
    _pin("data/raw/toy")
    return tmp_path


def _make(path: str, inputs: dict[str, str | list[str]]) -> None:
    with recording([path], inputs, seed=0):
        write_text(path, f"made {path}")


def _pin(path: str) -> None:
    write_text("data.dvc", yaml.safe_dump({"outs": [{"md5": folder_entry(path)["md5"], "hash": "md5", "path": path}]}))


def _flip(path: str) -> None:
    data = bytearray(Path(path).read_bytes())
    data[-1] ^= 1
    Path(path).write_bytes(data)


def test_a_sound_chain_passes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", FIGURE]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"audited: {FIGURE}  {sha256(FIGURE)[:12]}  ok"
    assert out[1].startswith("  metrics: results/smoke/metrics/m.json  ")
    assert out[2] == f"    config: config/toy.yaml  {sha256('config/toy.yaml')[:12]}  ok (tracked)"
    text = "\n".join(out)
    assert "      part of: results/smoke/interim/split  " in text
    assert f"raw: data/raw/toy/rows.csv  {sha256(CHAIN[0])[:12]}  ok (raw)" in text
    assert "settings: results/smoke/config/data.yaml" in text
    assert "(see above)" in text
    assert out[-1] == "ok: 8 files hashed, every hash on the chain holds"


@pytest.mark.parametrize("section", ["train", "augment"])
def test_a_variants_settings_are_a_leaf(run: Path, section: str, capsys: pytest.CaptureFixture[str]) -> None:
    slice_, made = f"results/smoke/config/{section}/csrm.yaml", "results/smoke/metrics/v.json"
    write_text(slice_, "steps: 1")
    _make(made, {"settings": slice_})
    assert main(["audit", made]) == 0
    assert f"settings: {slice_}" in capsys.readouterr().out
    write_text(slice_, "steps: 2")
    assert main(["audit", made]) == 1


@pytest.mark.parametrize("path", [*CHAIN, "results/smoke/interim/split/train.jsonl"])
def test_a_flipped_bit_anywhere_fails(run: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sha256(path)
    _flip(path)
    assert main(["audit", FIGURE]) == 1
    captured = capsys.readouterr()
    assert "CHANGED" in captured.out
    if not path.endswith("train.jsonl"):
        assert f"{path}: changed: recorded {before}" in captured.err
        assert f"now {sha256(path)}" in captured.err
    else:
        assert "results/smoke/interim/split: changed" in captured.err


@pytest.mark.parametrize("path", CHAIN)
def test_a_missing_file_fails(run: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(path).unlink()
    assert main(["audit", FIGURE]) == 1
    captured = capsys.readouterr()
    assert "MISSING" in captured.out
    assert f"{path}: missing; recorded " in captured.err


def test_remedies(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _flip("results/smoke/metrics/m.json")
    _flip("config/toy.yaml")
    Path("results/smoke/interim/rows/toy.jsonl").unlink()
    _flip("data/raw/toy/rows.csv")
    assert main(["audit", FIGURE]) == 1
    error = capsys.readouterr().err
    forced = "rebuild: snakemake --cores all --force results/smoke/metrics/m.json --config scale=smoke"
    assert forced in error
    assert "rebuild: snakemake --cores all results/smoke/interim/rows/toy.jsonl --config scale=smoke" in error
    assert "restore: git restore config/toy.yaml; or, if the change is meant, rebuild: snakemake" in error
    assert "restore: dvc checkout --force data.dvc; or fetch it again: rm -r data/raw/toy, then snakemake" in error
    assert "snakemake --cores all data/raw/toy/manifest.json" in error


UNKNOWN = "(add the --config of its run: no manifest records it"


def _remedies(capsys: pytest.CaptureFixture[str], path: str = FIGURE) -> dict[str, str]:
    """Broken path -> what the audit says to do."""
    capsys.readouterr()
    assert main(["audit", path]) == 1
    _, *found = capsys.readouterr().err.splitlines()
    return {line.strip().split(":")[0]: fix.strip() for line, fix in zip(found[::2], found[1::2], strict=True)}


def test_remedies_hold_the_overrides_of_the_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command is that of the run that made the step, or of the reader where the step's own manifest is gone."""
    monkeypatch.setenv(overrides.VARIABLE, "")
    overrides.share({"scale": "smoke", "train": {"seeds": [1]}})
    rows, metrics = "results/smoke/interim/rows/toy.jsonl", "results/smoke/metrics/m.json"
    _make(metrics, {"items": rows, "config": "config/toy.yaml", "settings": "results/smoke/config/data.yaml"})
    option = """--config scale=smoke 'train={"seeds": [1]}'"""
    for path in (metrics, "config/toy.yaml", "results/smoke/config/data.yaml"):
        _flip(path)
    Path(rows).unlink()
    Path(f"{rows}.manifest.json").unlink()
    found = _remedies(capsys, metrics)
    assert found[metrics] == f"rebuild: snakemake --cores all --force {metrics} {option}"
    assert found[rows] == f"rebuild: snakemake --cores all {rows} {option}"
    assert found["config/toy.yaml"].endswith(
        f"if the change is meant, rebuild: snakemake --cores all --force {metrics} {option}"
    )
    assert found["results/smoke/config/data.yaml"].endswith(f"snakemake --cores all {metrics} {option}")


def test_unrecorded_overrides_are_said_to_be(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _flip("results/smoke/metrics/m.json")
    fix = _remedies(capsys)["results/smoke/metrics/m.json"]
    forced = "rebuild: snakemake --cores all --force results/smoke/metrics/m.json --config scale=smoke"
    assert fix.startswith(f"{forced} {UNKNOWN}; it was made by: ")


@pytest.mark.parametrize("name", ["csrm-margin-0.5", "csrm"])
def test_a_folder_is_rebuilt_by_its_manifest(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed file of a recorded folder, the folder itself, and a folder that is gone."""
    folder, scores = f"results/smoke/models/{name}", "results/smoke/scores.jsonl"
    write_text(f"{folder}/weights.bin", "weights")
    with recording([folder], {}):
        pass
    _make(scores, {"model": folder, "card": f"{folder}/weights.bin"})
    command = f"snakemake --cores all --force {folder}/manifest.json "
    _flip(f"{folder}/weights.bin")
    found = _remedies(capsys, scores)
    assert all(found[path].startswith(f"rebuild: {command}") for path in (folder, f"{folder}/weights.bin"))
    shutil.rmtree(folder)
    assert _remedies(capsys, scores)[folder].startswith(f"rebuild: {command}".replace(" --force", ""))


def test_a_folder_without_manifest_is_no_artifact(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "audit a file" in _remedies(capsys, "results/smoke/metrics")["results/smoke/metrics"]


def test_what_was_made_elsewhere_is_made_by_its_command(
    run: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path_factory.mktemp("own") / "sheet.csv"
    _make(str(path), {"groups": "results/smoke/interim/rows/toy.jsonl"})
    _flip(str(path))
    fix = _remedies(capsys, str(path))[str(path)]
    assert fix.startswith("rebuild: ") and "snakemake" not in fix and shlex.join(sys.argv[1:]) in fix


def test_a_changed_package_is_no_target(run: Path) -> None:
    packaged = Path(__import__("csrm").__file__).parent / "py.typed"
    _make("results/smoke/bank.jsonl", {"bank": str(packaged)})
    recorded = read_json("results/smoke/bank.jsonl.manifest.json")
    recorded["inputs"][0]["sha256"] = "0" * 64
    write_json("results/smoke/bank.jsonl.manifest.json", recorded)
    auditor = Auditor()
    auditor.walk("results/smoke/bank.jsonl")
    fix = auditor.problems[0].splitlines()[1]
    assert (
        "install the package as it was" in fix
        and "rebuild: snakemake --cores all --force results/smoke/bank.jsonl" in fix
    )


def test_an_input_rebuilt_after_it_was_read_fails(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = sha256("results/smoke/metrics/m.json")
    with recording(["results/smoke/metrics/m.json"], {"items": "results/smoke/interim/rows/toy.jsonl"}):
        write_text("results/smoke/metrics/m.json", "newer")
    assert main(["audit", "results/smoke/metrics/m.json"]) == 0
    assert main(["audit", FIGURE]) == 1
    assert f"recorded {old} by {FIGURE}; now {sha256('results/smoke/metrics/m.json')}" in capsys.readouterr().err


def test_raw_data_must_match_the_pin(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pin = folder_entry("data/raw/toy")["md5"]
    write_text("data/raw/toy/extra.csv", "not on the chain, but pinned")
    assert main(["audit", FIGURE]) == 1
    now = folder_entry("data/raw/toy")["md5"]
    error = capsys.readouterr().err
    assert f"data/raw/toy: changed: data.dvc pins it to md5 {pin}; now {now}" in error
    assert "data/raw/toy/rows.csv: changed" not in error and "1 broken step" in error


def test_time_stamps_of_snakemake_are_no_change(run: Path) -> None:
    write_text("data/raw/toy/.snakemake_timestamp", "")
    write_text("results/smoke/interim/split/.snakemake_timestamp", "")
    assert main(["audit", FIGURE]) == 0


def test_a_fetched_folder_is_raw_and_pinned(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with recording(["data/raw/toy"], {}):
        pass
    assert main(["audit", FIGURE]) == 0
    out = capsys.readouterr().out
    assert "raw: data/raw/toy/rows.csv" in out
    assert "part of: data/raw/toy  " in out


def test_a_command_without_inputs_starts_a_chain(run: Path) -> None:
    _make("results/smoke/models/random", {})
    assert main(["audit", "results/smoke/models/random"]) == 0


def test_files_of_unknown_origin_fail(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("results/smoke/metrics/m.json.manifest.json").unlink()
    assert main(["audit", FIGURE]) == 1
    captured = capsys.readouterr()
    assert "no manifest" in captured.out
    assert "results/smoke/metrics/m.json: no manifest says what made it" in captured.err


def test_files_outside_the_repository_are_leaves(
    run: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = tmp_path_factory.mktemp("mirror") / "rows.csv"
    mirror.write_text("mirrored")
    _make("results/smoke/interim/rows/m.jsonl", {"raw": str(mirror)})
    assert main(["audit", "results/smoke/interim/rows/m.jsonl"]) == 0
    assert "(outside)" in capsys.readouterr().out
    mirror.write_text("mirrorec")
    assert main(["audit", "results/smoke/interim/rows/m.jsonl"]) == 1


def test_a_copy_elsewhere_is_known_by_nothing(
    run: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path_factory.mktemp("elsewhere") / "copy.png"
    copy.write_bytes(Path(FIGURE).read_bytes())
    assert main(["audit", str(copy)]) == 1
    assert "audit it where it was made; a copy is known by nothing" in capsys.readouterr().err


def test_a_source_that_git_does_not_know_is_to_be_added(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text("config/safety_configs/mine.yaml", "categories: [A]")
    _make("results/smoke/metrics/mine.json", {"config": "config/safety_configs/mine.yaml"})
    assert main(["audit", "results/smoke/metrics/mine.json"]) == 1
    assert "git add config/safety_configs/mine.yaml" in capsys.readouterr().err


def test_a_broken_manifest_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(f"{FIGURE}.manifest.json", '{"artifact": 1}')
    assert main(["audit", FIGURE]) == 1
    assert "f1.png.manifest.json is not a readable manifest" in capsys.readouterr().err


def test_another_tools_manifest_is_no_manifest(run: Path) -> None:
    write_json("results/smoke/manifest.json", {"name": "a web page"})
    assert main(["audit", FIGURE]) == 0


def test_json_export(run: Path) -> None:
    assert main(["audit", FIGURE, "--json", "audit.json"]) == 0
    report = read_json("audit.json")
    assert report["ok"] and report["problems"] == []
    assert report["chain"]["inputs"][0]["path"] == "results/smoke/metrics/m.json"
    assert report["chain"]["sha256"] == report["chain"]["recorded_sha256"] == sha256(FIGURE)
    _flip("config/toy.yaml")
    assert main(["audit", FIGURE, "--json", "audit.json"]) == 1
    assert not read_json("audit.json")["ok"]


def test_each_file_is_hashed_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
        read.append(path)
        return file_digests(path, algorithms)

    monkeypatch.setattr("csrm.hashes.file_digests", counted)
    Auditor().walk(FIGURE)
    assert len(read) == len(set(read)) == 8


def test_only_a_quick_audit_trusts_times(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte that changed without the file system's knowledge: size, times and inode are as they were."""
    monkeypatch.setattr(remembered, "LARGE", 1)
    monkeypatch.setattr(remembered, "_wait", lambda state: True)
    monkeypatch.setattr(remembered, "_state", lambda path: {"size": path.stat().st_size})
    Path(".snakemake").mkdir()
    assert main(["audit", FIGURE, "--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok: 8 files checked, large ones by size, times")
    _flip("results/smoke/interim/split/test.jsonl")
    assert main(["audit", FIGURE, "--quick"]) == 0
    assert main(["audit", FIGURE]) == 1
    assert "results/smoke/interim/split/test.jsonl: changed" in capsys.readouterr().err


def test_a_quick_audit_sees_a_change_with_an_old_mtime(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "LARGE", 1)
    monkeypatch.setattr(remembered, "_wait", lambda state: True)
    Path(".snakemake").mkdir()
    path = Path("data/raw/toy/rows.csv")
    before = path.stat()
    assert main(["audit", FIGURE, "--quick"]) == 0
    time.sleep(0.05)
    _flip(str(path))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert main(["audit", FIGURE, "--quick"]) == 1


def test_folder_hashes_agree_with_the_manifests(run: Path) -> None:
    assert Hashes().sha256(Path("results")) == sha256("results")
    assert Hashes().sha256(Path("nowhere")) is None


def test_package_data_are_leaves(run: Path) -> None:
    packaged = Path(__import__("csrm").__file__).parent / "py.typed"
    _make("results/smoke/bank.jsonl", {"bank": str(packaged)})
    assert any("(package)" in line for line in lines(Auditor().walk("results/smoke/bank.jsonl")))


@pytest.mark.parametrize("folder", [".", "crate"])
def test_crate(run: Path, folder: str) -> None:
    write_text("workflow/Snakefile", "rule all:\n")
    assert main(["audit", FIGURE, "--crate", folder]) == 0
    crate = json.loads(Path(folder, "ro-crate-metadata.json").read_text())
    entities = {e["@id"]: e for e in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    assert entities["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    workflow = entities[entities["./"]["mainEntity"]["@id"]]
    assert "ComputationalWorkflow" in workflow["@type"]
    actions = [e for e in crate["@graph"] if e["@type"] == "CreateAction"]
    assert len(actions) == 1 + 4
    for action in actions:
        used = [action["instrument"], action["result"], *action["object"]]
        assert all(reference["@id"] in entities for reference in used)
    files = {e["name"]: e for e in crate["@graph"] if "sha256" in e}
    assert set(CHAIN) < set(files)
    assert files[FIGURE]["sha256"] == sha256(FIGURE)
    assert (files[FIGURE]["@id"] == FIGURE) == (folder == ".")


def test_a_crate_names_the_licences_of_raw_data(run: Path) -> None:
    columns = [
        "id",
        "kind",
        "adapter",
        "source",
        "locator",
        "revision",
        "sha256",
        "mirror",
        "raw",
        "parts",
        "licence",
        "gated",
        "page",
    ]
    line = ["toy", "labelled", "rows", "project", "-", "-", "-", "-", "toy", "-", "CC-BY-NC-4.0", "no", "-"]
    write_text("config/datasets.tsv", "\t".join(columns) + "\n" + "\t".join(line) + "\n")
    columns = ["id", "format", "source", "locator", "revision", "sha256", "raw", "licence", "gated", "page"]
    write_text("config/models.tsv", "\t".join(columns) + "\n")
    assert main(["audit", FIGURE, "--crate", "."]) == 0
    graph = json.loads(Path("ro-crate-metadata.json").read_text())["@graph"]
    licensed = {e["name"]: e["license"]["@id"] for e in graph if "license" in e and "sha256" in e}
    assert licensed == {"data/raw/toy/rows.csv": "#licence-CC-BY-NC-4.0"}
    assert {"@id": "#licence-CC-BY-NC-4.0", "@type": "CreativeWork", "name": "CC-BY-NC-4.0"} in graph


def test_a_broken_chain_makes_no_crate(run: Path) -> None:
    _flip("data/raw/toy/rows.csv")
    assert main(["audit", FIGURE, "--crate", "crate"]) == 1
    assert not Path("crate").exists()
