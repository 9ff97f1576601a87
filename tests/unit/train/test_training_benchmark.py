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


def test_operations_of_ours_are_counted_as_by_torch(benchmark: ModuleType, tmp_path: Path) -> None:
    """Products with matrices; attention's, which are batched, are more than counted: blocks see some keys in vain."""
    from torch.utils.flop_counter import FlopCounterMode

    pairs = benchmark.inputs("pairs", 0.02, 0)
    way = ways_of(benchmark, tmp_path, ["csrm"])["csrm"]
    with FlopCounterMode(display=False) as counter:
        benchmark.step(way)
    by_operator = counter.get_flop_counts()["Global"]
    batched = by_operator.pop(torch.ops.aten.bmm)
    config, sequences = way.trainer.model.config, benchmark.sequences_of(pairs)
    seen = benchmark.counts(benchmark.Case("", "", sequences, []))[3]
    last = sum(map(len, sequences))  # of two layers
    attention = 3 * (benchmark.flops(config, 0, seen) + benchmark.flops(config, 0, last)) / 2
    again = 8 * 2 * 2 * 32 * 16  # keys and values of the answers, which nobody reads
    assert benchmark.operations(way, pairs) - attention == sum(by_operator.values()) - again
    assert attention < batched


def test_an_accelerator_that_is_not_there_is_named(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("sys.argv", ["training.py", "--device", "cuda"])
    with pytest.raises(SystemExit, match="--device cuda, but torch sees 0 accelerators: set CUDA_VISIBLE_DEVICES"):
        benchmark.main()


def test_tables_of_a_model_folder_in_bfloat16(
    benchmark: ModuleType, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder's weights are measured, products are bfloat16, and `/ peak` is over the peak that is given."""
    formats = set()
    linear = torch.nn.functional.linear

    def watched(*given: torch.Tensor) -> torch.Tensor:
        formats.add((made := linear(*given)).dtype)
        return made

    def small(case: str, scale: float, seed: int) -> Any:
        return [benchmark.Pair([n + t for t in range(9)], [30 + n, 31], [40 + n, 41, 42]) for n in range(4)]

    monkeypatch.setattr("torch.nn.functional.linear", watched)
    monkeypatch.setattr(benchmark, "inputs", small)
    monkeypatch.setattr(benchmark, "memory_lines", lambda *_: ["no memory"])
    options = ["--model", str(tiny_backbone), "--cases", "pairs", "--quick", "--dtype", "bfloat16", "--peak", "1e-9"]
    monkeypatch.setattr("sys.argv", ["training.py", *options])
    benchmark.main()
    head, names, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{tiny_backbone}: bfloat16, one thread on cpu") and formats == {
        torch.bfloat16,
        torch.float32,
    }
    for line in lines[:2]:
        cells = dict(zip(names.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True))
        utilisation = 1e9 * float(cells["ours, TFLOP"]) / float(cells["ours, s"])
        assert float(cells["ours / peak"]) == pytest.approx(utilisation, rel=0.02)
        assert float(cells["loss"]) < 1e-1 and float(cells["TFLOP"]) > float(cells["ours, TFLOP"])


def test_memory_of_a_step_is_measured(benchmark: ModuleType, tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("a step's memory is read from /proc, which Linux alone has")
    ways = ways_of(benchmark, tmp_path, ["csrm"])
    assert 0 <= benchmark.added(ways["csrm"]) < 1000 and torch.is_grad_enabled()
