"""CSRM training on the Transformers trainer: the data are prefix trees, the loss is the joint objective."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import CDLL
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from csrm.files import atomic_folder
from csrm.model.device import fast_bfloat16, load_model
from csrm.model.verbalizer import Verbalizer
from csrm.settings import TrainSettings
from csrm.train.dataset import Example, collate_examples
from csrm.train.launch import processes
from csrm.train.losses import JointLoss, joint_loss
from csrm.train.master import MasterAdamW
from csrm.train.tree_attention import use_tree_attention
from csrm.train.tree_row import TreeRow, row_logits

BETAS = (0.9, 0.95)
LORA_TARGETS = "all-linear"


class CSRMTrainer(Trainer):
    """`Trainer` with the joint loss; parts of the loss are logged beside it."""

    def __init__(self, *, verbalizer: Verbalizer, objective: TrainSettings, **options: Any) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False  # divide the loss by the accumulation steps, as compute_loss expects
        self.verbalizer = verbalizer
        self.objective: TrainSettings = objective
        self.parts: dict[str, float] = {}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """L_cls + gamma L_rm of one forward pass; the passes of a batch add up to the batch's mean over groups.

        The trainer divides by the accumulation steps, and several processes by their number; the factor undoes both,
        because the weights already hold the share. The model is called, not a part of it: the wrappers that mix number
        formats, shard weights or add up gradients act on that call.
        """
        weighted = {key: inputs.pop(key) for key in ("labels", "label_weights", "pairs", "pair_weights")}
        logits = model(**inputs)
        goal = self.objective
        joint = joint_loss(logits, **weighted, verbalizer=self.verbalizer, gamma=goal.gamma, margin=goal.margin)
        self._note(joint, weighted["labels"])
        loss = joint.loss * self.args.gradient_accumulation_steps * self.args.world_size
        return (loss, {"log_odds": joint.log_odds}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the parts of the loss since the last log, and means over its labelled sequences.

        `accuracy` is the share of right labels, `brier` the mean squared error of P(safe) = sigma(s), `p_safe` its
        mean, `share_safe` the mean label: calibrated rewards keep the last two together.
        """
        if "loss" in logs and self.parts:
            parts = self._over_processes(self.parts)
            known = max(1.0, parts.pop("labelled"))
            logs = {**logs, **{k: v if k.startswith("loss") else v / known for k, v in parts.items()}}
        self.parts = {}
        super().log(logs, *args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW, fused; with float32 masters when the weights themselves are bfloat16."""
        if self.optimizer is None:
            network: Any = self.model if model is None else model
            trained = [p for p in network.parameters() if p.requires_grad]
            half = trained[0].dtype == torch.bfloat16
            kind: Any = MasterAdamW if half else partial(torch.optim.AdamW, fused=True)
            self.optimizer = kind(trained, lr=self.args.learning_rate, betas=BETAS, weight_decay=self.args.weight_decay)
        return self.optimizer

    def _over_processes(self, parts: dict[str, float]) -> dict[str, float]:
        if self.args.world_size == 1:
            return parts
        sums = torch.tensor(list(parts.values()), dtype=torch.float64, device=self.args.device)
        torch.distributed.all_reduce(sums)
        return dict(zip(parts, sums.tolist(), strict=True))

    def _note(self, joint: JointLoss, labels: torch.Tensor) -> None:
        known = labels >= 0
        safe, odds = (labels[known] == 1).float(), joint.log_odds[known].float()
        values = {
            "loss_cls": joint.classification,
            "loss_rm": joint.ranking,
            "accuracy": ((odds > 0) == safe.bool()).sum(),
            "brier": (odds.sigmoid() - safe).square().sum(),
            "p_safe": odds.sigmoid().sum(),
            "share_safe": safe.sum(),
            "labelled": known.sum(),
        }
        for name, value in values.items():
            self.parts[name] = self.parts.get(name, 0.0) + float(value.detach())


class LogFile(TrainerCallback):
    """Append each log entry to a JSON-lines file; entries after the step resumed from are dropped first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget entries that the resumed run will write again."""
        if not state.is_world_process_zero:
            return
        kept = []
        if self.path.exists() and state.global_step:
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write one entry."""
        if logs and "loss" in logs and state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"step": state.global_step, **logs}, sort_keys=True) + "\n")


