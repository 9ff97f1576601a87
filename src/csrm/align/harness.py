"""Tasks of lm-evaluation-harness, an optional package: a value of each document, of a policy with its adapters."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from csrm.align.policy import load_policy
from csrm.settings import CapabilitySettings

Values = dict[str, dict[int, float]]


def task_values(policy: Path, adapters: list[Path], settings: CapabilitySettings, seed: int) -> Values:
    """`task, metric` -> document -> value, of the metrics that give every document a number.

    Raises:
        ValueError: if the package is missing, or a task has no such metric.
    """
    if not find_spec("lm_eval"):
        raise ValueError(
            f"capability.tasks {settings.tasks} need lm-evaluation-harness: "
            "pip install -c constraints.txt -e '.[tasks]'"
        )
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    loaded = load_policy(policy, *adapters)
    found: Any = simple_evaluate(
        model=HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=8),
        tasks=list(settings.tasks),
        task_manager=TaskManager(include_path=settings.task_folder),
        limit=settings.limit,
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    values: Values = {}
    for task, samples in found["samples"].items():
        known = {m for m in samples[0]["metrics"] if isinstance(samples[0][m], int | float)}
        if not known:
            raise ValueError(f"task {task!r} gives no number a document, only {samples[0]['metrics']}: leave it out")
        for metric in sorted(known):
            values[f"{task}, {metric}"] = {sample["doc_id"]: float(sample[metric]) for sample in samples}
    return values
