"""Tasks of lm-evaluation-harness, an optional package: a value of each document, of a policy."""

from importlib.util import find_spec
from typing import Any

from csrm.align.capability import Measured
from csrm.align.policy import Policy
from csrm.settings import CapabilitySettings


def measure_tasks(policy: Policy, settings: CapabilitySettings, seed: int) -> list[Measured]:
    """Value of every document of each `task, metric`, of the metrics that give every document a number.

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

    found: Any = simple_evaluate(
        model=HFLM(pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=8),
        tasks=list(settings.tasks),
        task_manager=TaskManager(include_path=settings.task_folder),
        limit=settings.limit,
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    values = []
    for task, samples in found["samples"].items():
        known = {m for m in samples[0]["metrics"] if isinstance(samples[0][m], int | float)}
        if not known:
            raise ValueError(f"task {task!r} gives no number a document, only {samples[0]['metrics']}: leave it out")
        for metric in sorted(known):
            name = f"{task}, {metric}"
            values += [Measured(measure=name, id=str(row["doc_id"]), value=float(row[metric])) for row in samples]
    return values
