"""Training on shared prefixes against TRL's trainers: ratios of time and memory, medians of repetitions.

    python benchmarks/training.py                 # a random model of 8 layers and width 384; half an hour
    python benchmarks/training.py --shape smollm2 # SmolLM2-135M's shape; hours
    python benchmarks/training.py --model FOLDER  # a trained checkpoint
    python benchmarks/training.py --quick         # two repetitions of a tenth of the lengths
    python benchmarks/training.py --cases pairs configuration-major --device cuda --dtype bfloat16 --peak 989  # an H100

One thread, the same weights and token ids for all, repetitions interleaved. On a processor time is the process' CPU
time, on an accelerator wall time between synchronisations. Weights are float32; `--dtype bfloat16` computes matrix
products in bfloat16 (autocast). A step is what a trainer does with a batch: collation, forward and backward pass, AdamW
(with a rate of 0, so that the weights stay equal). Before anything is timed, losses and gradients must be equal; speed
is printed, never asserted. TRL's reward head is the difference of two answers' embeddings: so it is CSRM's reward.
Memory is of a process of its own: the most that a step adds. `/ peak` divides the operations that each way computes
itself by its time and the speed of a large product in the same run, or by `--peak`: then it is the model FLOPs
utilisation on computed tokens.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from scoring import PEAK, SHAPES, Case, build, counts, flops, seconds
from trainers import CASES, OURS, Pair, Way, inputs, sequences_of, trained

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-1}  # of the loss, nats, and of gradients, relative
SIDE = 8192  # rows and columns of the product whose speed is called an accelerator's peak
HEAD = "| case | against | tokens | computed | s | ours, s | x | TFLOP | ours, TFLOP | x FLOPs | / peak | ours / peak "
HEAD += "| loss | gradients |"


class Measured(NamedTuple):
    """Seconds of a step by way (medians), the machine's GFLOP/s, and how far ours is from TRL: loss, gradients."""

    seconds: dict[str, float]
    peak: float
    loss: float
    gradient: float


def step(way: Way) -> float:
    """One step of training; returns the loss."""
    trainer = way.trainer
    trainer.model.zero_grad()
    with way.around():
        loss = trainer.training_step(trainer.model, trainer.data_collator(way.rows))
    trainer.optimizer.step()
    return loss.item()


def gradient(way: Way) -> torch.Tensor:
    """All gradients of the last step."""
    return torch.cat([p.grad.flatten() for p in trained(way.trainer)])


def compare(ways: dict[str, Way], repeats: int, dtype: str = "float32") -> Measured:
    """Time the ways by turns.

    Raises:
        SystemExit: if ours gives another loss or other gradients than the rest.
    """
    found = {name: (step(way), gradient(way)) for name, way in ways.items()}
    loss, ours = found.pop(OURS)
    losses = max(abs(loss - other) for other, _ in found.values())
    gradients = max(float((ours - other).norm() / other.norm()) for _, other in found.values())
    if max(losses, gradients) > TOLERANCE[dtype]:
        raise SystemExit(f"losses differ by {losses:.1e}, gradients by {gradients:.1e} of their norm")
    device = ways[OURS].trainer.args.device.type
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks = []
    for _ in range(repeats):
        peaks.append(speed(device, dtype))
        for name, way in ways.items():
            times[name].append(elapsed(device, partial(step, way)))
    return Measured({name: median(t) for name, t in times.items()}, median(peaks), losses, gradients)


def elapsed(device: str, work: Callable[[], Any]) -> float:
    """Seconds: CPU time of the process, or wall time of an accelerator."""
    if device == "cpu":
        return seconds(work)[0]
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def speed(device: str, dtype: str) -> float:
    """GFLOP/s of a large product."""
    side = PEAK if device == "cpu" else SIDE
    matrix = torch.ones(side, side, device=device, dtype=getattr(torch, dtype))
    matrix @ matrix
    return 2e-9 * side**3 / elapsed(device, lambda: matrix @ matrix)


def in_format(ways: dict[str, Way], dtype: str) -> dict[str, Way]:
    """The ways, whose forward passes compute matrix products in this number format."""
    for trainer in (way.trainer for way in ways.values()):
        half = {"dtype": torch.bfloat16, "enabled": dtype == "bfloat16"}
        trainer.compute_loss_context_manager = partial(torch.autocast, trainer.args.device.type, **half)
    return ways


