"""Hashes for audits: each file is read once for its sha256, and raw folders are compared with DVC's pins."""

from collections.abc import Callable
from pathlib import Path

from csrm.data.pin import folder_entry, read_pins
from csrm.files import file_digest, sha256
from csrm.remembered import remembered_digest


class Hashes:
    """sha256 of files and folders, equal to `csrm.files.sha256`, reading each file once.

    Args:
        quick: trust what is remembered of large files (`csrm.remembered`) instead of reading them.
    """

    def __init__(self, quick: bool = False) -> None:
        self.seen: dict[Path, str] = {}
        self.of_file: Callable[..., str] = remembered_digest if quick else file_digest

    def sha256(self, path: Path) -> str | None:
        """Digest of a file or folder; None when nothing lies there."""
        return sha256(path, self._once) if path.is_dir() or path.is_file() else None

    def _once(self, path: Path) -> str:
        if path not in self.seen:
            self.seen[path] = self.of_file(path)
        return self.seen[path]


class Pins:
    """The md5 pins of raw folders in a `.dvc` file; each pinned folder is compared at most once."""

    def __init__(self, dvc_file: Path, of_file: Callable[..., str] = file_digest) -> None:
        pins = read_pins(dvc_file) if dvc_file.is_file() else {}
        self._pins = {dvc_file.parent / out["path"]: out["md5"] for out in pins.values()}
        self._of_file = of_file
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
            self._actual[folder] = str(folder_entry(folder, self._of_file)["md5"]) if folder.is_dir() else "missing"
        return self._actual[folder]
