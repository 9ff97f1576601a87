"""What the trainers of a policy share: the LoRA adapter, and arguments of TRL's configurations."""

from pathlib import Path
from typing import Any

from csrm.files import read_json, write_json
from csrm.settings import AlignSettings, CosaSettings


def lora(settings: AlignSettings | CosaSettings) -> Any:
    """A LoRA adapter on every linear layer."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def arguments(
    settings: AlignSettings | CosaSettings, steps: int, seed: int, scratch: str | Path, half: bool
) -> dict[str, Any]:
    """The settings' optimiser and memory, one log line a step, nothing saved on the way."""
    import torch

    return {
        "output_dir": str(scratch),
        "max_steps": steps,
        "learning_rate": settings.learning_rate,
        **settings.optimiser(steps),
        "weight_decay": 0.0,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "bf16": half,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "seed": seed,
        "data_seed": seed,
    }


def save_adapter(model: Any, output: Path) -> None:
    """Save the adapter so that equal runs give equal bytes: PEFT writes sets in arbitrary order."""
    model.save_pretrained(str(output), safe_serialization=True)
    (output / "README.md").unlink(missing_ok=True)
    config = read_json(output / "adapter_config.json")
    write_json(output / "adapter_config.json", {**config, "target_modules": sorted(config["target_modules"])})


def batches(settings: AlignSettings | CosaSettings) -> dict[str, Any]:
    """An update of `batch_pairs` pairs, `device_pairs` of them in one forward pass."""
    size = settings.device_pairs or settings.batch_pairs
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": settings.accumulation}
