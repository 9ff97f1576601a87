"""Training of the helpfulness model: TRL's RewardTrainer on pairs of helpfulness.

The loss is -log sigma(r_chosen - r_rejected) (Bradley-Terry) plus `center` (r_chosen + r_rejected)^2, which keeps the
scores around 0 (Eisenstein et al. 2023). Tokens are made here: TRL would leave out pairs that are too long unseen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from csrm.align.helpfulness_model import conversation_ids
from csrm.align.policy import load_tokenizer
from csrm.files import atomic_folder
from csrm.rows import PairRow
from csrm.settings import HelpfulnessSettings

MAX_DROPPED = 0.1  # largest share of pairs that may be too long
_LOGGED = ("loss", "accuracy", "margin", "mean_reward", "grad_norm", "learning_rate")


class Tokenised(NamedTuple):
    """Pairs as token ids (chosen_ids, rejected_ids), and how many were too long."""

    rows: list[dict[str, list[int]]]
    too_long: int


class Trained(NamedTuple):
    """Log of a run, one entry a step, and its counts."""

    log: list[dict[str, float]]
    notes: dict[str, Any]


def tokenise(tokenizer: Any, pairs: Sequence[PairRow], max_length: int) -> Tokenised:
    """Token ids of the pairs; a pair with a conversation over `max_length` tokens is left out whole and counted.

    Raises:
        ValueError: if there is no pair, or more than `MAX_DROPPED` of them are too long.
    """
    rows = [
        {
            "chosen_ids": conversation_ids(tokenizer, pair.prompt, pair.chosen),
            "rejected_ids": conversation_ids(tokenizer, pair.prompt, pair.rejected),
        }
        for pair in pairs
    ]
    kept = [row for row in rows if max(map(len, row.values())) <= max_length]
    dropped = len(rows) - len(kept)
    if not kept or dropped > MAX_DROPPED * len(rows):
        raise ValueError(
            f"{dropped} of {len(rows)} helpfulness pairs exceed {max_length} tokens or none was given; raise "
            "helpfulness.max_length, or lower data.max_response_words"
        )
    return Tokenised(kept, dropped)


def train_helpfulness(
    backbone: str | Path,
    pairs: Sequence[PairRow],
    settings: HelpfulnessSettings,
    seed: int,
    scratch: str | Path,
    output: str | Path,
) -> Trained:
    """Train a reward model and save it in `output` as a plain folder; a LoRA adapter is merged in float32.

    Raises:
        ValueError: if too many pairs are too long.
    """
    tokenizer = load_tokenizer(backbone)
    data = tokenise(tokenizer, pairs, settings.max_length)
    trainer = build_trainer(backbone, tokenizer, data.rows, settings, seed, scratch)
    trainer.train()
    log = [_entry(row) for row in trainer.state.log_history if "loss" in row]
    model = _merged(backbone, trainer.model, Path(scratch)) if settings.method == "lora" else trainer.model
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    with atomic_folder(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            file.chmod(0o644)
    notes = {
        "pairs": len(data.rows),
        "pairs_too_long": data.too_long,
        "prompts": len({pair.prompt_id for pair in pairs}),
        "pairs_seen": settings.steps * settings.batch_pairs,
        "longest": max(len(ids) for row in data.rows for ids in row.values()),
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "initial_loss": log[0]["loss"],
        "final_loss": log[-1]["loss"],
    }
    return Trained(log, notes)


def build_trainer(
    backbone: str | Path,
    tokenizer: Any,
    rows: list[dict[str, list[int]]],
    settings: HelpfulnessSettings,
    seed: int,
    scratch: str | Path,
) -> Any:
    """TRL's RewardTrainer on the backbone with a new head, drawn by `seed`."""
    import torch
    from datasets import Dataset
    from transformers import set_seed
    from trl.trainer.reward_trainer import RewardTrainer

    from csrm.model.device import inference_dtype

    set_seed(seed)
    half = inference_dtype(settings.dtype) == torch.bfloat16
    frozen = settings.method == "lora"
    model = _classifier(backbone, torch.bfloat16 if half and frozen else torch.float32)
    return RewardTrainer(
        model=model,
        args=_arguments(settings, seed, scratch, half),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=_adapter(settings) if frozen else None,
    )


def _arguments(settings: HelpfulnessSettings, seed: int, scratch: str | Path, half: bool) -> Any:
    """RewardConfig of the settings: AdamW, linear decay after a warm-up of a tenth; TRL filters nothing."""
    import torch
    from trl.trainer.reward_config import RewardConfig

    return RewardConfig(
        output_dir=str(scratch),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_pairs,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.steps // 10,
        lr_scheduler_type="linear",
        optim="adamw_torch",
        weight_decay=0.0,
        max_length=None,
        center_rewards_coefficient=settings.center or None,
        gradient_checkpointing=False,
        bf16=half,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        seed=seed,
        data_seed=seed,
    )


def _adapter(settings: HelpfulnessSettings) -> Any:
    """A LoRA adapter on every linear layer without dropout, and the head trained whole."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        modules_to_save=["score"],
        task_type="SEQ_CLS",
    )


def _classifier(folder: str | Path, dtype: Any) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    attention = "sdpa" if torch.cuda.is_available() else "eager"
    kind: Any = AutoModelForSequenceClassification
    return kind.from_pretrained(folder, num_labels=1, dtype=dtype, attn_implementation=attention)


def _merged(backbone: str | Path, trained: Any, scratch: Path) -> Any:
    """The float32 backbone with the adapter merged and the trained head in place of the new one."""
    import shutil

    import torch
    from peft import PeftModel

    folder = scratch / "adapter"
    trained.save_pretrained(str(folder))
    model = PeftModel.from_pretrained(_classifier(backbone, torch.float32), str(folder)).merge_and_unload()
    shutil.rmtree(folder)
    return model


def _entry(row: dict[str, float]) -> dict[str, float]:
    return {"step": row["step"], **{name: float(row[name]) for name in _LOGGED if name in row}}
