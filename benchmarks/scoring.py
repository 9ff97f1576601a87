"""Shared-prefix scoring against plain Hugging Face batches: ratios of CPU time, medians of interleaved repetitions.

    python benchmarks/scoring.py                          # a random model of SmolLM2-135M's shape; an hour
    python benchmarks/scoring.py --shape small            # 8 layers of width 384; some minutes
    python benchmarks/scoring.py --model FOLDER --quick   # two repetitions of a tenth of the lengths
    python benchmarks/scoring.py --device cuda --dtype bfloat16 --tflops 989   # an H100: MFU of its dense peak

One process, one thread, the same weights and token ids for all. `padded` is a left-padded batch of 8, `alone` one
unpadded sequence at a time; both compute the vocabulary of the last position only, so that they are no straw men.
Time is the processor's of this process, or wall time until the accelerator is done. In float32 on a processor scores
must be equal within 1e-5 nats; speed is printed, never asserted.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from csrm.model.attention import use_grouped_attention
from csrm.model.backends.local import TransformersBackend
from csrm.model.decoder import can_walk
from csrm.model.reward import safe_log_odds
from csrm.model.verbalizer import Verbalizer
from csrm.model.walk import walk

Tokens = list[int]
CONFIG, PROMPT, RESPONSE = 600, 60, 200
SHAPES = {"smollm2": (30, 576, 1536, 9, 3, 49152), "small": (8, 384, 1024, 6, 2, 8192)}
ANSWERS = Verbalizer((11, 12), (13, 14))
COLUMNS = (
    *("case", "input", "tokens", "computed", "s", "x padded", "x alone", "x FLOPs", "GFLOP alone", "GFLOP needed"),
    *("/ peak", "MFU", "gap", "padded's", "same bits"),
)
PEAK = 1536  # rows and columns of the product whose speed is called the peak


class Case(NamedTuple):
    """Sequences to score, and the prefixes that are at hand before (none: cold)."""

    name: str
    what: str
    sequences: list[Tokens]
    cached: list[Tokens]


def cases(scale: float, seed: int, count: int = 20) -> list[Case]:
    """The bars' inputs, random token ids with the lengths of the bars times `scale`; `count` configurations."""
    draw = random.Random(seed)

    def text(length: float) -> Tokens:
        return [draw.randrange(20, 8000) for _ in range(max(2, round(length * scale)))]

    config, prompt = text(CONFIG), text(PROMPT)
    ragged = [config + prompt + text(draw.uniform(100, 300)) for _ in range(8)]
    configs = [text(CONFIG) for _ in range(count)]
    turn = text(PROMPT + RESPONSE)
    preamble = text(0.75 * CONFIG)
    alike = [preamble + text(0.25 * CONFIG) for _ in range(count)]
    turns = [text(PROMPT + RESPONSE) for _ in range(8)]
    grid = [c + t for c in configs[: count // 2] for t in turns]
    many = [c + turn for c in configs]
    return [
        Case("C1, C2", "8 responses of U(100, 300), cold", ragged, []),
        Case("C2 cached", "the same, configuration at hand", ragged, [config]),
        Case("C3", f"{count} configurations x 1 conversation, configurations at hand", many, configs),
        Case("C4", f"{count} configurations sharing 75 %, cold", [c + turn for c in alike], []),
        Case("C5", f"{count // 2} configurations x 8 conversations, cold", grid, []),
    ]


def padded(model: Any, sequences: Sequence[Tokens]) -> list[float]:
    """Left-padded batches of 8, as they come."""
    scores: list[float] = []
    for start in range(0, len(sequences), 8):
        batch = sequences[start : start + 8]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(s)) + s for s in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in batch], device=model.device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1).logits[:, -1]
        scores += safe_log_odds(logits, ANSWERS).tolist()
    return scores


def alone(model: Any, sequences: Sequence[Tokens]) -> list[float]:
    """One sequence at a time."""
    ids = [torch.tensor([s], device=model.device) for s in sequences]
    logits = [model(each, use_cache=False, logits_to_keep=1).logits[0, -1] for each in ids]
    return safe_log_odds(torch.stack(logits), ANSWERS).tolist()


def flops(config: Any, tokens: int, pairs: int, rows: int | None = None) -> float:
    """Multiplications and additions of a forward pass without the vocabulary.

    Args:
        config: the model's.
        tokens: computed tokens.
        pairs: pairs of a token and one that it attends to.
        rows: verdicts, where the last layer computes nothing else (None: all of it).
    """
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads, shared, width = config.num_attention_heads * size, config.num_key_value_heads * size, config.hidden_size
    late = 2 * width * (2 * heads + 3 * config.intermediate_size)
    layer = tokens * (late + 4 * width * shared) + 4.0 * heads * pairs
    if rows is None:
        return config.num_hidden_layers * layer
    mean = pairs / max(1, tokens)
    return (config.num_hidden_layers - 1) * layer + tokens * 4 * width * shared + rows * (late + 4 * heads * mean)


