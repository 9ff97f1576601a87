"""The commands: flags, outputs, manifests, and a light import."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from csrm.data import commands
from csrm.data.adapters.common import labelled, pair, prompt_row
from csrm.files import read_dicts, read_json, write_rows

CONFIG = Path(__file__).parents[3] / "config"


def run(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers(required=True))
    options = parser.parse_args([str(argument) for argument in arguments])
    options.run(options)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "data.yaml"
    path.write_text("held_out: []\n")
    return path


def test_prepare_writes_rows_and_manifest(tmp_path: Path, settings: Path) -> None:
    output = tmp_path / "rows.jsonl"
    run(
        "prepare", "--dataset", "beavertails", "--fixture", "--config-dir", CONFIG,
        "--settings", settings, "--output", output,
    )  # fmt: skip
    assert [row["dataset"] for row in read_dicts(output)] == ["beavertails-fixture"] * 3
    notes = read_json(f"{output}.manifest.json")["notes"]
    assert notes["dropped"] == {"duplicate": 1} and notes["rows_in"] == 4 and notes["rows_out"] == 3


def test_split_writes_three_files_and_excludes(tmp_path: Path, settings: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [labelled("d", n, f"prompt {n}", "r") for n in range(60)])
    write_rows(tmp_path / "bench.jsonl", [prompt_row("b", n, f"Prompt  {n}") for n in range(30)])
    run(
        "split", "--settings", settings, "--seed", 3, "--rows", tmp_path / "rows.jsonl",
        "--exclude", tmp_path / "bench.jsonl", "--output-dir", tmp_path / "split",
    )  # fmt: skip
    names = ("train", "validation", "test")
    sizes = {name: len(list(read_dicts(tmp_path / f"split/{name}.jsonl"))) for name in names}
    manifest = read_json(tmp_path / "split/train.jsonl.manifest.json")
    assert manifest["notes"]["rows"] == sizes and manifest["seed"] == 3
    assert sum(sizes.values()) + manifest["notes"]["dropped"]["prompt of a benchmark"] == 60
    report = tmp_path / "leaks.json"
    run(
        "check-leaks", "--train", tmp_path / "split/train.jsonl",
        "--benchmarks", tmp_path / "bench.jsonl", "--output", report,
    )  # fmt: skip
    assert read_json(report)["benchmarks"][str(tmp_path / "bench.jsonl")] == {"items": 30, "shared": 0}


def test_leak_leaves_no_report(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [prompt_row("b", 0, "same")])
    paths = ("--train", tmp_path / "a.jsonl", "--benchmarks", tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="1 of 1 items"):
        run("check-leaks", *paths, "--output", tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


def test_split_pairs_writes_two_files(tmp_path: Path, settings: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [pair("d", n, (f"prompt {n}", "a", "b")) for n in range(40)])
    run(
        "split-pairs", "--settings", settings, "--seed", 0,
        "--rows", tmp_path / "pairs.jsonl", "--output-dir", tmp_path / "pairs",
    )  # fmt: skip
    assert sum(len(list(read_dicts(tmp_path / f"pairs/{name}.jsonl"))) for name in ("train", "test")) == 40


def test_fetch_of_a_shipped_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'smoke' is shipped with the package"):
        run("fetch", "--dataset", "smoke", "--config-dir", CONFIG, "--output", tmp_path / "raw")
    with pytest.raises(ValueError, match=r"not in models.tsv"):
        run("fetch", "--model", "nope", "--config-dir", CONFIG, "--output", tmp_path / "raw")


def test_importing_the_commands_is_light() -> None:
    heavy = ("torch", "pandas", "transformers", "datasets", "huggingface_hub", "dvc")
    code = f"import sys, csrm.data.commands; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
