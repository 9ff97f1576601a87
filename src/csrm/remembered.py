"""Hashes of large files, remembered in Snakemake's folder, so that the jobs of a workflow read one model once.

A hash is remembered with the file's size, times and inode, and trusted while these stay as they are. That misses what
changes bytes behind the file system's back, such as a failing disk: `csrm audit` therefore reads everything again.
"""

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

from csrm.files import file_digest, write_text

LARGE = 1 << 24  # bytes; smaller files are read at once
SNAKEMAKE = Path(".snakemake")  # where the working folder has none, nothing is remembered
TICK = 10**8  # nanoseconds; twice what times of files are rounded to and more, where they are not whole seconds


def remembered_digest(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file, read only where no intact entry says what it was with the same size, times and inode.

    Entries are files of their own, replaced as a whole: writers side by side do no harm.
    """
    started, state = time.time_ns(), _state(path)
    if state["size"] < LARGE or not SNAKEMAKE.is_dir():
        return file_digest(path, algorithm)
    name = hashlib.sha256(f"{algorithm} {path.absolute()}".encode()).hexdigest()
    entry = SNAKEMAKE / "csrm-hashes" / name
    if known := _recall(entry, state):
        return known
    digest = file_digest(path, algorithm)
    if _settled(state, started) and _state(path) == state:
        with suppress(OSError):  # of a full or read-only disk: the file is read again next time
            write_text(entry, _sealed({"digest": digest, "state": state}))
    return digest


def _state(path: Path) -> dict[str, int]:
    """What changes with a file's bytes; ctime does where a program sets mtime back."""
    found = path.stat()
    return {name: getattr(found, f"st_{name}") for name in ("dev", "ino", "size", "mtime_ns", "ctime_ns")}


def _settled(state: dict[str, int], started: int) -> bool:
    """Whether a write since `started` would change ctime: it is a tick older, and not rounded to whole seconds."""
    return state["ctime_ns"] < started - TICK and state["ctime_ns"] % 10**9 != 0


def _sealed(entry: object) -> str:
    """An entry's text: its own sha256 and JSON."""
    text = json.dumps(entry, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _recall(path: Path, state: dict[str, int]) -> str | None:
    """The digest of an entry, if it is intact and of this state."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        text = path.read_text(encoding="utf-8")
        entry = json.loads(text.partition(" ")[2])
        if text == _sealed(entry) and entry["state"] == state:
            return str(entry["digest"])
    return None
