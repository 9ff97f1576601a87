"""What training costs before anything is spent: tokens, floating-point operations, device-hours and memory.

Operations. A matrix product with P weights costs 2P per token forward, 2P for the gradient of its input and 2P for the
gradient of its weights (Kaplan et al. 2020, section 2.1). Attention over a row of L tokens adds two products of
2 L heads head_dim each per layer and token, forward, and twice that backward (Chowdhery et al. 2022, appendix B).
That is attention to a whole row, an upper bound: the program computes a token's ancestors alone, block by block
(`csrm.train.tree_attention`). Gradient checkpointing repeats the forward pass of the layers. The last
layer computes keys and values of every token and all else at answers only, where the vocabulary is projected.

Memory. Weights are float32 (4 bytes), gradients 4 and the two moments of AdamW 8 for each trained parameter: the 16
bytes of Rajbhandari et al. 2020, section 3.1, without the low-precision copy, which is counted apart: whole on one
device, two layers at a time where weights are sharded. Activations are the tensors that a layer keeps for its backward
pass, counted as by Korthikanti et al. 2022, section 4, for a gated layer with fused attention.
"""

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from csrm.settings import Settings, TrainSettings, load
from csrm.speed import ASSUMED, H100_TFLOPS, Speed, taken_speed
from csrm.work import Work, work_from_groups, work_from_settings
from csrm.yaml_reader import read_yaml

GIB = 2**30


class Architecture(NamedTuple):
    """Shape of a Llama-like decoder: gated feed-forward layers, grouped queries, RMS norms."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrix products."""
        queries_and_output = 2 * self.hidden * self.head_dim * self.heads
        return queries_and_output + self.key_value_matrices + 3 * self.hidden * self.intermediate

    @property
    def key_value_matrices(self) -> int:
        """Weights of one layer's products that make keys and values."""
        return 2 * self.hidden * self.head_dim * self.kv_heads

    @property
    def embeddings(self) -> int:
        """Weights of one embedding matrix."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights."""
        layers = self.layers * (self.layer_matrices + 2 * self.hidden)
        return layers + self.hidden + self.embeddings * (1 if self.tied else 2)


class Cost(NamedTuple):
    """Cost of one training run; memory in bytes a device."""

    parameters: int
    tokens: float
    operations: float
    device_hours: float
    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def memory(self) -> float:
        """Bytes a device needs in all."""
        return self.weights + self.gradients + self.optimizer + self.activations