def counts(case: Case) -> tuple[int, int, int, int]:
    """Tokens and attention pairs, one at a time and ours."""
    known = [argparse.Namespace(tokens=tuple(prefix)) for prefix in case.cached]
    pieces = [(p.position, len(p.tokens)) for p in walk([tuple(s) for s in case.sequences], known)]
    each = [(0, len(s)) for s in case.sequences]

    def pairs(runs: list[tuple[int, int]]) -> int:
        return sum(n * start + n * (n + 1) // 2 for start, n in runs)

    return sum(n for _, n in each), pairs(each), sum(n for _, n in pieces), pairs(pieces)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of the process, or wall time where an accelerator computes, and the result."""
    cuda = torch.cuda.is_initialized()
    clock = time.perf_counter if cuda else time.process_time
    finish = torch.cuda.synchronize if cuda else lambda: None
    finish()
    start = clock()
    result = work()
    finish()
    return clock() - start, result


def peak(model: Any) -> float:
    """GFLOP/s of a large product in the model's number format, where it runs."""
    matrix = torch.ones(PEAK, PEAK, device=model.device, dtype=model.dtype)
    return 2e-9 * PEAK**3 / seconds(lambda: matrix @ matrix)[0]


def gap(left: Sequence[float], right: Sequence[float]) -> float:
    """Largest difference of scores."""
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def measure(plain: Any, twin: Any, case: Case, repeats: int, speed: float | None = None) -> str:
    """One line of the table; nothing is at hand but what the case says, where prefixes can be.

    Args:
        plain: transformers' model.
        twin: the same weights, scored by this package.
        case: what to score.
        repeats: interleaved repetitions.
        speed: GFLOP/s to be called the peak (None: of a large product, measured).

    Raises:
        SystemExit: if scores in float32 on a processor differ by more than 1e-5 nats.
    """
    ours = TransformersBackend(twin, ANSWERS)
    if case.cached and not can_walk(twin):
        case = case._replace(what=f"{case.what} (not kept here)", cached=[])
    for prefix in case.cached:
        ours.warm(prefix)
    ways: dict[str, Callable[[], list[float]]] = {
        "padded": lambda: padded(plain, case.sequences),
        "alone": lambda: alone(plain, case.sequences),
        "ours": lambda: ours.log_odds(case.sequences),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[float]] = {}
    peaks = []
    for _ in range(repeats):
        peaks.append(speed or peak(plain))
        for name, way in ways.items():
            taken, scores[name] = seconds(way)
            times[name].append(taken)
    difference = gap(scores["ours"], scores["alone"])
    if difference > 1e-5 and plain.dtype == torch.float32 and plain.device.type == "cpu":
        raise SystemExit(f"{case.name}: scores differ by {difference:.1e} nats from one at a time")
    middle = {name: median(values) for name, values in times.items()}
    their_tokens, their_pairs, tokens, pairs = counts(case)
    naive = flops(plain.config, their_tokens, their_pairs)
    needed = flops(plain.config, tokens, pairs, len(case.sequences) if can_walk(twin) else None)
    cells = [case.name, case.what, f"{their_tokens}", f"{tokens}", f"{middle['ours']:.2f}"]
    cells += [f"{ratio:.2f}" for ratio in (middle["padded"] / middle["ours"], middle["alone"] / middle["ours"])]
    cells += [f"{naive / needed:.2f}", f"{1e-9 * naive:.4g}", f"{1e-9 * needed:.4g}"]
    cells += [f"{1e-9 * work / middle['ours'] / median(peaks):.2f}" for work in (naive, needed)]
    cells += [f"{difference:.1e}", f"{gap(scores['padded'], scores['alone']):.1e}", bitwise(ours, case, scores["ours"])]
    return f"| {' | '.join(cells)} |"


def bitwise(ours: TransformersBackend, case: Case, together: Sequence[float]) -> str:
    """Whether scores are the same bits shuffled, in threes and alone (a few of them)."""
    order = random.Random(0).sample(range(len(case.sequences)), len(case.sequences))[:6]
    shuffled = ours.log_odds([case.sequences[i] for i in order])
    some = ours.log_odds([case.sequences[i] for i in order[:3]])
    single = ours.log_odds([case.sequences[order[0]]])
    expected = [together[i] for i in order]
    return "yes" if (shuffled, some, single) == (expected, expected[:3], expected[:1]) else "no"


def build(shape: str, folder: str | None) -> Any:
    """A random model, or the one in `folder`, in float32."""
    if folder:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    layers, width, inner, heads, groups, words = SHAPES[shape]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def copy_of(model: Any) -> Any:
    """The same weights in a model of its own, whose attention is ours (on a processor)."""
    ours = type(model)._from_config(model.config, dtype=model.dtype).to(model.device)
    ours.load_state_dict(model.state_dict(), assign=True)
    ours.tie_weights()
    use_grouped_attention(ours)
    return ours.eval()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="FOLDER", help="model folder (default: random weights)")
    parser.add_argument("--shape", choices=SHAPES, default="smollm2", help="of the random weights")
    parser.add_argument("--cases", nargs="+", default=[""], help="beginnings of the cases' names (default: all)")
    parser.add_argument("--configs", type=int, default=20, help="configurations of C3 and C4; half as many of C5")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tflops", type=float, help="the device's peak (default: of a large product, measured)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain = build(options.shape, options.model).to(options.device, getattr(torch, options.dtype))
    twin = copy_of(plain)
    repeats, scale = (2, 0.1) if options.quick else (options.repeats, 1.0)
    name = options.model or f"random, {options.shape}"
    clock = "CPU time of one thread" if options.device == "cpu" else f"wall time, {torch.cuda.get_device_name()}"
    print(f"{name}: {options.dtype}, {clock}, medians of {repeats}, seed {options.seed}, torch {torch.__version__}")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    speed = 1e3 * options.tflops if options.tflops else None
    with torch.inference_mode():
        for case in cases(scale, options.seed, options.configs):
            if case.name.startswith(tuple(options.cases)):
                print(measure(plain, twin, case, repeats, speed), flush=True)


if __name__ == "__main__":
    main()