class ReturnMemory(TrainerCallback):
    """Give freed memory back to the system every few steps: with rows of many lengths, glibc's heap only grows."""

    def __init__(self, every: int = 5) -> None:
        self.every = every
        self.trim = getattr(CDLL(None), "malloc_trim", None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Trim the heap, where the C library can."""
        if self.trim and state.global_step % self.every == 0:
            self.trim(0)


def train(
    backbone: Path,
    examples: Sequence[Example],
    verbalizer: Verbalizer,
    settings: TrainSettings,
    seed: int,
    scratch: Path,
) -> Any:
    """Train a backbone on ordered examples and return the model; resumes from the last checkpoint in `scratch`.

    Args:
        backbone: plain Hugging Face folder.
        examples: one per unit, in training order: `steps * batch_groups` of them.
        verbalizer: the answer token sets of the backbone's tokenizer.
        settings: the training slice.
        seed: of everything random.
        scratch: folder for checkpoints and `log.jsonl`, kept until training ends.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    arguments = _arguments(settings, seed, scratch)
    set_seed(seed)  # adapters start at random
    model = _backbone(backbone, _weight_dtype(settings), settings)
    use_tree_attention(model, 1 + max(max(example.tree.positions) for example in examples))
    model = trainable(model, settings)
    trainer = CSRMTrainer(
        verbalizer=verbalizer,
        objective=settings,
        model=model,
        args=arguments,
        train_dataset=list(examples),
        data_collator=partial(collate_examples, batch=settings.batch_groups),
        callbacks=[LogFile(scratch / "log.jsonl"), ReturnMemory()],
    )
    with arguments.main_process_first(desc="looking for a checkpoint"):
        checkpoint = last_checkpoint(scratch)
    with answering(model):
        trainer.train(resume_from_checkpoint=checkpoint)
    model = _whole(trainer, backbone, settings)
    return model.merge_and_unload() if settings.method == "lora" else model


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """Within the block, calling `model` with the fields of a `TreeRow` gives its answer logits, (N, vocabulary)."""

    def forward(self: Any, **batch: torch.Tensor) -> torch.Tensor:
        return row_logits(self, TreeRow(**batch))

    model.forward = MethodType(forward, model)
    try:
        yield
    finally:
        del model.forward


def _whole(trainer: CSRMTrainer, backbone: Path, settings: TrainSettings) -> Any:
    """The trained model, unsharded; where weights are sharded they are gathered into a fresh copy of the backbone."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return trainer.accelerator.unwrap_model(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.is_deepspeed_enabled:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # ZeRO-3 would shard the copy as well
    model = trainable(_backbone(backbone, torch.float32, settings).cpu(), settings)
    if trainer.is_world_process_zero():
        missing, unexpected = model.load_state_dict(state, strict=False)
        lost = sorted({*missing, *unexpected} - {*(model._tied_weights_keys or ())})  # tied weights are gathered once
        if lost:
            raise RuntimeError(f"sharded training gathered other weights than the backbone has: {lost[:5]}")
    return model


def last_checkpoint(scratch: Path) -> str | None:
    """The newest complete checkpoint; one that a kill left half-written is removed.

    The trainer writes `trainer_state.json` last, so a folder where it is missing or cut is incomplete.
    """
    while (found := get_last_checkpoint(str(scratch))) and not _is_json(Path(found) / "trainer_state.json"):
        shutil.rmtree(found, ignore_errors=True)
    return found


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


def resumed_step(scratch: Path) -> int:
    """The step that training in `scratch` goes on from; 0 at its start."""
    found = last_checkpoint(scratch) if scratch.exists() else None
    return int(found.rpartition("-")[2]) if found else 0


def _weight_dtype(settings: TrainSettings) -> torch.dtype:
    wanted = settings.dtype == "bfloat16" or (settings.dtype == "auto" and fast_bfloat16())
    return torch.bfloat16 if wanted and not torch.cuda.is_available() else torch.float32


def _backbone(folder: Path, dtype: torch.dtype, settings: TrainSettings) -> Any:
    """The backbone, cut to its `kept_layers` lowest layers; the last norm and the vocabulary stay."""
    model, _ = load_model(folder, dtype)
    count = len(model.model.layers)
    kept = count if settings.kept_layers is None else settings.kept_layers
    if kept > count:
        raise ValueError(f"train.kept_layers is {kept}, the backbone has {count} layers: keep {count} at most")
    if kept < count:
        del model.model.layers[kept:]
        model.config.num_hidden_layers = kept
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[:kept]
    return model


def trainable(model: Any, settings: TrainSettings) -> Any:
    """Full fine-tuning leaves the (tied) embeddings and `frozen_layers` alone; LoRA adapts every linear layer.

    Raises:
        ValueError: if no layer would be left to train.
    """
    if settings.gradient_checkpointing:
        older = "gradient_checkpointing_enable"  # the method's name in older releases
        enable = getattr(model, "activation_checkpointing_enable", None) or getattr(model, older)
        enable({"use_reentrant": False})
    if settings.method == "lora":
        from peft import LoraConfig, get_peft_model

        rank = settings.lora_rank
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LORA_TARGETS))
    model.get_input_embeddings().weight.requires_grad_(False)
    layers = model.model.layers
    if settings.frozen_layers >= len(layers):
        raise ValueError(f"train.frozen_layers is {settings.frozen_layers}, the model has {len(layers)}: leave some")
    for layer in layers[: settings.frozen_layers]:
        layer.requires_grad_(False)
    return model


def _arguments(settings: TrainSettings, seed: int, scratch: Path) -> TrainingArguments:
    """The trainer's arguments; making them also gives each process its device.

    Raises:
        ValueError: if a package to report to is missing, or several accelerators are visible to one process.
    """
    missing = [name for name in settings.report_to if not find_spec(name)]
    if missing:
        raise ValueError(f"train.report_to names {missing}, not installed: pip install them, or leave them out")
    on_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.device_groups,
        gradient_accumulation_steps=settings.accumulation(processes()),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        bf16=on_gpu and settings.dtype != "float32",
        use_cpu=not on_gpu,
        seed=seed,
        full_determinism=settings.deterministic,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        label_names=[],
        logging_steps=1,
        save_steps=settings.checkpoint_steps,
        save_total_limit=1,
        report_to=list(settings.report_to),
        run_name=settings.variants[0],
        disable_tqdm=False,
        dataloader_pin_memory=on_gpu,
    )
    if arguments.n_gpu > 1:
        raise ValueError(
            f"one process sees {arguments.n_gpu} accelerators: set train.launcher (envs/accelerate/fsdp2.yaml), "
            "or CUDA_VISIBLE_DEVICES to one of them"
        )
    return arguments


def save(model: Any, tokenizer: Any, target: Path, card: dict[str, Any], log: Path) -> None:
    """Write a plain Hugging Face folder with `csrm.json` and `log.jsonl`, complete or not at all."""
    with atomic_folder(target) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "csrm.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        shutil.copyfile(log, part / "log.jsonl")
