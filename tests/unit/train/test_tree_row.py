"""Trees in one row: log-odds and gradients of separate sequences, whatever the blocks; no tree sees another."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csrm.model.tree import Tree, build_tree, join
from csrm.train import tree_attention as ta
from csrm.train.tree_row import lay_out, row_logits

SEQUENCES = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), min_size=1, max_size=6)


@pytest.fixture
def trained(tiny_scorer: Any) -> Iterator[Any]:
    """A model whose layers attend by trees."""
    model = deepcopy(tiny_scorer.model)
    ta.use_tree_attention(model)
    yield model


def ancestors(tree: Tree) -> torch.Tensor:
    """Who sees whom, token by token."""
    seen = torch.eye(len(tree), dtype=torch.bool)
    for token, parent in enumerate(tree.parents):
        if parent >= 0:
            seen[token] |= seen[parent]
    return seen


@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.integers(1, 12))
def test_blocks_see_exactly_the_ancestors(rows: list[list[list[int]]], size: int) -> None:
    row = join([build_tree(sequences) for sequences in rows])
    found = torch.zeros(len(row), len(row), dtype=torch.bool)
    for block in ta.blocks(row.parents, size):
        columns = torch.tensor([token for first, last in block.ranges for token in range(first, last)])
        assert columns[block.seen.any(0)].tolist() == columns.tolist(), "a key that nobody sees is computed"
        found[block.start : block.stop, columns] = block.seen
    assert torch.equal(found, ancestors(row))


@settings(deadline=None)
@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.integers(1, 12), st.integers(0, 5))
def test_attention_and_its_gradients_equal_a_mask_over_the_row(rows: Any, size: int, seed: int) -> None:
    row = join([build_tree(sequences) for sequences in rows])
    torch.manual_seed(seed)
    length, seen = len(row), ancestors(row)
    given_states = [torch.randn(1, heads, length, 4, dtype=torch.float64) for heads in (6, 2, 2)]
    outputs, gradients = [], []
    blocks = ta.blocks(row.parents, size)
    for way in ("blocks", "mask"):
        query, key, value = (x.clone().requires_grad_() for x in given_states)
        if way == "blocks":
            tree = ta.TreeAttention(row.parents, query)
            tree.blocks = blocks
            mixed = tree(query, key, value, 0.3)
        else:
            keys, values = (x.repeat_interleave(3, 1) for x in (key, value))
            scores = (query @ keys.transpose(2, 3) * 0.3).masked_fill(~seen, -torch.inf)
            mixed = (scores.softmax(-1) @ values).transpose(1, 2)
        mixed.sin().sum().backward()
        outputs.append(mixed)
        gradients.append([query.grad, key.grad, value.grad])
    assert torch.allclose(*outputs, atol=1e-12)
    for left, right in zip(*gradients, strict=True):
        assert torch.allclose(left, right, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [3, 8, 128])
def test_a_row_of_trees_equals_its_sequences_apart(
    trained: Any, tiny_scorer: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ta, "ON_PROCESSOR", size)
    text = torch.arange(5, 45).tolist()
    trees = [[text[:30], text[:20] + text[33:40], text[:20]], [text[8:28], text[8:12] + text[:9]], [text[:1]]]

    def weighted(logits: torch.Tensor) -> torch.Tensor:
        return (logits.log_softmax(-1)[:, ::7] * torch.arange(1, len(logits) + 1)[:, None]).sum()

    def gradient(model: Any) -> torch.Tensor:
        flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        return flat

    together = row_logits(trained, lay_out([build_tree(sequences) for sequences in trees]))
    plain = deepcopy(tiny_scorer.model)
    plain.set_attn_implementation("eager")
    apart = torch.cat([plain(torch.tensor([s])).logits[:, -1] for sequences in trees for s in sequences])
    assert torch.allclose(together, apart, atol=1e-5)
    weighted(together).backward()
    weighted(apart).backward()
    ours, theirs = gradient(trained), gradient(plain)
    assert (ours - theirs).norm() / theirs.norm() < 1e-5 and theirs.norm() > 1e-2


def test_a_backbone_that_drops_weights_is_refused(trained: Any) -> None:
    for layer in trained.model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(ValueError, match=r"attention_dropout 0\.1"):
        row_logits(trained.train(), lay_out([build_tree([[1, 2]])]))


def test_other_callers_get_the_usual_attention(trained: Any, tiny_scorer: Any) -> None:
    tokens = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(trained(tokens).logits, tiny_scorer.model(tokens).logits, atol=1e-5)


def test_joined_trees_keep_their_shape() -> None:
    one, two = build_tree([[1, 2, 3], [1, 2, 4]]), build_tree([[1, 2], [5]])
    row = join([one, two])
    assert row.tokens == [1, 2, 3, 4, 1, 2, 5]
    assert row.positions == [0, 1, 2, 2, 0, 1, 0]
    assert row.parents == [-1, 0, 1, 1, -1, 4, -1]
    assert row.leaves == [2, 3, 5, 6]
