"""A dry run leaves no settings behind: slices are written while Snakemake reads the rules, and audits hash them."""

import atexit
import os
import re
from contextlib import suppress
from pathlib import Path


def is_dry_run(arguments: list[str]) -> bool:
    """Whether Snakemake's command line asks for a dry run; its own flag is not yet there while it reads the rules."""
    return any(re.fullmatch(r"--dry-?run|-[a-zA-Z]*n[a-zA-Z]*", argument) for argument in arguments)


def restore_at_exit(outdir: str | Path) -> None:
    """Put the slices back as they are now when the process ends; those that are not there yet are removed again."""
    folder = Path(outdir) / "config"
    found = {path: (path.read_bytes(), path.stat()) for path in folder.rglob("*.yaml")}
    made = [path for path in (folder / "train", folder / "augment", folder, folder.parent) if not path.exists()]

    def restore() -> None:
        for path in set(folder.rglob("*.yaml")) - set(found):
            path.unlink()
        for path, (content, stat) in found.items():
            if path.stat().st_mtime_ns != stat.st_mtime_ns:
                path.write_bytes(content)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        for path in made:
            with suppress(OSError):
                path.rmdir()

    atexit.register(restore)
