"""How rules are written: one command of `csrm` in one shell form, with a docstring, a log and an environment."""

import re
from pathlib import Path

import pytest
from workflow_tools import ROOT, rule_blocks

RULES = rule_blocks()
FILES = sorted((ROOT / "rules").glob("*.smk"))


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_the_one_form(rule: str) -> None:
    body = RULES[rule]
    assert re.match(r'    """[A-Z].*\."""\n', body), "no docstring of one sentence"
    for directive in ("output", "log", "conda", "shell"):
        assert re.search(rf"^    {directive}:", body, re.MULTILINE), f"no {directive}"
    for directive in ("script", "message", "run", "notebook", "wrapper"):
        assert not re.search(rf"^    {directive}:", body, re.MULTILINE), f"has {directive}"
    shell = body.partition("    shell:\n")[2]
    assert shell.startswith('        r"""\n        exec &> >(tee {log:q})\n        csrm '), shell
    assert not re.search(r"(?<=\s)-\w\b", shell), "short flags"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rule_file_has_a_header_and_is_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 330
    assert [line.split(":")[0] for line in lines[:3]] == ["# Purpose", "# Inputs", "# Outputs"]


def test_snakefile_is_short() -> None:
    assert len((ROOT / "workflow" / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 80
