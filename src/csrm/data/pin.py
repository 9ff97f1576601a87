"""DVC pins of the raw folders: `data.dvc` says which bytes `data/raw` must hold."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from csrm.files import write_text
from csrm.remembered import remembered_digest
from csrm.yaml_reader import read_yaml

PINS = "data.dvc"
IGNORED = (".snakemake_timestamp", "manifest.json")


def read_pins(pins: str | Path = PINS) -> dict[str, dict[str, Any]]:
    """Raw folder name -> its entry in `data.dvc` (path, md5, size, nfiles)."""
    data = read_yaml(pins)
    return {Path(out["path"]).name: out for out in data["outs"]}


def raw_pin(raw_id: str, pins: str | Path = PINS) -> str:
    """The md5 that `data.dvc` pins for a raw folder, or "unpinned" when it has none (DVC itself is not imported)."""
    return str(read_pins(pins).get(raw_id, {}).get("md5", "unpinned"))


def folder_entry(folder: str | Path, of_file: Callable[[Path, str], str] = remembered_digest) -> dict[str, Any]:
    """md5, size and file count of a folder, as DVC computes them; manifests and time stamps are left out."""
    folder = Path(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(IGNORED)]
    entries = [{"md5": of_file(path, "md5"), "relpath": path.relative_to(folder).as_posix()} for path in files]
    entries.sort(key=lambda entry: entry["relpath"])
    digest = hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return {"md5": f"{digest}.dir", "size": sum(path.stat().st_size for path in files), "nfiles": len(files)}


def verify(pins: str | Path = PINS) -> dict[str, str]:
    """Compare every pinned folder with the bytes on disk; returns raw id -> "ok" or "missing".

    Raises:
        ValueError: if a folder's bytes differ; the message gives both hashes and the fix.
    """
    pins = Path(pins)
    found = {}
    for raw_id, out in read_pins(pins).items():
        folder = pins.parent / out["path"]
        if not folder.is_dir():
            found[raw_id] = "missing"
            continue
        md5 = folder_entry(folder)["md5"]
        if md5 != out["md5"]:
            raise ValueError(
                f"{folder} has md5 {md5}, {pins.name} pins {out['md5']}: remove the folder and fetch it again, "
                f"or run `csrm pin-data --update` if the change is meant"
            )
        found[raw_id] = "ok"
    return found


def pin(pins: str | Path = PINS) -> dict[str, str]:
    """Verify the raw folders and, once all are there, hand them to DVC's cache so that `dvc status` is clean.

    Raises:
        ValueError: if bytes differ from the pins, or DVC fails.
    """
    found = verify(pins)
    if set(found.values()) == {"ok"}:
        command = [sys.executable, "-m", "dvc", "commit", "--force", "--quiet", Path(pins).name]
        result = subprocess.run(command, cwd=Path(pins).resolve().parent, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ValueError(f"dvc commit {Path(pins).name} failed: {result.stderr.strip()}")
    return found


def update(pins: str | Path = PINS) -> dict[str, str]:
    """Rewrite the pins from the folders on disk (for maintainers who change a raw input)."""
    pins = Path(pins)
    outs = []
    for out in read_pins(pins).values():
        folder = pins.parent / out["path"]
        if not folder.is_dir():
            raise ValueError(f"{folder} is missing: fetch it before updating its pin")
        outs.append({"path": out["path"], **folder_entry(folder), "hash": "md5"})
    write_text(pins, yaml.safe_dump({"outs": [dict(out) for out in outs]}, sort_keys=False))
    return pin(pins)
