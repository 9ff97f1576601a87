"""Prefix trees: exact layout, and scores equal to those of separate sequences whatever the company."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from csrm.configs.safety_config import SafetyConfig
from csrm.model.reward import answer_logits, encode_request, safe_log_odds
from csrm.model.scorer import CSRM, Request
from csrm.model.tree import build_tree, collate
from csrm.rows import Message


def test_tree_shares_prefixes_and_keeps_positions() -> None:
    tree = build_tree([[1, 2, 3], [1, 2, 4, 5], [1, 2], [9]])
    assert tree.tokens == [1, 2, 3, 4, 5, 9]
    assert tree.positions == [0, 1, 2, 2, 3, 0]
    assert tree.parents == [-1, 0, 1, 1, 3, -1]
    assert tree.leaves == [2, 4, 1, 5]


def test_mask_is_ancestors_and_self() -> None:
    rng = random.Random(0)
    sequences = [[rng.randrange(3) for _ in range(rng.randint(1, 9))] for _ in range(12)]
    tree = build_tree(sequences)
    mask = collate([tree, build_tree([[1]])], pad_id=0).attention_mask[0, 0]
    for node in range(len(tree)):
        seen, parent = {node}, tree.parents[node]
        while parent >= 0:
            seen.add(parent)
            parent = tree.parents[parent]
        assert set(mask[node].nonzero().flatten().tolist()) == seen


def test_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="empty sequence"):
        build_tree([[1], []])


def requests() -> list[Request]:
    configs = [
        SafetyConfig.from_data(["Violence", "Pets"]),
        SafetyConfig.from_data([{"name": "Burglary", "guideline": "No help with locks."}]),
        SafetyConfig.from_data(["Violence", "Cooking"]),
    ]
    turns = [
        [Message(role="user", content="hello " * k), Message(role="assistant", content="an answer " * (9 - k))]
        for k in (1, 4, 8)
    ]
    return [Request(t, c.categories) for t in turns for c in configs]


@pytest.mark.parametrize("order", ["conversation-first", "config-first", "config-last"])
def test_scores_do_not_depend_on_company(tiny_scorer: Any, order: Any) -> None:
    tiny_scorer.order = order
    alone = []
    for request in requests():
        tokens = encode_request(tiny_scorer.tokenizer, request.messages, request.categories, order, 1024).tokens
        with torch.inference_mode():
            logits = tiny_scorer.model(torch.tensor([tokens])).logits[0, -1]
        alone.append(safe_log_odds(logits, tiny_scorer.verbalizer).item())
    for budget in (64, 700, 100_000):
        backend = replace(tiny_scorer.backend, token_budget=budget)
        scorer = CSRM(backend, tiny_scorer.tokenizer, order, 1024, tiny_scorer.verbalizer)
        together = [s.log_odds for s in scorer.score_requests(requests())]
        assert together == pytest.approx(alone, abs=1e-4)
    shuffled = list(reversed(requests()))
    assert [s.log_odds for s in tiny_scorer.score_requests(shuffled)][::-1] == pytest.approx(alone, abs=1e-4)


def test_gradients_equal_those_of_separate_sequences(tiny_scorer: Any) -> None:
    model = tiny_scorer.model
    sequences = [[5, 6, 7, 8, 9], [5, 6, 7, 11], [5, 12, 13]]

    def gradient(batch: Any) -> torch.Tensor:
        model.zero_grad()
        safe_log_odds(answer_logits(model, batch), tiny_scorer.verbalizer).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    shared = gradient(collate([build_tree(sequences)], pad_id=0))
    separate = gradient(collate([build_tree([s]) for s in sequences], pad_id=0))
    model.zero_grad()
    assert torch.allclose(shared, separate, atol=1e-5)
