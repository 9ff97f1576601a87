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
    pairs: torch.Tensor,
    verbalizer: Verbalizer,
    gamma: float,
    margin: float,
) -> JointLoss:
    """L = mean L_cls + gamma * mean L_rm over a batch that mixes CLS and RM items.

    Args:
        logits: (N, vocabulary), at the verdict positions of N sequences.
        labels: (N,) long: 1 safe, 0 unsafe, -1 without a label (enters ranking pairs only).
        pairs: (P, 2) long: (chosen, rejected) indices of sequences.
        verbalizer: the answer token sets.
        gamma: weight of L_rm.
        margin: m, nats.
    """
    log_odds = safe_log_odds(logits, verbalizer)
    labelled = labels >= 0
    zero = logits.sum() * 0
    classification = zero
    if labelled.any():
        classification = classification_loss(logits[labelled], labels[labelled] == 1, verbalizer).mean()
    ranking = zero
    if len(pairs):
        ranking = ranking_loss(log_odds[pairs[:, 0]], log_odds[pairs[:, 1]], margin).mean()
    return JointLoss(classification + gamma * ranking, classification, ranking, log_odds)
