"""Hashes for audits: each file is read once for its sha256, and raw folders are compared with DVC's pins."""

import hashlib
from pathlib import Path

from csrm import files
from csrm.data.pin import folder_entry, read_pins


class Hashes:
    """sha256 of files and folders, equal to `csrm.files.sha256`, reading each file once."""

    def __init__(self) -> None:
        self.seen: dict[Path, str] = {}

    def sha256(self, path: Path) -> str | None:
        """Digest of a file or folder; None when nothing lies there.

        Snakemake stamps folders after their manifest is written: its time stamps are left out, as manifests are.
        """
        if path.is_dir():
            ignored = ("manifest.json", ".snakemake_timestamp")
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(ignored))
            listing = "".join(f"{p.relative_to(path).as_posix()} {self.sha256(p)}\n" for p in inside)
            return hashlib.sha256(listing.encode()).hexdigest()
        if not path.is_file():
            return None
        if path not in self.seen:
            self.seen[path] = files.sha256(path)
        return self.seen[path]


class Pins:
    """The md5 pins of raw folders in a `.dvc` file; each pinned folder is compared at most once."""

    def __init__(self, dvc_file: Path) -> None:
        pins = read_pins(dvc_file) if dvc_file.is_file() else {}
        self._pins = {dvc_file.parent / out["path"]: out["md5"] for out in pins.values()}
        self._name = dvc_file.as_posix()
        self._actual: dict[Path, str] = {}

    def problems(self, path: Path) -> dict[str, str]:
        """What contradicts the pins that hold for `path`: its own, and those of folders above or inside it.

        Returns:
            Pinned folder -> what is wrong with it.
        """
        found = {}
        for pinned, md5 in self._pins.items():
            if path.is_relative_to(pinned) or pinned.is_relative_to(path):
                now = self._md5(pinned)
                if now != md5:
                    found[pinned.as_posix()] = f"changed: {self._name} pins it to md5 {md5}; now {now}"
        return found

    def _md5(self, folder: Path) -> str:
        if folder not in self._actual:
            self._actual[folder] = str(folder_entry(folder)["md5"]) if folder.is_dir() else "missing"
        return self._actual[folder]
