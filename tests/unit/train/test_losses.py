"""The joint objective against formulas written with probabilities."""

import math

import pytest
import torch

from csrm.model.reward import safe_log_odds
from csrm.model.verbalizer import Verbalizer
from csrm.train.losses import classification_loss, joint_loss, ranking_loss

VERBALIZER = Verbalizer(safe=(1, 2), unsafe=(5, 7))
LOGITS = torch.randn(6, 11, generator=torch.Generator().manual_seed(0))


def mass(row: int, tokens: tuple[int, ...]) -> float:
    weights = [math.exp(x) for x in LOGITS[row].tolist()]
    return sum(weights[t] for t in tokens) / sum(weights)


def test_log_odds_are_of_summed_probabilities() -> None:
    for row, value in enumerate(safe_log_odds(LOGITS, VERBALIZER).tolist()):
        assert value == pytest.approx(math.log(mass(row, (1, 2)) / mass(row, (5, 7))), abs=1e-5)


def test_classification_is_over_the_full_vocabulary() -> None:
    safe = torch.tensor([True, False, True, False, True, False])
    for row, value in enumerate(classification_loss(LOGITS, safe, VERBALIZER).tolist()):
        expected = -math.log(mass(row, VERBALIZER.safe if safe[row] else VERBALIZER.unsafe))
        assert value == pytest.approx(expected, abs=1e-5)


def test_ranking_prefers_lenient_above_strict() -> None:
    """Figure 6: lenient +3.2, strict -1.9. The order as printed would give 5.106."""
    lenient, strict = torch.tensor([3.2]), torch.tensor([-1.9])
    assert ranking_loss(lenient, strict).item() == pytest.approx(0.00608, abs=1e-5)
    assert ranking_loss(strict, lenient).item() == pytest.approx(5.106, abs=1e-3)
    assert ranking_loss(lenient, strict, margin=5.1).item() == pytest.approx(math.log(2), abs=1e-6)


def test_joint_loss_is_the_weighted_sum() -> None:
    labels = torch.tensor([1, 0, -1, -1, 1, 0])
    label_weights = torch.tensor([0.25, 0.25, 0.0, 0.0, 0.25, 0.25])
    pairs, pair_weights = torch.tensor([[0, 1], [2, 3]]), torch.tensor([0.5, 0.5])
    joint = joint_loss(LOGITS, labels, label_weights, pairs, pair_weights, VERBALIZER, gamma=0.3, margin=0.5)
    known = torch.tensor([0, 1, 4, 5])
    cls = classification_loss(LOGITS[known], labels[known] == 1, VERBALIZER).mean()
    s = safe_log_odds(LOGITS, VERBALIZER)
    rm = ranking_loss(s[[0, 2]], s[[1, 3]], 0.5).mean()
    assert joint.loss.item() == pytest.approx((cls + 0.3 * rm).item(), abs=1e-6)


def test_batch_without_labels_or_without_pairs() -> None:
    none, zero = torch.zeros((0, 2), dtype=torch.long), torch.zeros(0)
    only_cls = joint_loss(LOGITS, torch.ones(6), torch.ones(6) / 6, none, zero, VERBALIZER, 1.0, 0.0)
    pair, one = torch.tensor([[0, 1]]), torch.ones(1)
    only_rm = joint_loss(LOGITS, -torch.ones(6), torch.zeros(6), pair, one, VERBALIZER, 1.0, 0.0)
    assert only_cls.ranking.item() == 0 and only_cls.loss.item() > 0
    assert only_rm.classification.item() == 0 and only_rm.loss.item() > 0
