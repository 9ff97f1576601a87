"""CoSAlign's two stages on TRL (CoSA, section 4.3): fine-tuning on chosen responses, then DPO from there.

Both train a LoRA adapter (CoSA trains all weights; its ablation trains LoRA). The reference of DPO is the fine-tuned
policy: the first adapter is merged into the weights that the second starts from.
"""

import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from csrm.align.adapter import arguments, batches, lora, save_adapter
from csrm.align.dpo import MAX_DROPPED, Trained, train_policy
from csrm.align.policy import Dtype, fast_dtype, load_tokenizer, merged, prompt_ids, response_ids
from csrm.cosa.schema import Pair
from csrm.settings import CosaSettings


def targets(pairs: Sequence[Pair]) -> list[Pair]:
    """One pair for each distinct rendered prompt, the last; its chosen response is what fine-tuning learns."""
    return list({tuple(m.content for m in pair.prompt): pair for pair in pairs}.values())


def tokenise(tokenizer: Any, pairs: Sequence[Pair], max_length: int) -> tuple[list[dict[str, Any]], int]:
    """Rows (`input_ids`, `completion_mask`) and how many were too long; those are left out whole, never cut.

    Raises:
        ValueError: if there is no row, or more than `MAX_DROPPED` of them are too long.
    """
    rows = []
    for pair in pairs:
        prompt = prompt_ids(tokenizer, pair.prompt)
        response = response_ids(tokenizer, pair.chosen, pair.chosen_finished)
        rows.append({"input_ids": [*prompt, *response], "completion_mask": [0] * len(prompt) + [1] * len(response)})
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    if not kept or len(rows) - len(kept) > MAX_DROPPED * len(rows):
        raise ValueError(
            f"{len(rows) - len(kept)} of {len(rows)} prompts with their chosen responses exceed {max_length} tokens or "
            "none was given; raise max_length, shorten the configurations, or sample with fewer new tokens"
        )
    return kept, len(rows) - len(kept)


def fine_tune(
    policy: str | Path,
    pairs: Sequence[Pair],
    settings: CosaSettings,
    seed: int,
    scratch: str | Path,
    output: str | Path,
    dtype: Dtype = "auto",
) -> Trained:
    """Train a LoRA adapter on the chosen responses (loss on the response alone) and save it in `output`.

    Raises:
        ValueError: if no pair is usable.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, set_seed

    set_seed(seed)
    tokenizer = load_tokenizer(policy)
    rows, too_long = tokenise(tokenizer, targets(pairs), settings.max_length)
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=fast_dtype(dtype), attn_implementation=attention)
    trl: Any = import_module("trl.trainer.sft_trainer")
    trainer = trl.SFTTrainer(
        model=model,
        args=_arguments(settings, seed, scratch, half=model.dtype == torch.bfloat16),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(settings),
    )
    trainer.train()
    log = [_entry(row) for row in trainer.state.log_history if "loss" in row]
    save_adapter(trainer.model, Path(output))
    notes = {"prompts": len(rows), "too_long": too_long, "longest": max(len(row["input_ids"]) for row in rows)}
    return Trained(log, {**notes, "initial_loss": log[0]["loss"], "final_loss": log[-1]["loss"]})


def prefer(
    policy: str | Path,
    tuned: str | Path,
    pairs: Sequence[Pair],
    settings: CosaSettings,
    seed: int,
    scratch: str | Path,
    output: str | Path,
    dtype: Dtype = "auto",
) -> Trained:
    """DPO on the pairs from the policy with the adapter `tuned` merged; saves a second adapter in `output`."""
    base = Path(scratch) / "tuned"
    merge(policy, tuned, base, dtype)
    try:
        return train_policy(base, pairs, "dpo", settings, seed, scratch, output, dtype)
    finally:
        shutil.rmtree(base)


def merge(policy: str | Path, adapter: str | Path, folder: Path, dtype: Dtype = "auto") -> None:
    """Write the policy with an adapter merged into its weights, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    merged(model, [adapter]).to(fast_dtype(dtype)).save_pretrained(folder)
    load_tokenizer(policy).save_pretrained(folder)


def _arguments(settings: CosaSettings, seed: int, scratch: str | Path, half: bool) -> Any:
    trl: Any = import_module("trl.trainer.sft_config")
    return trl.SFTConfig(
        **arguments(settings, settings.sft_steps, seed, scratch, half),
        **batches(settings),
        max_length=None,
        completion_only_loss=True,
    )


def _entry(row: dict[str, float]) -> dict[str, float]:
    names = {"step": "step", "loss": "loss", "grad_norm": "grad_norm", "learning_rate": "learning_rate"}
    return {name: float(row[key]) for key, name in names.items() if key in row}
