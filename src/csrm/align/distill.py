"""Reward Distillation (Fisch et al. 2025; CSRM section 4.4): the policy's log-ratio gap regresses on the reward's.

L = E[(log r(y+) / r(y-) - beta (log pi(y+)/pi_ref(y+) - log pi(y-)/pi_ref(y-)))^2], r = R H: unlike DPO's, the loss
has a minimum that the size of the gap sets, so a pair of nearly equal rewards pushes the policy hardly at all.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

REWARD_FLOOR = 0.01  # r of refused or unsafe responses can be 0, and its logarithm is taken


def log_reward_gap(chosen: float, rejected: float, floor: float = REWARD_FLOOR) -> float:
    """log r(y+) - log r(y-), nats, of total rewards in [0, 1] that are raised to `floor`."""
    return math.log(max(chosen, floor)) - math.log(max(rejected, floor))


def distillation_loss(
    chosen_log_ratio: torch.Tensor, rejected_log_ratio: torch.Tensor, gap: torch.Tensor, beta: float
) -> torch.Tensor:
    """Squared error of the implicit reward gap, (P,) squared nats.

    Args:
        chosen_log_ratio: (P,) log pi(y+|x) - log pi_ref(y+|x).
        rejected_log_ratio: (P,) the same of y-.
        gap: (P,) log r(y+) - log r(y-).
        beta: strength of the pull to the reference.
    """
    return (gap - beta * (chosen_log_ratio - rejected_log_ratio)).square()


def with_gaps(collate: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """A collator that also gives the rows' `gap`, (P,)."""

    def collated(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**collate(rows), "gap": torch.tensor([row["gap"] for row in rows])}

    return collated


def distillation_trainer(base: Any) -> Any:
    """TRL's DPO trainer `base` with the distillation loss; data, reference log-probabilities and steps stay its own."""

    class RewardDistillationTrainer(base):
        """Batches carry `gap`; the log has the same names as DPO's."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.data_collator: Any = with_gaps(self.data_collator)

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            if "gap" not in self._signature_columns:
                self._signature_columns.append("gap")

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            mask = inputs["completion_mask"]
            tokens = {key: inputs[key] for key in ("input_ids", "attention_mask")}
            labels = inputs["input_ids"].masked_fill(mask == 0, -100)
            outputs = model(**tokens, labels=labels, use_cache=False, fused_lm_head=True)
            chosen, rejected = outputs.log_probs[:, 1 - mask.size(1) :].sum(dim=1).chunk(2)
            ratios = chosen - inputs["ref_chosen_logps"], rejected - inputs["ref_rejected_logps"]
            self._note({"logps/chosen": chosen, "logps/rejected": rejected}, *ratios)
            loss = distillation_loss(*ratios, inputs["gap"].to(chosen.device), self.beta).mean()
            return (loss, outputs) if return_outputs else loss

        def _note(self, values: dict[str, torch.Tensor], chosen: torch.Tensor, rejected: torch.Tensor) -> None:
            margin = self.beta * (chosen - rejected)
            values |= {"rewards/chosen": self.beta * chosen, "rewards/rejected": self.beta * rejected}
            values |= {"rewards/margins": margin, "rewards/accuracies": (margin > 0).float()}
            for name, value in values.items():
                self._metrics["train"][name].append(self.accelerator.gather(value.detach()).mean().item())

    return RewardDistillationTrainer
