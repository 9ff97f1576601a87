"""Several processes: `csrm train` starts itself again under Accelerate when the settings name a launcher."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

MARK = "CSRM_LAUNCHER"


def processes() -> int:
    """Processes that train together, as the launcher tells each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def launched() -> bool:
    """Whether a launcher has started this process already."""
    return MARK in os.environ or "LOCAL_RANK" in os.environ


def command(launcher: Path, arguments: Sequence[str]) -> list[str]:
    """The command that runs `csrm` with `arguments` under an Accelerate configuration.

    Raises:
        FileNotFoundError: if the configuration does not exist.
    """
    if not launcher.is_file():
        raise FileNotFoundError(
            f"train.launcher {launcher} does not exist: name a configuration such as envs/accelerate/fsdp2.yaml"
        )
    options = ["--config_file", str(launcher), "--module", "csrm.cli"]
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *arguments]


def relaunch(launcher: Path, arguments: Sequence[str]) -> None:
    """Replace this process by the launcher, which starts the processes and ends with their exit status."""
    words = command(launcher, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(words[0], words, {**os.environ, MARK: str(launcher)})
