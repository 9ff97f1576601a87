"""Files: atomic writes, JSON lines, hashes."""

import hashlib
from pathlib import Path

import pytest
from pydantic import BaseModel

from csrm import files


class Pair(BaseModel):
    name: str
    count: int = 0


def test_atomic_writes_the_whole_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "deep" / "a.txt", "hellö")
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "hellö"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_atomic_leaves_nothing_behind_on_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stopped")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_replaces_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    files.write_text(target / "old", "1")
    with files.atomic_folder(target) as temporary:
        files.write_text(temporary / "new", "2")
    assert [p.name for p in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), files.atomic_folder(target) as temporary:
        files.write_text(temporary / "half", "3")
        raise RuntimeError("stopped")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_equal_data_give_equal_json_bytes(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [0.1]})
    files.write_json(tmp_path / "b.json", {"a": [0.1], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.read_json(tmp_path / "a.json") == {"a": [0.1], "b": 1}


def test_rows_round_trip(tmp_path: Path) -> None:
    rows = [Pair(name="a", count=2), Pair(name="b")]
    assert files.write_rows(tmp_path / "rows.jsonl", rows) == 2
    assert files.read_rows(tmp_path / "rows.jsonl", Pair) == rows
    assert (tmp_path / "rows.jsonl").read_text().splitlines()[1] == '{"name": "b"}'


def test_failing_rows_leave_no_file(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield {"a": 1}
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        files.write_rows(tmp_path / "rows.jsonl", broken())
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n\n{"name": "b", "count": "many"}\n')
    with pytest.raises(ValueError, match=r"row 2 is not a valid Pair(.|\n)*count"):
        files.read_rows(path, Pair)
    path.write_text('{"name": "a"}\n{"name"\n')
    with pytest.raises(ValueError, match="line 2: not valid JSON"):
        files.read_rows(path, Pair)


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_folder_hash_covers_names_and_bytes_but_not_manifests(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    files.write_text(folder / "b" / "weights.bin", "1")
    files.write_text(folder / "config.json", "{}")
    before = files.sha256(folder)
    files.write_text(folder / "manifest.json", "{}")
    files.write_text(folder / "b" / "weights.bin.manifest.json", "{}")
    assert files.sha256(folder) == before
    (folder / "config.json").rename(folder / "settings.json")
    renamed = files.sha256(folder)
    (folder / "b" / "weights.bin").write_text("2")
    assert len({before, renamed, files.sha256(folder)}) == 3


def test_text_id_ignores_case_and_space() -> None:
    assert files.text_id("How  to\nbake Bread") == files.text_id("how to bake bread")
    assert files.text_id("how to bake bread") != files.text_id("how to bake breads")
    assert len(files.text_id("x", length=8)) == 8
