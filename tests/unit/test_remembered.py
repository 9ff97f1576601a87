"""Remembered hashes: an unchanged large file is read once, a changed one again, and a damaged memory is none."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from csrm import remembered
from csrm.files import file_digests, sha256, write_text
from csrm.remembered import remembered_digest, remembered_digests


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read in full, in a working folder of a workflow where every file is a large one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remembered, "LARGE", 1)
    monkeypatch.setattr(remembered, "TICK", 0)
    Path(".snakemake").mkdir()
    seen: list[Path] = []

    def counted(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
        seen.append(path)
        return file_digests(path, algorithms)

    monkeypatch.setattr(remembered, "file_digests", counted)
    return seen


def _write(path: str, text: str) -> Path:
    """A file whose ctime is no whole second, and before now."""
    Path(path).write_text(text)
    while Path(path).stat().st_ctime_ns % 10**9 == 0 or time.time_ns() <= Path(path).stat().st_ctime_ns:
        time.sleep(0.001)
        Path(path).write_text(text)
    return Path(path)


def _digest(text: str, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, text.encode()).hexdigest()


def _entries() -> list[Path]:
    return sorted(Path(".snakemake/csrm-hashes").glob("*"))


def test_an_unchanged_file_is_read_once(read: list[Path]) -> None:
    path = _write("weights", "abc")
    assert [remembered_digest(path) for _ in range(3)] == [_digest("abc")] * 3
    assert remembered_digest(path.absolute()) == _digest("abc")
    assert read == [path]
    assert remembered_digest(path, "md5") == _digest("abc", "md5") and len(_entries()) == 2


def test_every_change_is_seen(read: list[Path]) -> None:
    path = _write("weights", "abc")
    remembered_digest(path)
    before = path.stat()
    _write("weights", "abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert remembered_digest(path) == _digest("abd")
    _write("other", "abe").replace(path)
    assert remembered_digest(path) == _digest("abe")
    assert len(read) == 3 and len(_entries()) == 1


def test_folders_are_hashed_as_ever(read: list[Path]) -> None:
    Path("model/deep").mkdir(parents=True)
    for name in ("weights", "deep/config", "manifest.json"):
        _write(f"model/{name}", name)
    assert [sha256("model", remembered_digest) for _ in range(2)] == [sha256("model")] * 2
    assert len(read) == 2


def test_several_digests_take_one_reading(read: list[Path]) -> None:
    path = _write("weights", "abc")
    expected = {name: _digest("abc", name) for name in ("md5", "sha256")}
    assert [remembered_digests(path, list(expected)) for _ in range(2)] == [expected] * 2
    assert read == [path]
    path = _write("weights", "abcd")
    remembered_digest(path)
    assert remembered_digests(path, ["sha256", "md5"])["md5"] == _digest("abcd", "md5") and len(read) == 3


def test_what_was_just_written_is_read_a_tick_later_and_remembered(
    read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second write within a tick of the clock could leave the times as they are."""
    monkeypatch.setattr(remembered, "TICK", 2 * 10**8)
    path = _write("weights", "abc")
    remembered_digest(path)
    assert time.time_ns() > path.stat().st_ctime_ns + 2 * 10**8
    remembered_digest(path)
    assert read == [path]


@pytest.mark.parametrize("ctime", [5 * 10**9, 2**63])
def test_rounded_times_and_clocks_ahead_are_not_trusted(
    ctime: int, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write("weights", "abc")
    state = remembered._state(path)
    monkeypatch.setattr(remembered, "_state", lambda path: {**state, "ctime_ns": ctime})
    assert [remembered_digest(path), remembered_digest(path)] == [_digest("abc")] * 2
    assert len(read) == 2 and not _entries()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
        digests = file_digests(path, algorithms)
        _write(str(path), "abcd")
        return digests

    monkeypatch.setattr(remembered, "file_digests", slow)
    assert remembered_digest(_write("weights", "abc")) == _digest("abc")
    assert not _entries()


@pytest.mark.parametrize("damage", ["", "{}", "x {}", "[1", "\0\udcff", "flip"])
def test_a_damaged_memory_is_none(read: list[Path], damage: str) -> None:
    path = _write("weights", "abc")
    remembered_digest(path)
    (entry,) = _entries()
    flipped = entry.read_text().replace(_digest("abc")[:8], "00000000")
    entry.write_bytes((flipped if damage == "flip" else damage).encode(errors="surrogateescape"))
    assert [remembered_digest(path), remembered_digest(path)] == [_digest("abc")] * 2
    assert len(read) == 2, "read again, and remembered again"


def test_an_entry_that_cannot_be_written_costs_time_only(read: list[Path]) -> None:
    write_text(".snakemake/csrm-hashes", "a file where the folder should be")
    path = _write("weights", "abc")
    assert [remembered_digest(path), remembered_digest(path)] == [_digest("abc")] * 2
    assert len(read) == 2


def test_small_files_and_other_folders_leave_nothing(read: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write("weights", "abc")
    monkeypatch.setattr(remembered, "LARGE", 4)
    remembered_digest(path)
    assert not _entries()
    monkeypatch.setattr(remembered, "LARGE", 1)
    Path(".snakemake").rmdir()
    remembered_digest(path)
    assert not Path(".snakemake").exists()


def test_a_missing_file_is_an_error(read: list[Path]) -> None:
    with pytest.raises(FileNotFoundError):
        remembered_digest(Path("nowhere"))
