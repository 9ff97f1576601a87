"""What a training run did and how fast, for the model's manifest."""

from collections.abc import Sequence
from typing import Any

from csrm.settings import TrainSettings
from csrm.train.dataset import Example
from csrm.train.launch import processes


def measurements(
    examples: Sequence[Example], settings: TrainSettings, config: Any, first_step: int, seconds: float
) -> dict[str, Any]:
    """Counts over the whole run, rates over the steps that this process timed.

    `tokens` are those of all sequences, `tokens_computed` those left once prefixes are shared, `tokens_longest_pass`
    the most of these in one forward pass.
    Peak memory is in MiB: of the process, and of the accelerator when there is one.

    Args:
        examples: in training order.
        settings: the variant's training settings.
        config: Transformers configuration of the model.
        first_step: steps that an earlier process had done.
        seconds: wall time of the steps after those.
    """
    from csrm.cost import architecture_of, operations_per_token

    trees = [len(example.tree) for example in examples]
    passes = [
        sum(trees[start : start + settings.device_groups]) for start in range(0, len(trees), settings.device_groups)
    ]
    timed = trees[first_step * settings.batch_groups :]
    shape = architecture_of(config)
    operations = sum(size * operations_per_token(shape, settings, size) for size in trees) / sum(trees)
    speed = sum(timed) / seconds
    return {
        "processes": processes(),
        "steps": settings.steps,
        "steps_timed": settings.steps - first_step,
        "sequences": sum(len(example.labels) for example in examples),
        "ranking_pairs": sum(len(example.pairs) for example in examples),
        "tokens": sum(example.tokens for example in examples),
        "tokens_computed": sum(trees),
        "tokens_longest_pass": max(passes),
        "tokens_cut": sum(example.cut for example in examples),
        "tokens_per_second": round(speed, 1),
        "flops_per_token": round(operations),
        "flops_per_second": round(operations * speed),
        "train_seconds": round(seconds, 1),
        "peak_memory": _peak_memory(),
    }


def _peak_memory() -> dict[str, int]:
    import resource

    import torch

    found = {"process_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
    if torch.cuda.is_available():
        found["accelerator_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found
