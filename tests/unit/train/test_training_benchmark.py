"""The benchmark of training measures what it says: equal losses and gradients, operations as counted."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture
def benchmark(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`benchmarks/training.py`, with a tiny shape."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    spec = importlib.util.spec_from_file_location("training_benchmark", root / "benchmarks" / "training.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SHAPES["tiny"] = (2, 32, 64, 4, 2, 8192)
    monkeypatch.setattr("scoring.PEAK", 64)
    return module


def ways_of(benchmark: ModuleType, folder: Path, names: list[str]) -> Any:
    """Some ways of the case of pairs."""
    model = benchmark.build("tiny", None).train()
    return benchmark.CASES["pairs"][0](model, benchmark.inputs("pairs", 0.02, 0), folder, names)


@pytest.mark.parametrize("case", ["pairs", "configuration-major", "dpo"])
def test_every_way_is_measured_and_equal(benchmark: ModuleType, case: str, tmp_path: Path) -> None:
    make, names = benchmark.CASES[case]
    pairs = benchmark.inputs(case, 0.02, 0)
    ways = make(benchmark.build("tiny", None).train(), pairs, tmp_path, names)
    lines = benchmark.lines(case, ways, pairs, benchmark.compare(ways, 1))
    assert [line.split(" | ")[1] for line in lines] == names[1:]
    for cells in (line.split(" | ") for line in lines):
        assert int(cells[2]) > int(cells[3])


def test_other_gradients_are_an_error(benchmark: ModuleType, tmp_path: Path) -> None:
    ways = ways_of(benchmark, tmp_path, ["csrm", "TRL"])
    ways["TRL"].trainer.model.model.norm.weight.data *= 3
    with pytest.raises(SystemExit, match="losses differ by"):
        benchmark.compare(ways, 1)


def test_operations_are_counted_as_by_torch(benchmark: ModuleType, tmp_path: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    pairs = benchmark.inputs("pairs", 0.02, 0)
    way = ways_of(benchmark, tmp_path, ["TRL"])["TRL"]
    way.trainer.model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        benchmark.step(way)
    config, length = way.trainer.model.config, 18
    causal = 3 * benchmark.flops(config, 0, 8 * length * (length + 1) // 2)
    whole = 3 * benchmark.flops(config, 0, 8 * length * length)
    head = 4 * 8 * length * config.hidden_size
    assert benchmark.operations(way, pairs) - causal + whole == counter.get_total_flops() - head


def test_memory_of_a_step_is_measured(benchmark: ModuleType, tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("a step's memory is read from /proc, which Linux alone has")
    ways = ways_of(benchmark, tmp_path, ["csrm"])
    assert 0 <= benchmark.added(ways["csrm"]) < 1000 and torch.is_grad_enabled()
