"""Fetching verifies bytes, unpacks only what is declared, and leaves nothing half-written."""

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csrm.data import fetch as module
from csrm.data.fetch import check_file, fetch, resolve_revision
from csrm.data.tables import Dataset, Model, PinnedFile


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(**changes: Any) -> Dataset:
    line = {"id": "toy", "kind": "labelled", "adapter": "rows", "source": "pypi", "locator": "toy==1.0", "raw": "toy"}
    line |= dict.fromkeys(("revision", "sha256", "mirror", "parts", "page"), "-") | {"licence": "MIT", "gated": "no"}
    return Dataset.model_validate(line | changes)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/data/a.csv", "x\n1\n")
        archive.writestr("toy/code.py", "raise SystemExit")
    monkeypatch.setattr(module, "download_wheel", lambda requirement, folder: path)
    return path


FILE = PinnedFile(owner="toy", part="a", source="toy/data/a.csv", path="sub/a.csv", sha256=digest(b"x\n1\n"))


def test_unpacks_only_the_declared_files(wheel: Path, tmp_path: Path) -> None:
    notes = fetch(entry(sha256=digest(wheel.read_bytes())), [FILE], tmp_path / "raw")
    assert [p.relative_to(tmp_path / "raw").as_posix() for p in (tmp_path / "raw").rglob("*.*")] == ["sub/a.csv"]
    assert notes["files"] == 1


def test_changed_wheel_fails_with_both_hashes(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{digest(wheel.read_bytes())}.*{'0' * 64}.*fetch again"):
        fetch(entry(sha256="0" * 64), [FILE], tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_wrong_file_leaves_the_old_folder_alone(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/old").write_text("kept")
    wrong = FILE.model_copy(update={"sha256": "1" * 64})
    with pytest.raises(ValueError, match=r"sub/a\.csv"):
        fetch(entry(sha256=digest(wheel.read_bytes())), [wrong], tmp_path / "raw")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", wheel.name]
    assert (tmp_path / "raw/old").read_text() == "kept"


def test_failed_download_names_the_offline_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stderr="no such wheel")
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(ValueError, match=r"no such wheel.*PIP_FIND_LINKS"):
        module.download_wheel("toy==1.0", tmp_path)


def test_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.csv is missing; copy it"):
        check_file(tmp_path / "gone.csv", "0", "copy it")


@pytest.mark.parametrize("source", ["project", "mirror"])
def test_nothing_to_fetch(source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to fetch"):
        fetch(entry(source=source), [], tmp_path)


def test_gated_set_without_token_names_page_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    gated = entry(source="hub", locator="org/set", gated="yes", page="datasets/org/set", revision="a" * 40)
    with pytest.raises(PermissionError, match=r"datasets/org/set and set HF_TOKEN"):
        fetch(gated, [], tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_hub_snapshot_is_taken_at_the_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot(repo: str, **options: Any) -> None:
        asked.update(options, repo=repo)
        (options["local_dir"] / ".cache").mkdir(parents=True)
        (options["local_dir"] / "test.jsonl").write_text("{}\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    notes = fetch(entry(source="hub", locator="org/set", revision="a" * 40), [], tmp_path / "raw")
    assert (asked["repo"], asked["revision"], asked["repo_type"]) == ("org/set", "a" * 40, "dataset")
    assert [p.name for p in (tmp_path / "raw/repo").iterdir()] == ["test.jsonl"]
    assert notes["revision"] == "a" * 40


def test_short_revision_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commits = [SimpleNamespace(commit_id=c * 40) for c in "ab"]
    fake = SimpleNamespace(list_repo_commits=lambda repo, repo_type: commits)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    assert resolve_revision("org/set", "dataset", "bbb") == "b" * 40
    assert resolve_revision("org/set", "dataset", "main") == "a" * 40
    with pytest.raises(ValueError, match="0 commits start with 'ccc'"):
        resolve_revision("org/set", "dataset", "ccc")


def test_model_lines_are_remotes() -> None:
    line = entry(source="hub").model_dump(exclude={"kind", "adapter", "mirror", "parts"})
    assert Model.model_validate({**line, "gated": "no", "format": "folder"}).format == "folder"
