"""Reward Distillation: the loss against the formula and its closed form, and the trainer that learns it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_align_policy import SETTINGS, pairs

from csrm.align.distill import REWARD_FLOOR, distillation_loss, log_reward_gap
from csrm.align.dpo import train_policy
from csrm.configs.safety_config import SafetyConfig


def test_loss_is_the_printed_formula() -> None:
    """CSRM section 4.4, from probabilities and rewards as printed, in NumPy."""
    rng = np.random.default_rng(0)
    policy, reference, reward = (rng.uniform(0.05, 0.95, (2, 7)) for _ in range(3))
    beta = 0.3
    implicit = np.log(policy[0] * reference[1] / (policy[1] * reference[0]))
    printed = (np.log(reward[0] / reward[1]) - beta * implicit) ** 2
    ratios = torch.tensor(np.log(policy) - np.log(reference))
    gap = torch.tensor([log_reward_gap(*pair) for pair in reward.T])
    assert distillation_loss(*ratios, gap, beta).numpy() == pytest.approx(printed)


def test_minimum_over_two_responses_is_the_tilted_reference() -> None:
    """With two responses the optimum is known: pi(y+)/pi(y-) = pi_ref(y+)/pi_ref(y-) (r(y+)/r(y-))^(1/beta)."""
    reference, rewards, beta = torch.tensor([0.3, 0.7]).log(), (0.8, 0.2), 0.5
    logits = reference.clone().requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=0.2)
    for _ in range(400):
        ratios = torch.log_softmax(logits, 0) - reference
        loss = distillation_loss(ratios[:1], ratios[1:], torch.tensor([log_reward_gap(*rewards)]), beta).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = [0.3 * rewards[0] ** (1 / beta), 0.7 * rewards[1] ** (1 / beta)]
    assert torch.softmax(logits, 0).tolist() == pytest.approx([w / sum(weights) for w in weights], abs=1e-4)


def test_rewards_of_zero_are_raised_to_the_floor() -> None:
    assert log_reward_gap(0.5, 0.0) == pytest.approx(math.log(0.5 / REWARD_FLOOR))
    assert log_reward_gap(0.0, 0.0) == 0


def test_training_starts_at_the_squared_gap_and_ends_at_the_gap(
    tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    given, gap = pairs(no_alcohol, 1), log_reward_gap(0.9, 0.1)
    longer = SETTINGS.model_copy(update={"steps": 60, "batch_pairs": 1, "learning_rate": 5e-3, "beta": 1.0})
    scratch, output = tmp_path / "scratch", tmp_path / "adapter"
    trained = train_policy(tiny_policy, given, "reward-distillation", longer, 0, scratch, output, "float32")
    first, last = trained.log[0], trained.log[-1]
    assert first["loss"] == pytest.approx(gap**2, abs=1e-4) and first["margin"] == pytest.approx(0, abs=1e-5)
    for entry in trained.log:
        assert entry["loss"] == pytest.approx((gap - entry["margin"]) ** 2, abs=2e-3)
    assert last["margin"] == pytest.approx(gap, abs=0.2)
    assert (output / "adapter_model.safetensors").is_file()


def test_equal_rewards_keep_the_policy_where_it_is(tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path) -> None:
    tied = [pair.model_copy(update={"reward_rejected": pair.reward_chosen}) for pair in pairs(no_alcohol, 2)]
    trained = train_policy(
        tiny_policy, tied, "reward-distillation", SETTINGS, 0, tmp_path / "s", tmp_path / "o", "float32"
    )
    assert [entry["loss"] for entry in trained.log] == pytest.approx([0, 0], abs=1e-6)
