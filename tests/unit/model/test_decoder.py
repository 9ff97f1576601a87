"""Scoring along paths: equal to one at a time for every known architecture, the same bits whatever the company."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers

from csrm.model.attention import use_grouped_attention
from csrm.model.backends.local import TransformersBackend
from csrm.model.decoder import KNOWN, can_walk, same_bits
from csrm.model.path import Path
from csrm.model.reward import safe_log_odds
from csrm.model.verbalizer import Verbalizer

ANSWERS = Verbalizer((3, 5), (4,))
LARGE = {"initializer_range": 0.3}  # scores of several nats, which a mistake would move


def model_of(architecture: str, **options: Any) -> Any:
    kind = getattr(transformers, architecture)
    sizes = {
        "vocab_size": 90,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "sliding_window": None,
    }
    torch.manual_seed(0)
    model = kind(kind.config_class(**{**sizes, **LARGE, **options})).eval()
    use_grouped_attention(model)
    return model


def sequences(seed: int = 0) -> list[list[int]]:
    """A tree with long and short branches, one within another, one twice; the longest spans several pages of keys."""
    draw = random.Random(seed)

    def text(length: int) -> list[int]:
        return [draw.randrange(6, 90) for _ in range(length)]

    one, two, deep = text(150), text(37), text(260)
    branches = [one + text(n) for n in (1, 2, 15, 64, 90)] + [two + text(n) for n in (1, 8, 70)]
    return [*branches, one, deep, deep + text(5), deep[:200] + text(90), [7], one, text(1)]


def alone(model: Any, given: list[list[int]]) -> list[float]:
    with torch.inference_mode():
        return [safe_log_odds(model(torch.tensor([s])).logits[0, -1], ANSWERS).item() for s in given]


def variants() -> list[tuple[str, dict[str, Any]]]:
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    extra: list[tuple[str, dict[str, Any]]] = [
        ("LlamaForCausalLM", {"num_key_value_heads": 6, "attention_bias": True}),
        ("LlamaForCausalLM", {"rope_parameters": {**llama3, "rope_theta": 1e4}}),
        ("Qwen3ForCausalLM", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    ]
    return [(name, {}) for name in sorted(KNOWN)] + extra


@pytest.mark.parametrize(("architecture", "options"), variants())
def test_equals_one_at_a_time(architecture: str, options: dict[str, Any]) -> None:
    model = model_of(architecture, **options)
    assert can_walk(model)
    given = sequences()
    expected = alone(model, given)
    assert max(expected) - min(expected) > 1, "a mistake would not show"
    backend = TransformersBackend(model, ANSWERS)
    assert backend.log_odds(given) == pytest.approx(expected, abs=1e-5)
    masked = dict(backend._masked([tuple(s) for s in given]))
    assert [masked[i] for i in range(len(given))] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("limit", [100, 1000])
def test_products_whose_rows_depend_on_their_number_are_found(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("LlamaForCausalLM")
    forward = torch.nn.Linear.forward
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, x: forward(self, x) + 1e-3 * (len(x) > limit))
    assert not same_bits(model)


def test_attention_that_depends_on_the_number_of_tokens_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = Path.attend
    monkeypatch.setattr(Path, "attend", lambda *given: attend(*given) + 1e-3 * (given[2].shape[1] > 1))
    assert not same_bits(model_of("LlamaForCausalLM"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_in_any_company(dtype: torch.dtype) -> None:
    model = model_of("LlamaForCausalLM").to(dtype)
    if not same_bits(model):
        pytest.skip("a product's rows depend on their number here: scores differ in the last bits, as manifests say")
    given = sequences()
    backend = TransformersBackend(model, ANSWERS)
    together = backend.log_odds(given)
    assert [backend.log_odds([s])[0] for s in given] == together
    order = random.Random(1).sample(range(len(given)), len(given))
    assert backend.log_odds([given[i] for i in order]) == [together[i] for i in order]
    for budget in (64, 100, 333):
        assert replace(backend, token_budget=budget).log_odds(given) == together
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert backend.log_odds(given) == together
    finally:
        torch.set_num_threads(threads)


def test_a_kept_prefix_changes_no_score() -> None:
    model = model_of("Qwen3ForCausalLM")
    given = sequences()
    expected = TransformersBackend(model, ANSWERS).log_odds(given)
    backend = TransformersBackend(model, ANSWERS, token_budget=100)
    for prefix in (given[0][:150], given[9], given[9][:100], [7, 8]):
        backend.warm(prefix)
    assert len(backend.prefixes.held) == 4
    assert backend.log_odds(given) == pytest.approx(expected, abs=1e-6)


def test_only_verdict_rows_pass_the_end_of_the_last_layer() -> None:
    model = model_of("LlamaForCausalLM")
    rows: list[int] = []
    for layer in model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda module, given: rows.append(given[0].shape[1]))
    TransformersBackend(model, ANSWERS).log_odds([[6] * 50 + [n] for n in range(6, 9)])
    assert rows == [56, 56, 8]


def other_models() -> list[Any]:
    eager = model_of("LlamaForCausalLM")
    eager.set_attn_implementation("eager")
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    return [
        eager,
        model_of("MistralForCausalLM", sliding_window=20),
        model_of("LlamaForCausalLM", rope_parameters=dynamic),
        model_of("GemmaForCausalLM"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_what_is_not_known_is_scored_with_a_mask(number: int) -> None:
    model = other_models()[number]
    assert not can_walk(model)
    given = [[8, 9, 10], [8, 9, 11, 12]]
    backend = TransformersBackend(model, ANSWERS)
    assert backend.log_odds(given) == pytest.approx(alone(model, given), abs=1e-4)
    with pytest.raises(ValueError, match="cannot keep prefixes"):
        backend.warm([8, 9])
