"""Groups as training examples: one prefix tree each, with labels and ranking pairs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.model.reward import encode_request
from csrm.model.tree import Tree, build_tree, collate
from csrm.rows import Branch, Group
from csrm.settings import TrainSettings

LABELS = {"safe": 1, "unsafe": 0, None: -1}


class Example(NamedTuple):
    """A group as a prefix tree; `labels` per sequence (1 safe, 0 unsafe, -1 none), `pairs` (chosen, rejected)."""

    tree: Tree
    labels: list[int]
    pairs: list[tuple[int, int]]
    tokens: int
    cut: int


def encode_group(tokenizer: Any, group: Group, settings: TrainSettings) -> Example:
    """Tokenise every branch of a group and lay the sequences out as one prefix tree."""

    def encode(branch: Branch) -> Any:
        messages = branch.messages or group.messages
        return encode_request(tokenizer, messages, branch.config, settings.section_order, settings.max_length)

    encoded = [encode(branch) for branch in group.branches]
    return Example(
        tree=build_tree([e.tokens for e in encoded]),
        labels=[LABELS[branch.label] for branch in group.branches],
        pairs=list(group.pairs),
        tokens=sum(len(e.tokens) for e in encoded),
        cut=sum(e.cut for e in encoded),
    )


def sort_within_batches(examples: Sequence[Example], batch: int) -> list[Example]:
    """Sort each effective batch by length, so that its forward passes pad little; batches stay what they were."""
    ordered: list[Example] = []
    for start in range(0, len(examples), batch):
        ordered += sorted(examples[start : start + batch], key=lambda e: len(e.tree))
    return ordered


def collate_examples(examples: Sequence[Example], pad_id: int, batch: int | None = None) -> dict[str, Any]:
    """One forward pass: the trees' tensors, and labels and pairs of their N sequences with their weights.

    Args:
        examples: the groups of this forward pass.
        pad_id: padding token.
        batch: groups in the whole effective batch (default: these); every group weighs 1 / batch.

    Returns:
        `TreeBatch` fields, `labels` and `label_weights` (N,), `pairs` (P, 2) as indices, `pair_weights` (P,).
    """
    import torch

    share = 1 / (batch or len(examples))
    labels: list[int] = []
    label_weights: list[float] = []
    pairs: list[tuple[int, int]] = []
    pair_weights: list[float] = []
    for example in examples:
        offset, known = len(labels), sum(label >= 0 for label in example.labels)
        labels += example.labels
        label_weights += [share / known if label >= 0 else 0.0 for label in example.labels]
        pairs += [(offset + chosen, offset + rejected) for chosen, rejected in example.pairs]
        pair_weights += [share / len(example.pairs) for _ in example.pairs]
    return {
        **collate([example.tree for example in examples], pad_id)._asdict(),
        "labels": torch.tensor(labels),
        "label_weights": torch.tensor(label_weights),
        "pairs": torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        "pair_weights": torch.tensor(pair_weights),
    }
