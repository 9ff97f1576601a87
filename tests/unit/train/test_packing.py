"""Several groups in one row: the same log-odds and gradients, less padding, and every group exactly once."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from csrm.configs.safety_config import Category
from csrm.model.reward import answer_logits, safe_log_odds
from csrm.model.tree import TreeBatch, build_tree, join
from csrm.rows import Branch, Group, Message
from csrm.settings import TrainSettings
from csrm.train.dataset import Example, collate_examples, encode_unit, pack, padded_tokens
from csrm.train.losses import joint_loss

WEIGHTS = ("labels", "label_weights", "pairs", "pair_weights")


def made(scorer: Any) -> list[Example]:
    """Groups of different lengths, with labels and with ranking pairs."""
    examples = []
    for n in (1, 9, 3, 14, 2, 6):
        turns = [Message(role="user", content=f"Say {n}."), Message(role="assistant", content="The river. " * n)]
        branches = [
            Branch(config=[Category(name=name)], label=label, source="cca")  # type: ignore[arg-type]
            for name, label in (("river", "unsafe"), ("song", "safe"), ("tavern", "safe"))[: 2 + n % 2]
        ]
        group = Group(id=str(n), prompt_id=str(n), messages=turns, branches=branches, pairs=[(1, 0)] * (n % 2))
        examples.append(encode_unit(scorer.tokenizer, [group], TrainSettings()))
    return examples


def test_packed_log_odds_and_gradients_equal_unpacked_ones(tiny_scorer: Any) -> None:
    examples = made(tiny_scorer)
    model = tiny_scorer.model

    def run(order: list[Example], packing: int | None) -> tuple[list[float], float, torch.Tensor, int]:
        inputs = collate_examples(order, 0, packing=packing)
        weighted = {key: inputs.pop(key) for key in WEIGHTS}
        model.zero_grad()
        logits = answer_logits(model, TreeBatch(**inputs))
        joint = joint_loss(logits, **weighted, verbalizer=tiny_scorer.verbalizer, gamma=0.7, margin=0.1)
        joint.loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        log_odds = safe_log_odds(logits, tiny_scorer.verbalizer).tolist()
        return log_odds, joint.loss.item(), gradient, inputs["input_ids"].numel()

    packed = [example for row in pack(examples, 600) for example in row]
    assert len(pack(examples, 600)) < len(examples)
    plain, packed_run = run(packed, None), run(examples, 600)
    assert packed_run[0] == pytest.approx(plain[0], abs=1e-5)
    assert packed_run[1] == pytest.approx(plain[1], abs=1e-5)
    assert torch.allclose(packed_run[2], plain[2], atol=1e-5) and plain[2].abs().max() > 1e-2
    assert packed_run[3] < plain[3]


def example(length: int) -> Example:
    return Example(build_tree([[1] * length]), [1], [1.0], [], [], length, 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 60))
def test_rows_hold_every_group_once_and_no_more_than_fits(lengths: list[int], limit: int) -> None:
    examples = [example(length) for length in lengths]
    rows = pack(examples, limit)
    assert sorted(id(e) for row in rows for e in row) == sorted(map(id, examples))
    assert all(sum(len(e.tree) for e in row) <= max(limit, *lengths, 0) for row in rows)
    assert [[e] for e in examples] == pack(examples, None)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 60), st.integers(1, 4))
def test_padded_tokens_are_those_that_are_computed(lengths: list[int], limit: int, device: int) -> None:
    examples = [example(length) for length in lengths]
    settings = TrainSettings(batch_groups=device, device_groups=device, packing=limit)
    computed = 0
    for start in range(0, len(examples), device):
        computed += collate_examples(examples[start : start + device], 0, packing=limit)["input_ids"].numel()
    assert sum(padded_tokens(examples, settings)) == computed


def test_joined_trees_keep_their_shape() -> None:
    one, two = build_tree([[1, 2, 3], [1, 2, 4]]), build_tree([[1, 2], [5]])
    row = join([one, two])
    assert row.tokens == [1, 2, 3, 4, 1, 2, 5]
    assert row.positions == [0, 1, 2, 2, 0, 1, 0]
    assert row.parents == [-1, 0, 1, 1, -1, 4, -1]
    assert row.leaves == [2, 3, 5, 6]
