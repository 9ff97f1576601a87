"""The benchmark of the workflow's own cost: its functions on tiny input; no time is asserted."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from csrm import remembered
from csrm.files import write_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workflow_benchmark", ROOT / "benchmarks" / "workflow.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_is_timed_and_checked(benchmark: ModuleType, tmp_path: Path) -> None:
    cost = benchmark.command([sys.executable, "-c", "print(sum(range(10**6)))"], tmp_path, "499999500000")
    assert min(cost) > 0
    for code in ("print('other')", "print('expected'); exit(1)"):
        with pytest.raises(SystemExit, match="expected 'expected', got"):
            benchmark.command([sys.executable, "-c", code], tmp_path, "expected")


def test_ways_take_turns_and_the_first_round_does_not_count(benchmark: ModuleType) -> None:
    order: list[str] = []

    def way(name: str, times: list[float]) -> object:
        left = iter(times)
        return lambda: (order.append(name), benchmark.Cost(value := next(left), 2 * value))[1]

    found = benchmark.medians({"a": way("a", [9, 1, 3, 2]), "b": way("b", [9, 4, 4, 5])}, 3)
    assert found == {"a": (2, 4), "b": (4, 8)} and order == ["a", "b"] * 4
    assert benchmark.table(found, "a") == ["| a | 2 | 4 | 1 | 1 |", "| b | 4 | 8 | 2 | 2 |"]


def test_the_unchanged_file_is_not_read(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remembered, "LARGE", 1)
    read: list[Path] = []
    digest = remembered.file_digests
    monkeypatch.setattr(remembered, "file_digests", lambda *given: (read.append(given[0]), digest(*given))[1])
    benchmark.medians(benchmark.hashes(1000, tmp_path), 3)
    assert (tmp_path / "large").stat().st_size == 1000 and len(read) == 1


def test_commands_need_no_more_than_they_copy(benchmark: ModuleType, tmp_path: Path) -> None:
    ways = benchmark.commands(tmp_path / "finished", ["scale=smoke"], tmp_path / "scratch", 3)
    assert len(list((tmp_path / "scratch" / "nothing").glob("*.done"))) == 3
    found = {name: ways[name]() for name in (benchmark.EMPTY, benchmark.JOBS, "`csrm --help`", "dry run, nothing made")}
    assert all(min(cost) > 0 for cost in found.values())


def test_commands_that_import_torch_are_counted_once(benchmark: ModuleType, tmp_path: Path) -> None:
    for name, words, threads in (("a", ["csrm", "train"], 1), ("b", ["csrm", "train"], 1), ("c", ["csrm", "x"], None)):
        write_json(tmp_path / f"{name}.manifest.json", {"command": words, "hardware": {"threads": threads}})
    write_json(tmp_path / "manifest.json", {"name": "another tool's"})
    assert benchmark.torch_users(tmp_path) == ({"train": 1}, 2)
