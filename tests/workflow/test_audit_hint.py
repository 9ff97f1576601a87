"""What an audit says to do, done: the printed command makes a broken step whole, under the settings of its run."""

import re
import shlex
from pathlib import Path

import pytest
from workflow_tools import copy_repository, run, snakemake


@pytest.mark.parametrize("broken", ["results/smoke/interim/rows/smoke.jsonl", "results/smoke/config/data.yaml"])
def test_the_printed_command_mends_the_chain(broken: str, tmp_path: Path) -> None:
    copy, target = copy_repository(tmp_path / "copy"), "results/smoke/interim/split/train.jsonl"
    snakemake(copy, target, "--config", "scale=smoke", "row_cap=30", "data={max_response_words: 20}")
    made = (copy / target).read_bytes()
    assert run(copy, "csrm", "audit", target).returncode == 0
    (copy / broken).write_text("broken")
    audited = run(copy, "csrm", "audit", target)
    assert audited.returncode == 1
    command = re.search(rf"{broken}: changed.*\n.*(snakemake .*)", audited.stdout)
    assert command, audited.stdout
    mended = run(copy, *shlex.split(command[1]))
    assert mended.returncode == 0, mended.stdout
    assert run(copy, "csrm", "audit", target).returncode == 0
    assert (copy / target).read_bytes() == made
