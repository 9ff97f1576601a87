"""Settings of a run that bear on its numbers and differ from the files of its scale."""

from pathlib import Path

from csrm.settings import Settings, load

LEFT_OUT = {
    "data": (),
    "augment": ("compared", "concurrency", "llm"),
    "train": (
        "variants",
        "seeds",
        "seed",
        "device_groups",
        "checkpoint_steps",
        "gradient_checkpointing",
        "deterministic",
        "launcher",
        "report_to",
    ),
}
"""Stages of which every setting but these bears on what is measured; these select, or say where and how it runs."""
KEPT = {"score": ("max_length", "dtype"), "metrics": ("threshold", "parse_failure")}
"""Stages of which only these do (`score.item_cap` is counted where items are)."""


def differences(settings: Settings, config_dir: str | Path) -> list[str]:
    """Names such as `train.steps`, in the settings' order, that the run has otherwise than its scale's files."""
    declared = load(config_dir, {"scale": settings.scale})
    found = []
    for stage in (*LEFT_OUT, *KEPT):
        ours, theirs = getattr(settings, stage), getattr(declared, stage)
        names = KEPT.get(stage) or [name for name in type(ours).model_fields if name not in LEFT_OUT[stage]]
        found += [f"{stage}.{name}" for name in names if getattr(ours, name) != getattr(theirs, name)]
    return found + ["augment.llm.model"] * (settings.augment.llm.model != declared.augment.llm.model)
