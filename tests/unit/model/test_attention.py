"""Grouped attention against PyTorch's kernel: the same values and gradients, under any mask."""

from typing import Any

import pytest
import torch

from csrm.model.attention import NAME, grouped_attention, use_grouped_attention


@pytest.mark.parametrize(("heads", "groups", "scaling"), [(4, 2, None), (9, 3, 0.3), (3, 3, None), (4, 1, 0.5)])
def test_equals_scaled_dot_product_attention(heads: int, groups: int, scaling: float | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, heads, 7, 8, requires_grad=True)
    key, value = (torch.randn(2, groups, 11, 8, requires_grad=True) for _ in range(2))
    allowed = torch.rand(2, 1, 7, 11) > 0.5
    allowed[..., 0] = True
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    ours = grouped_attention(None, query, key, value, mask, scaling)[0]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=allowed, scale=scaling, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), (query, key, value)),
        torch.autograd.grad((theirs * weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_a_model_uses_it_and_does_not_save_it(tiny_scorer: Any, tmp_path: Any) -> None:
    model = tiny_scorer.model
    use_grouped_attention(model)
    use_grouped_attention(model)
    assert model.config._attn_implementation == NAME
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")


def test_a_model_with_another_kernel_keeps_it(tiny_scorer: Any) -> None:
    model = tiny_scorer.model
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert model.config._attn_implementation == "eager"


def test_a_padded_batch_without_a_tree_is_as_with_the_kernel(tiny_scorer: Any) -> None:
    model = tiny_scorer.model
    ids = torch.randint(10, 90, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 9, [0] * 4 + [1] * 5])
    logits = []
    for kind in ("sdpa", NAME):
        model.set_attn_implementation(kind)
        logits.append([model(input_ids=ids, attention_mask=given).logits[:, -1] for given in (mask, None)])
    torch.testing.assert_close(logits[0], logits[1])
    assert not torch.allclose(logits[1][0][1], logits[1][1][1])