def load_architectures(config_dir: str | Path) -> dict[str, Architecture]:
    """Read `config/architectures.tsv` as model id -> shape."""
    with (Path(config_dir) / "architectures.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader((line for line in table if not line.startswith("#")), delimiter="\t"))
    sizes = [name for name in Architecture._fields if name != "tied"]
    return {r["id"]: Architecture(tied=r["tied"] == "yes", **{name: int(r[name]) for name in sizes}) for r in rows}


def architecture_of(config: Any) -> Architecture:
    """The shape of a loaded model, from its Transformers configuration."""
    return Architecture(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
    )


def trained_parameters(shape: Architecture, settings: TrainSettings) -> int:
    """Weights that get a gradient: all but the input embeddings (and what is tied to them), or the LoRA adapters."""
    if settings.method == "full":
        return shape.parameters - shape.embeddings
    inner, outer = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = 2 * (shape.hidden + inner) + 2 * (shape.hidden + outer) + 3 * (shape.hidden + shape.intermediate)
    return settings.lora_rank * sides * shape.layers


def operations_per_token(shape: Architecture, settings: TrainSettings, row: float) -> float:
    """Floating-point operations that training spends on one token of a row of `row` tokens, without answers."""
    forward = 2.0 * ((shape.layers - 1) * shape.layer_matrices + shape.key_value_matrices)
    attention = (shape.layers - 1) * _attention(shape, row)
    linear, mixing = _passes(settings)
    return linear * forward + mixing * attention


def operations_per_answer(shape: Architecture, settings: TrainSettings, row: float) -> float:
    """Floating-point operations of one answer in a row of `row` tokens: the last layer, and the vocabulary.

    A projection to the vocabulary that is frozen saves its gradient.
    """
    forward = 2.0 * (shape.layer_matrices - shape.key_value_matrices)
    linear, mixing = _passes(settings)
    frozen = shape.tied or settings.method == "lora"
    return linear * forward + mixing * _attention(shape, row) + (4.0 if frozen else 6.0) * shape.embeddings


def _attention(shape: Architecture, row: float) -> float:
    """Operations of attention forward, of one token in one layer."""
    return 4.0 * shape.heads * shape.head_dim * row


def _passes(settings: TrainSettings) -> tuple[int, int]:
    """Products of a step for each forward: those with a matrix, and attention's; a frozen matrix saves its gradient."""
    again = settings.gradient_checkpointing
    return (3 if settings.method == "full" else 2) + again, 3 + again


def activation_bytes(shape: Architecture, settings: TrainSettings, rows: float, row: float) -> float:
    """Bytes that the backward pass needs kept from one forward pass of `rows` rows of `row` tokens.

    Per layer and token: three tensors of either norm, queries, keys, values and attention's output, and four tensors of
    the gated feed-forward; of the last layer its first norm, keys and values. With checkpointing: the inputs of all
    layers, and one layer in full.
    """
    number = 4 if settings.dtype == "float32" else 2
    layer = 6.0 * shape.hidden + 2 * (shape.heads + shape.kv_heads) * shape.head_dim + 4 * shape.intermediate
    last = 3.0 * shape.hidden + 2 * shape.kv_heads * shape.head_dim
    kept = shape.layers * shape.hidden + layer if settings.gradient_checkpointing else (shape.layers - 1) * layer + last
    return number * rows * row * kept


def training_cost(shape: Architecture, settings: TrainSettings, work: Work, speed: Speed) -> Cost:
    """Cost of training `shape` on `work`, with weights and batch sharded as by ZeRO stage 3 or FSDP."""
    devices = speed.devices
    per_token = operations_per_token(shape, settings, work.row)
    operations = work.tokens * per_token + work.answers * operations_per_answer(shape, settings, work.row)
    trained = trained_parameters(shape, settings)
    copied = shape.parameters if devices == 1 else 2 * shape.layer_matrices
    copy = 0 if settings.dtype == "float32" else 2 * copied
    return Cost(
        parameters=shape.parameters,
        tokens=work.tokens,
        operations=operations,
        device_hours=operations / (speed.tflops * 1e12 * speed.utilisation) / 3600,
        weights=4 * shape.parameters / devices + copy,
        gradients=4 * trained / devices,
        optimizer=8 * trained / devices,
        activations=activation_bytes(shape, settings, settings.device_groups, work.row),
    )


def to_markdown(costs: Mapping[str, Cost], assumptions: Sequence[str]) -> str:
    """One line a variant, and their sum."""
    head = ["variant", "parameters", "tokens", "FLOPs", "device-hours"]
    head += [f"{part}, GiB" for part in ("weights", "gradients", "optimiser", "activations", "all on a device")]
    lines = [f"- {line}" for line in assumptions] + ["", _line(head), _line(["---"] * len(head))]
    for name, cost in costs.items():
        parts = (cost.weights, cost.gradients, cost.optimizer, cost.activations, cost.memory)
        sizes = [f"{cost.parameters / 1e6:.1f}M", f"{cost.tokens:.3g}", f"{cost.operations:.3g}"]
        lines.append(_line([name, *sizes, f"{cost.device_hours:.3g}", *(f"{part / GIB:.2f}" for part in parts)]))
    tokens, operations = sum(c.tokens for c in costs.values()), sum(c.operations for c in costs.values())
    total = [
        "all together",
        "",
        f"{tokens:.3g}",
        f"{operations:.3g}",
        f"{sum(c.device_hours for c in costs.values()):.3g}",
    ]
    lines.append(_line([*total, *[""] * (len(head) - len(total))]))
    return "\n".join(lines) + "\n"


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def price(
    settings: Settings,
    config_dir: Path,
    speed: Speed,
    work_of: Callable[[TrainSettings], Work] | None = None,
    shape: Architecture | None = None,
) -> str:
    """The table of what training each reward model of the run costs, and all of them; nothing else is priced.

    Args:
        settings: the run's.
        config_dir: folder of the variants and architectures.
        speed: devices, and how fast they are.
        work_of: tokens and answers of a model's training (None: the upper bound of its settings).
        shape: of the backbone (None: that of config/architectures.tsv).
    """
    from csrm.variants import load_variants, variant_draws, variant_settings

    shapes, table = load_architectures(config_dir), load_variants(config_dir)
    variants = variant_settings(table, settings.train)
    variant_draws(table, settings.train, settings.augment)  # refuses wrong overrides of `augment` too
    costs, sources = {}, dict[str, None]()
    for name, chosen in variants.items():
        work = (work_of or work_from_settings)(chosen)
        own = shape or _listed_shape(shapes, chosen.backbone)
        own = own._replace(layers=chosen.kept_layers or own.layers)
        costs[name] = training_cost(own, chosen, work, speed)
        sources[work.source] = None
    named = f"{speed.devices} device{'s' * (speed.devices > 1)}"
    said = f"{named} of {speed.tflops:g} TFLOP/s at {100 * speed.utilisation:.3g} % utilisation ({speed.source})"
    priced = f"training of the reward models at scale {settings.scale}: {'; '.join(sources)}"
    return to_markdown(costs, [priced, said])


def processes(launcher: str | None) -> int:
    """Processes, one a device, that an Accelerate configuration starts (None: one)."""
    return int(read_yaml(launcher)["num_processes"]) if launcher else 1


def run_cost(options: argparse.Namespace) -> None:
    """`csrm cost`: print the table of a scale's variants."""
    speed = _speed(options)
    if options.groups and not (options.backbone and Path(options.backbone).is_dir()):
        raise ValueError(
            f"--groups needs --backbone, a model's folder such as results/models/backbone/smollm2-135m-instruct; got "
            f"{options.backbone}"
        )
    settings = load(options.config_dir, {"scale": options.scale} if options.scale else {})
    train = settings.train.model_copy(update={"variants": options.variants or settings.train.variants})

    def work_of(chosen: TrainSettings) -> Work:
        seed = settings.seed if chosen.seed is None else chosen.seed
        if options.groups:
            return work_from_groups(chosen, options.groups, options.backbone, seed, options.sample)
        return work_from_settings(chosen, options.tokens_per_group)

    shape = _shape_of(options.backbone) if options.backbone else None
    run, place = settings.model_copy(update={"train": train}), options.config_dir
    print(price(run, place, speed, work_of, shape), end="")


def _speed(options: argparse.Namespace) -> Speed:
    """The speed that the options ask for: given, measured or assumed."""
    share = ASSUMED if options.utilisation is None else options.utilisation
    if options.devices < 1 or not 0 < share <= 1:
        raise ValueError(
            f"--devices {options.devices} and --utilisation {share:g}: give 1 device or more, and a share of the peak "
            "above 0 and up to 1"
        )
    if options.manifest:
        return taken_speed(options.devices, options.tflops, options.manifest)
    return Speed(options.devices, options.tflops, share, "assumed" if options.utilisation is None else "as given")


def _shape_of(folder: Path) -> Architecture:
    from transformers import AutoConfig

    return architecture_of(AutoConfig.from_pretrained(folder))


def _listed_shape(shapes: Mapping[str, Architecture], backbone: str) -> Architecture:
    if backbone not in shapes:
        raise ValueError(
            f"backbone {backbone!r} is not in config/architectures.tsv ({sorted(shapes)}): add its line, "
            "or give its folder with --backbone"
        )
    return shapes[backbone]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `csrm cost`."""
    parser = commands.add_parser("cost", help="tokens, FLOPs, device-hours and memory of training, before it is run")
    parser.add_argument("--config-dir", type=Path, default=Path("config"), help="folder of the settings")
    parser.add_argument("--scale", help="scale whose training is priced (default: the run's)")
    parser.add_argument("--variants", nargs="+", help="names in config/variants.yaml (default: train.variants)")
    parser.add_argument("--devices", type=int, default=1, help="accelerators that share weights and batch")
    parser.add_argument("--tflops", type=float, default=H100_TFLOPS, help="peak of a device (default: an H100's)")
    reached = parser.add_mutually_exclusive_group()
    reached.add_argument("--utilisation", type=float, help=f"share of the peak (default: {ASSUMED}, assumed)")
    reached.add_argument(
        "--manifest", type=Path, help="manifest.json of a trained model: its throughput against the peak of --tflops"
    )
    parser.add_argument("--tokens-per-group", type=int, help="mean tokens of a group (default: train.max_length)")
    parser.add_argument("--groups", nargs="+", type=Path, help="training groups to count tokens of; needs --backbone")
    parser.add_argument("--backbone", type=Path, help="model folder, for its tokenizer and shape")
    parser.add_argument("--sample", type=int, default=512, help="groups to count (default: %(default)s)")
    parser.set_defaults(run=run_cost)
