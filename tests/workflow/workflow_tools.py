"""Helpers of the workflow tests: copies of the repository, Snakemake and `csrm` run inside them."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SNAPSHOTS = Path(__file__).parent
NODE = re.compile(r'(\d+)\[label = "(\w+)')
EDGE = re.compile(r"(\d+) -> (\d+)")


class Finished(NamedTuple):
    """A copy in which the smoke workflow has run, its results, and what Snakemake printed."""

    copy: Path
    results: Path
    printed: str


def copy_repository(target: Path) -> Path:
    """Copy what the workflow needs, and nothing that it has made; returns the copy."""
    for name in ("config", "envs", "rules", "src", "workflow"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("README.md", "data.dvc", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    return target


def copy_results(target: Path, scale: str) -> None:
    """Copy what this checkout has made at a scale, with Snakemake's records and all times."""
    shutil.copytree(ROOT / "results" / scale, target / "results" / scale, symlinks=True)
    shutil.copytree(ROOT / ".snakemake", target / ".snakemake", symlinks=True)


def environment(copy: Path) -> dict[str, str]:
    """The tests' environment, with the copy's own package first and no network asked for."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    changes = {"PATH": programs, "PYTHONPATH": str(copy / "src"), "GOMP_SPINCOUNT": "0"}
    return {**os.environ, **changes, "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1"}


def run(copy: Path, *command: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy; its output and errors are one text."""
    return subprocess.run(
        command,
        cwd=copy,
        env=environment(copy),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def snakemake(copy: Path, *options: str) -> str:
    """Run Snakemake in the copy and return what it printed; a failure shows it."""
    result = run(copy, "snakemake", "--cores", "2", *options)
    assert result.returncode == 0, result.stdout
    return result.stdout


def planned(printed: str) -> dict[str, int]:
    """Jobs of a dry run: rule -> count."""
    table = printed.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def pretend(copy: Path, *options: str) -> None:
    """Make Snakemake believe that everything it plans with these options has been made: empty files, touched."""
    printed = snakemake(copy, "--dry-run", *options)
    for line in re.findall(r"^    output: (.*)$", printed, re.MULTILINE):
        for name in line.split(", "):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).touch()
    snakemake(copy, "--touch", *options)


def rule_graph(copy: Path, scale: str) -> str:
    """The edges of a scale's rule graph, `producer -> consumer`, sorted, one a line."""
    result = subprocess.run(
        ["snakemake", "--rulegraph", "dot", "--config", f"scale={scale}"],
        cwd=copy,
        env=environment(copy),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    names = dict(NODE.findall(result.stdout))
    edges = {f"{names[start]} -> {names[end]}" for start, end in EDGE.findall(result.stdout)}
    return "".join(f"{edge}\n" for edge in sorted(edges))


def empty_mirror(target: Path) -> Path:
    """A mirror in hub layout whose files are empty: enough for a dry run, which reads none of them."""
    with (ROOT / "config" / "files.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    with (ROOT / "config" / "datasets.tsv").open(encoding="utf-8") as lines:
        table = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
        mirrored = {row["id"] for row in table if row["mirror"] != "-"}
    for row in rows:
        if row["owner"] in mirrored:
            path = target / row["source"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return target


def rule_blocks() -> dict[str, str]:
    """Rule name -> its text, of all rule files."""
    blocks = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for part in re.split(r"^(?=rule \w+:)", text, flags=re.MULTILINE)[1:]:
            body = re.match(r"rule (\w+):\n((?:(?: .*)?\n)*)", f"{part}\n")
            assert body, f"{path.name}: not a rule: {part[:40]}"
            blocks[body[1]] = body[2]
    return blocks


def derived_rules() -> set[str]:
    """Names of rules made by `use rule ... as ... with`."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk")]
    return {name for text in texts for name in re.findall(r"^use rule \w+ as (\w+) with:", text, re.MULTILINE)}
