"""Groups as training examples: one prefix tree each, with labels and ranking pairs."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.model.reward import encode_request
from csrm.model.tree import Tree, build_tree, collate
from csrm.rows import Branch, Group
from csrm.settings import TrainSettings

LABELS = {"safe": 1, "unsafe": 0, None: -1}
WINDOW = 8


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


def order_batches(examples: Sequence[Example], batch: int, rng: random.Random) -> list[Example]:
    """Order examples so that batches hold similar lengths, without sorting the whole run.

    Within windows of a few batches the examples are sorted by length, cut into batches, and the batches shuffled.
    """
    ordered: list[Example] = []
    for start in range(0, len(examples), WINDOW * batch):
        window = sorted(examples[start : start + WINDOW * batch], key=lambda e: len(e.tree))
        batches = [window[i : i + batch] for i in range(0, len(window), batch)]
        rng.shuffle(batches)
        ordered += [example for members in batches for example in members]
    return ordered


def collate_examples(examples: Sequence[Example], pad_id: int) -> dict[str, Any]:
    """One batch: the trees' tensors, labels (N,) and pairs (P, 2) as indices into the batch's N sequences."""
    import torch

    labels: list[int] = []
    pairs: list[tuple[int, int]] = []
    for example in examples:
        offset = len(labels)
        pairs += [(offset + chosen, offset + rejected) for chosen, rejected in example.pairs]
        labels += example.labels
    return {
        **collate([example.tree for example in examples], pad_id)._asdict(),
        "labels": torch.tensor(labels),
        "pairs": torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
    }
