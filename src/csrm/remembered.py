"""Hashes of large files, remembered in Snakemake's folder, so that the jobs of a workflow read one model once.

A hash is remembered with the file's size, times and inode, and trusted while these stay as they are. That misses what
changes bytes behind the file system's back, such as a failing disk: `csrm audit` therefore reads everything again.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from csrm.files import file_digests, write_text

LARGE = 1 << 24  # bytes; smaller files are read at once
SNAKEMAKE = Path(".snakemake")  # where the working folder has none, nothing is remembered
TICK = 10**8  # nanoseconds; twice what times of files are rounded to and more, where they are not whole seconds


def remembered_digest(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file; see `remembered_digests`."""
    return remembered_digests(path, [algorithm])[algorithm]


def remembered_digests(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    """Digests of a file, read (once) only where no intact entry says what they were with this size, times and inode.

    Entries are files of their own, replaced as a whole: writers side by side do no harm. A file written less than a
    tick ago, such as a command's own output, is read a tick later.
    """
    state = _state(path)
    if state["size"] < LARGE or not SNAKEMAKE.is_dir():
        return file_digests(path, algorithms)
    entries = {name: _entry(path, name) for name in algorithms}
    known = {name: digest for name, entry in entries.items() if (digest := _recall(entry, state))}
    missing = [name for name in algorithms if name not in known]
    if missing:
        settled = _wait(state)
        known.update(file_digests(path, missing))
        if settled and _state(path) == state:
            with suppress(OSError):  # of a full or read-only disk: the file is read again next time
                for name in missing:
                    write_text(entries[name], _sealed({"digest": known[name], "state": state}))
    return known


def _state(path: Path) -> dict[str, int]:
    """What changes with a file's bytes; ctime does where a program sets mtime back."""
    found = path.stat()
    return {name: getattr(found, f"st_{name}") for name in ("dev", "ino", "size", "mtime_ns", "ctime_ns")}


def _wait(state: dict[str, int]) -> bool:
    """Wait until ctime is a tick old; whether a write from now on would change it.

    It would not where it is rounded to whole seconds, or in the future.
    """
    age = time.time_ns() - state["ctime_ns"]
    if age < 0 or state["ctime_ns"] % 10**9 == 0:
        return False
    while (left := state["ctime_ns"] + TICK - time.time_ns()) >= 0:
        time.sleep(1e-9 * (left + 1))
    return True


def _entry(path: Path, algorithm: str) -> Path:
    return SNAKEMAKE / "csrm-hashes" / hashlib.sha256(f"{algorithm} {path.absolute()}".encode()).hexdigest()


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
