"""The joint objective of CSRM (section 3.3): classification over verbalizer sets plus ranking with a margin."""

from typing import NamedTuple

import torch
from torch.nn import functional

from csrm.model.reward import safe_log_odds
from csrm.model.verbalizer import Verbalizer


class JointLoss(NamedTuple):
    """The loss and its parts (scalars), and the safe log-odds of each sequence (N,)."""

    loss: torch.Tensor
    classification: torch.Tensor
    ranking: torch.Tensor
    log_odds: torch.Tensor


def classification_loss(logits: torch.Tensor, safe: torch.Tensor, verbalizer: Verbalizer) -> torch.Tensor:
    """L_cls: negative log of the probability that the full softmax gives to the label's token set.

    Args:
        logits: (N, vocabulary), at the verdict position.
        safe: (N,) bool, the labels.
        verbalizer: the two token sets. The softmax is not renormalised over them.

    Returns:
        (N,) losses in nats.
    """
    everything = logits.logsumexp(-1)
    of_safe = logits[:, list(verbalizer.safe)].logsumexp(-1)
    of_unsafe = logits[:, list(verbalizer.unsafe)].logsumexp(-1)
    return everything - torch.where(safe, of_safe, of_unsafe)


def ranking_loss(chosen: torch.Tensor, rejected: torch.Tensor, margin: float = 0.0) -> torch.Tensor:
    """L_rm = -log sigma(s_chosen - s_rejected - m), (P,) nats.

    For strictness pairs chosen is the lenient configuration: s is the *safe* log-odds, and the same response is
    safer under a more lenient policy. The paper prints the opposite order (see docs/decisions.md).
    """
    return functional.softplus(-(chosen - rejected - margin))


def joint_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_weights: torch.Tensor,
    pairs: torch.Tensor,
    pair_weights: torch.Tensor,
    verbalizer: Verbalizer,
    gamma: float,
    margin: float,
) -> JointLoss:
    """L = L_cls + gamma L_rm of a batch that mixes CLS and RM items, as weighted sums.

    Weights that add up to one per group, divided by the batch's groups, make the loss the mean over groups: it does
    not depend on how a batch is cut into forward passes.

    Args:
        logits: (N, vocabulary), at the verdict positions of N sequences.
        labels: (N,) long: 1 safe, 0 unsafe; ignored where the weight is 0.
        label_weights: (N,) weight of each sequence in L_cls; 0 without a label.
        pairs: (P, 2) long: (chosen, rejected) indices of sequences.
        pair_weights: (P,) weight of each pair in L_rm.
        verbalizer: the answer token sets.
        gamma: weight of L_rm.
        margin: m, nats.
    """
    log_odds = safe_log_odds(logits, verbalizer)
    classification = (label_weights * classification_loss(logits, labels == 1, verbalizer)).sum()
    ranking = (pair_weights * ranking_loss(log_odds[pairs[:, 0]], log_odds[pairs[:, 1]], margin)).sum()
    return JointLoss(classification + gamma * ranking, classification, ranking, log_odds)
