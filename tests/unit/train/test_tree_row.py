"""Trees in one row: log-odds and gradients of separate sequences, whatever the blocks; no tree sees another."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from csrm.model.tree import Tree, build_tree, join
from csrm.settings import TrainSettings
from csrm.train import tree_attention as ta
from csrm.train.last_layer import can_narrow
from csrm.train.trainer import trainable
from csrm.train.tree_blocks import blocks, blocks_of
from csrm.train.tree_row import lay_out, row_logits, row_states

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
    for block in blocks(row.parents, size):
        columns = torch.tensor([token for first, last in block.ranges for token in range(first, last)])
        assert columns[block.seen.any(0)].tolist() == columns.tolist(), "a key that nobody sees is computed"
        assert block.seen[:, : block.common].all() and not block.seen[:, block.common : block.common + 1].all(0).any()
        found[block.start : block.stop, columns] = block.seen
    assert torch.equal(found, ancestors(row))


@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.integers(1, 5), st.data())
def test_blocks_of_some_tokens_see_their_ancestors(rows: list[list[list[int]]], size: int, data: st.DataObject) -> None:
    row = join([build_tree(sequences) for sequences in rows])
    tokens = data.draw(st.lists(st.integers(0, len(row) - 1), min_size=1))
    found = torch.zeros(len(tokens), len(row), dtype=torch.bool)
    for block in blocks_of(tokens, row.parents, size):
        columns = torch.tensor([token for first, last in block.ranges for token in range(first, last)])
        found[block.start : block.stop, columns] = block.seen
    assert torch.equal(found, ancestors(row)[tokens])


@settings(deadline=None)
@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.integers(1, 12), st.integers(0, 5))
def test_attention_and_its_gradients_equal_a_mask_over_the_row(rows: Any, size: int, seed: int) -> None:
    row = join([build_tree(sequences) for sequences in rows])
    torch.manual_seed(seed)
    length, seen = len(row), ancestors(row)
    given_states = [torch.randn(1, heads, length, 4, dtype=torch.float64) for heads in (6, 2, 2)]
    outputs, gradients = [], []
    made = blocks(row.parents, size)
    for way in ("blocks", "mask"):
        query, key, value = (x.clone().requires_grad_() for x in given_states)
        if way == "blocks":
            mixed = ta.TreeAttention(made, query.device)(query, key, value, 0.3)
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


TEXT = torch.arange(5, 45).tolist()
TREES = [[TEXT[:30], TEXT[:20] + TEXT[33:40], TEXT[:20]], [TEXT[8:28], TEXT[8:12] + TEXT[:9]], [TEXT[:1]]]


def weighted(logits: torch.Tensor) -> torch.Tensor:
    """A loss to which every sequence adds something else."""
    return (logits.log_softmax(-1)[:, ::7] * torch.arange(1, len(logits) + 1)[:, None]).sum()


def gradient(model: Any) -> torch.Tensor:
    """All gradients, which are forgotten."""
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return flat


def assert_as_apart(ours: Any, plain: Any, trees: list[list[list[int]]]) -> None:
    """Answers and gradients of a row are those of its sequences, each by itself in another model."""
    together = row_logits(ours, lay_out([build_tree(sequences) for sequences in trees]))
    apart = torch.cat([plain(torch.tensor([s])).logits[:, -1] for sequences in trees for s in sequences])
    assert torch.allclose(together, apart, atol=1e-5)
    weighted(together).backward()
    weighted(apart).backward()
    mine, other = gradient(ours), gradient(plain)
    assert (mine - other).norm() / other.norm() < 1e-5 and other.norm() > 1e-2


@pytest.mark.parametrize("size", [3, 8, 128])
def test_a_row_of_trees_equals_its_sequences_apart(
    trained: Any, tiny_scorer: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ta, "ON_PROCESSOR", size)
    plain = deepcopy(tiny_scorer.model)
    plain.set_attn_implementation("eager")
    assert_as_apart(trained, plain, TREES)


@pytest.mark.parametrize("change", ["none", "checkpoints", "lora", "lora, checkpoints"])
@pytest.mark.parametrize("kind", ["Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2"])
def test_every_architecture_equals_its_sequences_apart(kind: str, change: str) -> None:
    """Those whose last layer is computed at answers, and one that is not known."""
    options = {"method": "lora" if "lora" in change else "full", "gradient_checkpointing": "checkpoints" in change}
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        model = trainable(random_model(kind), TrainSettings.model_validate({"lora_rank": 4, **options})).train()
        for parameter in model.parameters():
            if "lora" in change and parameter.requires_grad:
                parameter.data.normal_(std=0.1)
        models.append(model)
    ours, plain = models
    ta.use_tree_attention(ours.get_base_model() if "lora" in change else ours)
    assert can_narrow(ours) == (kind != "Olmo2")
    assert_as_apart(ours, plain, TREES)


def random_model(kind: str) -> Any:
    """Three layers whose attention has biases and norms where the architecture has them."""
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = getattr(transformers, f"{kind}Config")(vocab_size=64, num_hidden_layers=3, head_dim=8, **sizes)
    config.sliding_window = None
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    for name, parameter in model.named_parameters():
        if name.endswith((".bias", "_norm.weight", "layernorm.weight")):
            parameter.data.normal_(1.0, 0.3)
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_last_layer_is_computed_where_it_is_read(trained: Any, checkpointing: bool) -> None:
    """All tokens get keys and values, those read the rest; the model is left as it was."""
    if checkpointing:
        trained.activation_checkpointing_enable({"use_reentrant": False})
    row = lay_out([build_tree(sequences) for sequences in TREES])
    rows: dict[str, list[int]] = {}
    for number, layer in enumerate(trained.train().model.layers):
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj"):
            seen = rows.setdefault(f"{number} {name}", [])
            layer.get_submodule(name).register_forward_hook(
                lambda _, given, __, seen=seen: seen.append(len(given[0][0]))
            )
    states = row_states(trained, row, row.ends)
    count, read = row.input_ids.shape[1], len(row.ends)
    assert len(states) == read < count
    for name, found in rows.items():
        first = [count] if name.startswith("0") else [read]
        assert found == ([*first, count] if name == "1 self_attn.k_proj" else first)
    assert torch.allclose(row_states(trained, row)[row.ends], states, atol=1e-6)
    assert not trained.model.layers[-1]._forward_pre_hooks


def test_tokens_read_may_come_in_any_order_and_twice(trained: Any) -> None:
    row = lay_out([build_tree(sequences) for sequences in TREES])
    read = torch.tensor([40, 3, 3, 19, 0, 29])
    assert torch.allclose(row_states(trained, row, read), row_states(trained, row)[read], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "longest", "message"),
    [
        (
            "Mistral",
            {"sliding_window": 8},
            9,
            r"see 8 tokens \(sliding_window\), the longest sequence may have 9: set train",
        ),
        ("Mistral", {"sliding_window": 8}, None, r"may have any number: set train.max_length to 8 or less, or choose"),
        ("Gemma2", {}, 9, r"caps attention scores \(attn_logit_softcapping 50\.0\), allowed is none: choose"),
        ("Gemma3Text", {"sliding_window": 8}, 9, r"see 8 tokens \(sliding_window\)"),
        ("Qwen3Next", {}, 9, r"layers of kind \['linear_attention'\], training allows full_attention: choose"),
    ],
)
def test_other_attention_is_refused(kind: str, options: dict[str, Any], longest: int | None, message: str) -> None:
    config = getattr(transformers, f"{kind}Config")(**options)
    with pytest.raises(ValueError, match=message):
        ta.refuse_partial_attention(config, longest)


def test_windows_that_hold_every_sequence_are_allowed() -> None:
    ta.refuse_partial_attention(transformers.MistralConfig(sliding_window=9), 9)
    ta.refuse_partial_attention(transformers.Gemma3TextConfig(sliding_window=9), 9)
    ta.refuse_partial_attention(transformers.Qwen3Config(sliding_window=9), None)  # without use_sliding_window


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
