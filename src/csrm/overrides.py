"""What a run was given on Snakemake's command line (`--config`), so that commands for the same run can be printed.

The workflow hands it to the commands of its jobs through the environment; their manifests record it.
"""

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

VARIABLE = "CSRM_OVERRIDES"


def share(config: Mapping[str, Any]) -> None:
    """Hand Snakemake's `config` to every command that this process starts."""
    os.environ[VARIABLE] = json.dumps(config, sort_keys=True)


def shared() -> dict[str, Any] | None:
    """The overrides of the workflow that this command is a job of; None where it was started by hand."""
    found: dict[str, Any] | None = json.loads(os.environ.get(VARIABLE, "null"))
    return found


def as_option(config: Mapping[str, Any]) -> str:
    """The end of a shell command that gives these overrides again: ` --config scale=smoke 'train={"seeds": [1]}'`."""
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()]
    return "".join([" --config" * bool(words), *(f" {shlex.quote(word)}" for word in words)])


def report_command(outdir: str, config: Mapping[str, Any]) -> str:
    """The command that makes the report of a run with these overrides."""
    made = f"snakemake --cores all --report {shlex.quote(f'{outdir}/report.html')}"
    return f"{made}{as_option(config)}" if config else "make report"
