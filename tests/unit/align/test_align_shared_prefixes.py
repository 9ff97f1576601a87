"""Prompts computed once: the loss, gradients, reference and log of TRL's own path."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from test_align_policy import SETTINGS
from transformers import AutoModelForCausalLM

from csrm.align.dpo import completion_positions_only, policy_trainer
from csrm.align.policy import load_tokenizer
from csrm.align.shared_prefixes import can_share, shared_prefixes
from csrm.settings import PairAlgorithm

# Prompts of two lengths; responses that start alike, one that is the other's beginning, and prompts that start alike.
ROWS = [
    {"prompt_ids": [1, 5, 6, 7, 8, 9], "chosen_ids": [10, 11, 12, 2], "rejected_ids": [10, 11, 13], "gap": 0.7},
    {"prompt_ids": [1, 5, 6], "chosen_ids": [14, 15], "rejected_ids": [14, 15, 16, 17, 2], "gap": -0.2},
    {"prompt_ids": [1, 5, 6, 7, 8, 4], "chosen_ids": [12, 2], "rejected_ids": [9], "gap": 0.1},
]


class Step(NamedTuple):
    """What one step of training gives, and the tokens that the decoder computed."""

    loss: float
    gradient: torch.Tensor
    reference: list[list[float]]
    log: dict[str, float]
    tokens: int


@pytest.fixture
def model(tiny_policy: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_policy, dtype=torch.float32)


def step(model: Any, folder: Path, algorithm: PairAlgorithm, scratch: Path, share: bool) -> Step:
    """One forward and backward pass of an adapter that has moved away from its reference."""
    computed = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, given, __: computed.append(given[0].numel()))
    with completion_positions_only(), shared_prefixes(model) if share else nullcontext():
        trainer = policy_trainer(model, load_tokenizer(folder), ROWS, algorithm, SETTINGS, 0, scratch)
        draw = torch.Generator().manual_seed(1)
        trained = [p for p in trainer.model.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=draw))
        trainer.current_gradient_accumulation_steps = 1
        rows = trainer.train_dataset.to_list()
        loss = trainer.training_step(trainer.model, trainer.data_collator(rows)).item()
    hook.remove()
    gradient = torch.cat([p.grad.flatten() for p in trained])
    reference = [[row["ref_chosen_logps"], row["ref_rejected_logps"]] for row in rows]
    log = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return Step(loss, gradient, reference, log, computed[-1])


@pytest.mark.parametrize("algorithm", ["dpo", "reward-distillation"])
def test_steps_equal_those_of_trl(model: Any, tiny_policy: Path, algorithm: PairAlgorithm, tmp_path: Path) -> None:
    theirs = step(model, tiny_policy, algorithm, tmp_path, share=False)
    again = AutoModelForCausalLM.from_pretrained(tiny_policy, dtype=torch.float32)
    ours = step(again, tiny_policy, algorithm, tmp_path, share=True)
    assert ours.loss == pytest.approx(theirs.loss, abs=1e-6)
    assert (ours.gradient - theirs.gradient).norm() < 1e-5 * theirs.gradient.norm() > 0
    assert torch.allclose(torch.tensor(ours.reference), torch.tensor(theirs.reference), atol=1e-5)
    assert ours.log == pytest.approx(theirs.log, abs=1e-5) and "rewards/margins" in ours.log
    assert (ours.tokens, theirs.tokens) == (20, 6 * 10)


def test_models_are_left_as_they_were(model: Any) -> None:
    forward = model.model.forward
    with shared_prefixes(model):
        assert model.model.forward != forward
    assert model.model.forward == forward and model.config._attn_implementation == "sdpa"


def test_models_whose_layers_see_less_are_left_to_trl(model: Any) -> None:
    assert can_share(model)
    model.config.sliding_window = 4
    forward = model.model.forward
    with shared_prefixes(model):
        assert model.model.forward == forward
