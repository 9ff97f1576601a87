"""The benchmark of scoring measures what it says: equal scores, tokens and operations as counted."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="module")
def benchmark(root: Path) -> ModuleType:
    """`benchmarks/scoring.py`, with a tiny shape."""
    spec = importlib.util.spec_from_file_location("scoring_benchmark", root / "benchmarks" / "scoring.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SHAPES["tiny"] = (2, 32, 64, 4, 2, 8192)
    module.PEAK = 64
    return module


def test_every_case_is_measured_and_equal(benchmark: ModuleType) -> None:
    plain = benchmark.build("tiny", None)
    twin = benchmark.copy_of(plain)
    with torch.inference_mode():
        for case in benchmark.cases(0.02, 0):
            cells = benchmark.measure(plain, twin, case, 1).split(" | ")
            assert len(cells) == len(benchmark.COLUMNS)
            assert float(cells[8]) / float(cells[9]) == pytest.approx(float(cells[7]), rel=0.01)
            assert float(cells[11]) * float(cells[7]) == pytest.approx(float(cells[10]), abs=0.02 * float(cells[7]))
            assert int(cells[2]) == sum(map(len, case.sequences)) > int(cells[3]) and float(cells[7]) > 1


def test_different_scores_are_an_error(benchmark: ModuleType) -> None:
    plain = benchmark.build("tiny", None)
    other = benchmark.copy_of(plain)
    other.model.norm.weight = torch.nn.Parameter(torch.full((32,), 3.0))
    with torch.inference_mode(), pytest.raises(SystemExit, match="scores differ by"):
        benchmark.measure(plain, other, benchmark.cases(0.02, 0)[0], 1)


def test_operations_are_counted_as_by_torch(benchmark: ModuleType) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    plain = benchmark.build("tiny", None)
    plain.set_attn_implementation("eager")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        plain.model(torch.zeros(1, 50, dtype=torch.long))
    assert benchmark.flops(plain.config, 50, 50 * 50) == counter.get_total_flops()


def test_other_number_formats_are_measured_too(benchmark: ModuleType) -> None:
    plain = benchmark.build("tiny", None).to(torch.bfloat16)
    twin = benchmark.copy_of(plain)
    assert twin.dtype == torch.bfloat16
    with torch.inference_mode():
        cells = benchmark.measure(plain, twin, benchmark.cases(0.02, 0)[0], 1, speed=1e-3).split(" | ")
    assert float(cells[11]) > 1, "faster than a million operations a second"
