"""Manifests: what made an artifact, from what, where and at what cost.

Every command wraps its work in `recording(...)`, which writes `<output>.manifest.json` beside each output file
and `manifest.json` inside each output folder.
"""

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from csrm import overrides
from csrm.files import sha256, write_json
from csrm.remembered import remembered_digest

PACKAGE = Path(__file__).parent
PACKAGES = (
    *("csrm", "torch", "transformers", "trl", "accelerate", "peft", "datasets"),
    *("numpy", "scikit-learn", "relplot"),
)


def manifest_path(artifact: str | Path) -> Path:
    """Where the manifest of a file or folder lies."""
    artifact = Path(artifact)
    return artifact / "manifest.json" if artifact.is_dir() else artifact.with_name(f"{artifact.name}.manifest.json")


@contextmanager
def recording(
    outputs: Sequence[str | Path],
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    settings: BaseModel | Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Run a command's work and, when it succeeds, write a manifest beside each output.

    Args:
        outputs: files or folders that the block writes.
        inputs: role -> path or paths that the block reads; each is hashed, large files once (`csrm.remembered`).
        settings: the settings slice that the block used.
        seed: the seed that the block used.

    Yields:
        A dict for the command's own notes: rows in and out, rows dropped by reason, tokens truncated, ...
    """
    notes: dict[str, Any] = {}
    started = time.time()
    yield notes
    if isinstance(settings, BaseModel):
        settings = settings.model_dump(mode="json")
    body = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "inputs": [_entry(role, path) for role, paths in sorted(inputs.items()) for path in _paths(paths)],
        "settings": dict(settings) if settings else {},
        "seed": seed,
        "overrides": overrides.shared(),
        "notes": notes,
        "git": _git(),
        "packages": _packages(),
        "hardware": hardware(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.time() - started, 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    for output in outputs:
        write_json(manifest_path(output), {"artifact": _entry("output", output), **body})


def code_digest(*parts: str) -> str:
    """Digest of the package's modules and data files, so that a workflow sees that a command's code changed.

    Args:
        parts: modules or folders below the package, such as `train` or `rows.py`.
    """
    lines = "".join(line for part in sorted({*parts, "files.py", "rows.py"}) for line in _lines(part))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@cache
def _lines(part: str) -> list[str]:
    """Path and sha256 of a module, or of each file of a folder in their order; many rules name the same."""
    path = PACKAGE / part
    if not path.is_dir():
        return [f"{part} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"]
    names = sorted(entry.name for entry in path.iterdir())
    return [line for name in names if name != "__pycache__" for line in _lines(f"{part}/{name}")]


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and, when torch is loaded, the accelerator."""
    torch = sys.modules.get("torch")
    cuda = bool(torch) and torch.cuda.is_available()  # type: ignore[union-attr]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": torch.cuda.get_device_name(0) if cuda else None,  # type: ignore[union-attr]
        "threads": torch.get_num_threads() if torch else None,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]


def _entry(role: str, path: str | Path) -> dict[str, Any]:
    absolute = Path(path).absolute()
    inside = absolute.is_relative_to(Path.cwd())
    shown = absolute.relative_to(Path.cwd()) if inside else Path(path)
    return {"role": role, "path": shown.as_posix(), "sha256": sha256(path, remembered_digest)}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git() -> dict[str, Any]:
    def run(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else ""

    commit = run("rev-parse", "HEAD")
    return {"commit": commit or None, "dirty": bool(run("status", "--porcelain")) if commit else None}


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
