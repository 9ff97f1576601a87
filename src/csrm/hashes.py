"""Hashes for audits: each file is read once, and raw folders are compared with DVC's pins."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from csrm.data.pin import folder_entry, read_pins
from csrm.files import file_digests, sha256
from csrm.remembered import remembered_digests


class Hashes:
    """sha256 of files and folders, equal to `csrm.files.sha256`, and md5 of pinned files, reading each file once.

    Args:
        quick: trust what is remembered of large files (`csrm.remembered`) instead of reading them.
        pinned: folders whose files are asked for both digests.

    Attributes:
        seen: digests by algorithm of every file that was asked for.
    """

    def __init__(self, quick: bool = False, pinned: Collection[Path] = ()) -> None:
        self.seen: dict[Path, dict[str, str]] = {}
        self._read = remembered_digests if quick else file_digests
        self._pinned = pinned

    def sha256(self, path: Path) -> str | None:
        """Digest of a file or folder; None when nothing lies there."""
        return sha256(path, self.digest) if path.is_dir() or path.is_file() else None

    def digest(self, path: Path, algorithm: str = "sha256") -> str:
        """Digest of a file."""
        known = self.seen.setdefault(path, {})
        if algorithm not in known:
            both = any(path.is_relative_to(folder) for folder in self._pinned)
            known.update(self._read(path, ("sha256", "md5") if both else (algorithm,)))
        return known[algorithm]


def pinned_folders(dvc_file: Path) -> dict[Path, str]:
    """The raw folders of a `.dvc` file and their md5; none where there is no such file."""
    pins = read_pins(dvc_file) if dvc_file.is_file() else {}
    return {dvc_file.parent / out["path"]: out["md5"] for out in pins.values()}


class Pins:
    """The md5 pins of raw folders; each pinned folder is compared at most once.

    Args:
        pins: folder -> md5, as by `pinned_folders`.
        of_file: digest of a file by an algorithm.
        name: where the pins are written, for messages.
    """

    def __init__(self, pins: Mapping[Path, str], of_file: Callable[[Path, str], str], name: str) -> None:
        self._pins = pins
        self._of_file = of_file
        self._name = name
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
