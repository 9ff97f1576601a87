"""Commands of README and recipes: those of the workflow are planned, those of `csrm` run on the smoke results."""

import json
import math
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from workflow_tools import ROOT, Finished, empty_mirror, planned, run, snakemake

README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README + RECIPES, re.DOTALL)
IN_BLOCKS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line.strip()]
IN_TEXT = [shlex.split(text) for text in re.findall(r"`((?:snakemake|make|csrm) [^`]+)`", README + RECIPES)]
COMMANDS = [*IN_BLOCKS, *IN_TEXT]


def commands(program: str, *words: str) -> list[list[str]]:
    found = [c for c in COMMANDS if c[0] == program and set(words) <= set(c)]
    assert found, f"neither README nor recipes have a command {program} {words}"
    return found


def test_programs_are_known() -> None:
    assert {c[0] for c in COMMANDS} <= {"make", "source", "snakemake", "csrm", "dvc"}


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {command[1] for command in commands("make")} <= set(targets)


PLANNED = [c for c in commands("snakemake") if not {"--report", "--unlock"} & set(c)]


@pytest.mark.parametrize("command", PLANNED, ids=" ".join)
def test_snakemake_command_plans_jobs(command: list[str], copy: Path, tmp_path: Path) -> None:
    mirror = empty_mirror(tmp_path / "mirror")
    arguments = [word.replace("=DIR", f"={mirror}") for word in command[1:]]
    result = run(copy, "snakemake", "--dry-run", *arguments)
    if "tasks:" in command[-1] and not find_spec("lm_eval"):  # an optional package
        assert "pip install -c constraints.txt -e '.[tasks]'" in result.stdout
        return
    assert result.returncode == 0, result.stdout
    assert planned(result.stdout)


def test_report_is_one_page(smoke: Finished) -> None:
    commands("snakemake", "--report")
    snakemake(smoke.copy, "--config", "scale=smoke", "--report", "results/report.html")
    page = (smoke.copy / "results" / "report.html").read_text(encoding="utf-8")
    assert "figure5" in page and "table2" in page


def test_score_command(smoke: Finished) -> None:
    """Every conversation under every configuration, one line each."""
    model = ["--model", "results/smoke/models/csrm/csrm", "--output", "scores.jsonl"]
    policies = [f"--config=config/safety_configs/{name}.yaml" for name in ("no-alcohol", "general-harm")]
    for command in commands("csrm", "score"):
        own = [word.replace("results/", "results/smoke/") for word in command]
        result = run(smoke.copy, *own, *model, *policies)
        assert result.returncode == 0, result.stdout
        rows = [json.loads(line) for line in (smoke.copy / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
        assert len(rows) == 6 * 3
        assert all((row["p_safe"] > 0.5) == (row["label"] == "safe") for row in rows)
        raw = [abs(row["p_safe"] - 1 / (1 + math.exp(-row["log_odds"]))) < 1e-6 for row in rows]
        assert not any(raw) if "--calibration" in command else all(raw)


def test_score_takes_its_own_calibration_only(smoke: Finished) -> None:
    command = [word.replace("results/", "results/smoke/") for word in commands("csrm", "score", "--calibration")[0]]
    result = run(smoke.copy, *command, "--model", "results/smoke/models/csrm/csrm-no-sa")
    assert result.returncode == 1 and "calibrates 'csrm'" in result.stdout and "'csrm-no-sa'" in result.stdout


def test_score_without_a_model_names_the_fix(copy: Path) -> None:
    result = run(copy, *commands("csrm", "score")[0])
    assert result.returncode == 1 and "make reproduce" in result.stdout


def test_audit_command(smoke: Finished) -> None:
    for command in commands("csrm", "audit"):
        file = command[-1].replace("results/", "results/smoke/")
        result = run(smoke.copy, "csrm", "audit", file)
        assert result.returncode == 0, result.stdout


def test_python_example(smoke: Finished) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    result = run(smoke.copy, "python", "-c", example.replace("results/models", "results/smoke/models"))
    assert result.returncode == 0, result.stdout
    assert "log_odds=" in result.stdout