def operations(way: Way, pairs: Sequence[Pair]) -> float:
    """Floating-point operations of a step's matrix products; the adapter's own, a few hundredths, are left out.

    A backward pass costs a forward pass for the gradient of the input, and one for that of the weights where they are
    trained; the vocabulary's are not.
    """
    config = way.trainer.model.config
    sequences = sequences_of(pairs)
    tokens, seen, shared, shared_seen = counts(Case("", "", sequences, []))
    if way.shares:
        tokens, seen = shared, shared_seen
    frozen = hasattr(way.trainer.model, "peft_config")
    attention = flops(config, 0, seen)
    if way.last is not None:  # one layer's attention from the last tokens of the sequences alone
        attention += flops(config, 0, sum(map(len, sequences)) - seen) / config.num_hidden_layers
    layers = (3 - frozen + way.again) * flops(config, tokens, 0, way.last) + (3 + way.again) * attention
    return layers + 4.0 * config.hidden_size * config.vocab_size * way.projected


def lines(case: str, ways: dict[str, Way], pairs: Sequence[Pair], measured: Measured) -> list[str]:
    """A line of the table for every way that ours is compared with."""
    own = operations(ways[OURS], pairs)
    rate = 1e-9 / measured.peak
    taken = measured.seconds
    naive, _, computed, _ = counts(Case("", "", sequences_of(pairs), []))
    return [
        f"| {case} | {name} | {naive} | {computed} | {taken[name]:.3g} | {taken[OURS]:.3g} "
        f"| {taken[name] / taken[OURS]:.2f} | {1e-12 * theirs:.3g} | {1e-12 * own:.3g} | {theirs / own:.2f} "
        f"| {rate * theirs / taken[name]:.2f} | {rate * own / taken[OURS]:.2f} "
        f"| {measured.loss:.1e} | {measured.gradient:.1e} |"
        for name, theirs in ((name, operations(way, pairs)) for name, way in ways.items())
        if name != OURS
    ]


def memory(case: str, name: str, options: argparse.Namespace) -> float:
    """MiB that a step adds at most to what a process of its own takes before it."""
    command = [sys.executable, __file__, "--memory-of", case, name]
    command += ["--shape", options.shape, "--seed", str(options.seed)]
    command += ["--device", options.device, "--dtype", options.dtype]
    command += ["--model", options.model] if options.model else []
    command += ["--quick"] if options.quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def added(way: Way) -> float:
    """MiB that a step adds at most to the accelerator, or to this process (Linux)."""
    if way.trainer.args.device.type != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(way)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the largest size so far
    before = _status("VmRSS")
    step(way)
    return (_status("VmHWM") - before) / 2**10


def _status(name: str) -> int:
    """An entry of the process' status, KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def memory_lines(case: str, options: argparse.Namespace) -> list[str]:
    """A line of the table of memory for every way that ours is compared with."""
    taken = {name: memory(case, name, options) for name in CASES[case][1]}
    return [
        f"| {case} | {name} | {mib:.0f} | {taken[OURS]:.0f} | {taken[OURS] / mib:.2f} |"
        for name, mib in taken.items()
        if name != OURS
    ]


def main() -> None:
    """Print the tables, or the memory of one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="FOLDER", help="model folder (default: random weights)")
    parser.add_argument("--shape", choices=SHAPES, default="small", help="of the random weights")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32", help="of matrix products")
    parser.add_argument(
        "--peak", type=float, metavar="TFLOPS", help="of the device, by its data sheet (default: tried)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    visible = torch.cuda.device_count()
    if visible != (options.device == "cuda"):
        raise SystemExit(
            f"--device {options.device}, but torch sees {visible} accelerators: set CUDA_VISIBLE_DEVICES to one of "
            "them for cuda, to nothing for cpu"
        )
    torch.set_num_threads(1)
    model = build(options.shape, options.model).train().to(options.device)
    scale = 0.1 if options.quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        if options.memory_of:
            case, name = options.memory_of
            ways = CASES[case][0](model, inputs(case, scale, options.seed), Path(folder), [name])
            print(added(in_format(ways, options.dtype)[name]))
        else:
            tables(model, scale, Path(folder), options)


def tables(model: Any, scale: float, folder: Path, options: argparse.Namespace) -> None:
    """Time and memory of all cases."""
    repeats = 2 if options.quick else options.repeats
    name = options.model or f"random, {options.shape}"
    where = f"{options.dtype}, one thread on {options.device}"
    print(f"{name}: {where}, medians of {repeats}, seed {options.seed}, torch {torch.__version__}")
    print(f"{HEAD}\n{'|---' * HEAD.count(' | ')}|---|")
    for case in options.cases:
        make, names = CASES[case]
        pairs = inputs(case, scale, options.seed)
        ways = in_format(make(model, pairs, folder, names), options.dtype)
        measured = compare(ways, repeats, options.dtype)
        if options.peak:
            measured = measured._replace(peak=1e3 * options.peak)
        print("\n".join(lines(case, ways, pairs, measured)), flush=True)
    print("\n| case | against | MiB | ours, MiB | ours / theirs |\n|---|---|---|---|---|")
    for case in options.cases:
        print("\n".join(memory_lines(case, options)), flush=True)


if __name__ == "__main__":
    main()
