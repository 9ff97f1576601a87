"""Settings of CSRM training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from csrm.settings.base import DType, Section, SectionOrder

SEED_MARK = "+seed-"
"""Between a variant and the further seed that it is trained with: `csrm+seed-1`."""


class VerbalizerSettings(Section):
    """The answer words whose first tokens are summed (section 3.3); recorded with the model, used when scoring."""

    safe: list[str] = Field(["safe", " safe", "Safe"], min_length=1, description="Y_safe")
    unsafe: list[str] = Field(["unsafe", " unsafe", "Unsafe"], min_length=1, description="Y_unsafe")


class TrainSettings(Section):
    """CSRM training (section 3.3)."""

    selection = frozenset({"variants", "seeds"})
    backbone: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    variants: list[str] = Field(
        ["csrm", "csrm-no-cca", "csrm-no-sa"],
        min_length=1,
        description="variants in config/variants.yaml to train, the reference first",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="further seeds that every variant is trained with, for the table of seeds"
    )
    cca: bool = Field(True, description="train on configuration augmentation")
    sa: bool = Field(True, description="train on strictness augmentation")
    seed: int | None = Field(None, ge=0, description="seed of the mixture and of training (None: the run's)")
    shares: dict[Literal["base", "cca", "sa", "response"], NonNegativeFloat] = Field(
        {"base": 1.0, "cca": 2.0, "sa": 1.0, "response": 0.5},
        description="weight of each source: in the loss of its conversation, or in the mixture",
    )
    by_conversation: bool = Field(
        True, description="train on a conversation's groups of all sources at once; false: on groups one by one"
    )
    section_order: SectionOrder = Field("config-last", description="order of the prompt's sections")
    verbalizer: VerbalizerSettings = VerbalizerSettings()
    method: Literal["full", "lora"] = Field(
        "full", description="train all weights, or a LoRA adapter merged at the end"
    )
    kept_layers: int | None = Field(
        None, ge=1, description="lowest layers of the backbone that are there at all, a smaller backbone (None: all)"
    )
    frozen_layers: int = Field(0, ge=0, description="lowest layers that full training leaves as they are")
    lora_rank: int = Field(32, ge=1, description="LoRA rank (alpha is twice the rank)")
    gamma: float = Field(2.0, ge=0, description="weight of L_rm (paper: .1)")
    margin: float = Field(0.0, ge=0, description="margin m of L_rm, nats")
    strict_first: bool = Field(False, description="SA's L_rm as printed, which ranks the strict configuration higher")
    learning_rate: float = Field(1e-4, gt=0)
    steps: int = Field(200, ge=1, description="optimiser steps")
    batch_groups: int = Field(2, ge=1, description="effective batch size: conversations, or groups")
    device_groups: int = Field(1, ge=1, description="of these in one forward pass; the rest is accumulated")
    warmup_steps: int = Field(15, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_length: int = Field(512, ge=16, description="longest rendered input, tokens")
    checkpoint_steps: int = Field(50, ge=1, description="steps between checkpoints")
    dtype: DType = Field("auto", description="number format of the matrix products; auto: bfloat16 where fast")
    gradient_checkpointing: bool = Field(False, description="recompute activations: less memory, a third more time")
    deterministic: bool = Field(False, description="deterministic algorithms only; slower on accelerators")
    launcher: str | None = Field(
        None, description="Accelerate configuration to train under, see envs/accelerate (None: one process)"
    )
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = Field(
        [], description="where loss curves go besides log.jsonl; each is a package to install"
    )

    def names(self) -> dict[str, tuple[str, int | None]]:
        """Every model that is trained -> its variant and its further seed (None: the variant's own)."""
        own: dict[str, tuple[str, int | None]] = {variant: (variant, None) for variant in self.variants}
        return own | {f"{v}{SEED_MARK}{seed}": (v, seed) for seed in self.seeds for v in self.variants}

    def accumulation(self, processes: int = 1) -> int:
        """Forward passes per optimiser step of each of `processes` processes.

        Raises:
            ValueError: if the effective batch does not divide evenly.
        """
        passes, left = divmod(self.batch_groups, self.device_groups * processes)
        if left:
            raise ValueError(
                f"train.batch_groups {self.batch_groups} must be a multiple of train.device_groups "
                f"{self.device_groups} times {processes} processes: choose a divisor"
            )
        return passes

    @model_validator(mode="after")
    def _whole_batches(self) -> "TrainSettings":
        if self.batch_groups % self.device_groups:
            raise ValueError(
                f"train.batch_groups {self.batch_groups} must be a multiple of train.device_groups "
                f"{self.device_groups}: choose a divisor"
            )
        return self


class PriceSettings(Section):
    """How fast the training that a dry run of the paper scale prices is taken to be."""

    manifest: str | None = Field(
        None, description="manifest.json of a trained model, whose share of the peak is taken (None: 40 %, assumed)"
    )
    tflops: float = Field(
        989.0, gt=0, description="peak of a device, that model's too, 10^12 operations a second (H100, dense bfloat16)"
    )
