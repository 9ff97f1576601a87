"""Training on shared prefixes against TRL's trainers: ratios of CPU time and memory, medians of repetitions.

    python benchmarks/training.py                 # a random model of 8 layers and width 384; half an hour
    python benchmarks/training.py --shape smollm2 # SmolLM2-135M's shape; hours
    python benchmarks/training.py --quick         # two repetitions of a tenth of the lengths

One thread, float32, the same weights and token ids for all, repetitions interleaved. A step is what a trainer does with
a batch: collation, forward and backward pass, AdamW (with a rate of 0, so that the weights stay equal). Before anything
is timed, losses and gradients must be equal; speed is printed, never asserted. TRL's reward head is the difference of
two answers' embeddings, which makes it CSRM's reward. Memory is of a process of its own: the most that a step adds.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from scoring import SHAPES, Case, build, counts, flops, peak, seconds
from trainers import CASES, OURS, Pair, Way, inputs, sequences_of, trained

TOLERANCE = 1e-5  # of the loss, nats, and of gradients, relative
HEAD = "| case | against | tokens | computed | s | ours, s | x | x FLOPs | / peak | ours / peak | loss | gradients |"


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


def compare(ways: dict[str, Way], repeats: int) -> Measured:
    """Time the ways by turns.

    Raises:
        SystemExit: if ours gives another loss or other gradients than the rest.
    """
    found = {name: (step(way), gradient(way)) for name, way in ways.items()}
    loss, ours = found.pop(OURS)
    losses = max(abs(loss - other) for other, _ in found.values())
    gradients = max(float((ours - other).norm() / other.norm()) for _, other in found.values())
    if max(losses, gradients) > TOLERANCE:
        raise SystemExit(f"losses differ by {losses:.1e}, gradients by {gradients:.1e} of their norm")
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks = []
    for _ in range(repeats):
        peaks.append(peak())
        for name, way in ways.items():
            times[name].append(seconds(partial(step, way))[0])
    return Measured({name: median(t) for name, t in times.items()}, median(peaks), losses, gradients)


def operations(way: Way, pairs: Sequence[Pair]) -> float:
    """Floating-point operations of a step's matrix products; the adapter's own, a few hundredths, are left out.

    A backward pass costs a forward pass for the gradient of the input, and one for that of the weights where they are
    trained; the vocabulary's are not.
    """
    config = way.trainer.model.config
    tokens, pairs_seen, shared, shared_seen = counts(Case("", "", sequences_of(pairs), []))
    if way.shares:
        tokens, pairs_seen = shared, shared_seen
    frozen = hasattr(way.trainer.model, "peft_config")
    layers = (3 - frozen + way.again) * flops(config, tokens, 0) + (3 + way.again) * flops(config, 0, pairs_seen)
    return layers + 4.0 * config.hidden_size * config.vocab_size * way.projected


def lines(case: str, ways: dict[str, Way], pairs: Sequence[Pair], measured: Measured) -> list[str]:
    """A line of the table for every way that ours is compared with."""
    own = operations(ways[OURS], pairs)
    rate = 1e-9 / measured.peak
    taken = measured.seconds
    naive, _, computed, _ = counts(Case("", "", sequences_of(pairs), []))
    return [
        f"| {case} | {name} | {naive} | {computed} | {taken[name]:.2f} | {taken[OURS]:.2f} "
        f"| {taken[name] / taken[OURS]:.2f} | {operations(way, pairs) / own:.2f} "
        f"| {rate * operations(way, pairs) / taken[name]:.2f} | {rate * own / taken[OURS]:.2f} "
        f"| {measured.loss:.1e} | {measured.gradient:.1e} |"
        for name, way in ways.items()
        if name != OURS
    ]


def memory(case: str, name: str, options: argparse.Namespace) -> float:
    """MiB that a step adds at most to what a process of its own takes before it."""
    command = [sys.executable, __file__, "--memory-of", case, name]
    command += ["--shape", options.shape, "--seed", str(options.seed)]
    command += ["--model", options.model] if options.model else []
    command += ["--quick"] if options.quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def added(way: Way) -> float:
    """MiB that a step adds at most to this process (Linux)."""
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build(options.shape, options.model).train()
    scale = 0.1 if options.quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        if options.memory_of:
            case, name = options.memory_of
            print(added(CASES[case][0](model, inputs(case, scale, options.seed), Path(folder), [name])[name]))
        else:
            tables(model, scale, Path(folder), options)


def tables(model: Any, scale: float, folder: Path, options: argparse.Namespace) -> None:
    """Time and memory of all cases."""
    repeats = 2 if options.quick else options.repeats
    name = options.model or f"random, {options.shape}"
    print(f"{name}: float32, one thread, medians of {repeats}, seed {options.seed}, torch {torch.__version__}")
    print(f"{HEAD}\n{'|---' * HEAD.count(' | ')}|---|")
    for case in options.cases:
        make, names = CASES[case]
        pairs = inputs(case, scale, options.seed)
        ways = make(model, pairs, folder, names)
        print("\n".join(lines(case, ways, pairs, compare(ways, repeats))), flush=True)
    print("\n| case | against | MiB | ours, MiB | ours / theirs |\n|---|---|---|---|---|")
    for case in options.cases:
        print("\n".join(memory_lines(case, options)), flush=True)


if __name__ == "__main__":
    main()
