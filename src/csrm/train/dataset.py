"""Units of the mixture as training examples: one prefix tree each, with labels and ranking pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from csrm.model.reward import encode_request
from csrm.model.tree import Tree, build_tree
from csrm.rows import Branch, Group
from csrm.settings import TrainSettings

LABELS = {"safe": 1, "unsafe": 0, None: -1}


class Example(NamedTuple):
    """A unit as a prefix tree, with its share of the loss.

    Attributes:
        tree: the sequences of all branches.
        labels: per sequence 1 (safe), 0 (unsafe) or -1 (none).
        label_weights: per sequence its weight in L_cls; they add up to at most one.
        pairs: (chosen, rejected) indices of sequences.
        pair_weights: per pair its weight in L_rm; they add up to at most one.
        tokens: tokens of all sequences, without sharing.
        cut: sequences that were cut to fit.
    """

    tree: Tree
    labels: list[int]
    label_weights: list[float]
    pairs: list[tuple[int, int]]
    pair_weights: list[float]
    tokens: int
    cut: int


def prepare(
    tokenizer: Any, paths: Sequence[Path], settings: TrainSettings, seed: int
) -> tuple[list[Example], dict[str, int]]:
    """The variant's mixture as examples in training order, and how many groups came from each source."""
    from csrm.augment.mix import by_source, mix
    from csrm.files import read_rows

    sources = by_source(group for path in paths for group in read_rows(path, Group))
    wanted = settings.steps * settings.batch_groups
    shares = {str(source): share for source, share in settings.shares.items()}
    units, counts = mix(sources, settings.cca, settings.sa, wanted, seed, shares, settings.by_conversation)
    examples = [encode_unit(tokenizer, unit, settings) for unit in units]
    return sort_within_batches(examples, settings.batch_groups), counts


def encode_unit(tokenizer: Any, unit: Sequence[Group], settings: TrainSettings) -> Example:
    """Tokenise every branch of a unit's groups and lay the sequences out as one prefix tree.

    Each group weighs what its source has of `settings.shares` among the unit's; a group's labels share its weight, and
    so do its pairs. The loss is that of the groups apart, in these proportions.
    """

    def encode(group: Group, branch: Branch) -> Any:
        messages = branch.messages or group.messages
        return encode_request(tokenizer, messages, branch.config, settings.section_order, settings.max_length)

    encoded = [encode(group, branch) for group in unit for branch in group.branches]
    shares = [settings.shares[group.branches[0].source] for group in unit]
    labels: list[int] = []
    label_weights: list[float] = []
    pairs: list[tuple[int, int]] = []
    pair_weights: list[float] = []
    for group, share in zip(unit, shares, strict=True):
        offset, weight = len(labels), share / sum(shares)
        own = [LABELS[branch.label] for branch in group.branches]
        known = sum(label >= 0 for label in own)
        labels += own
        label_weights += [weight / known if label >= 0 else 0.0 for label in own]
        pairs += [(offset + chosen, offset + rejected) for chosen, rejected in _ranked(group, settings)]
        pair_weights += [weight / len(group.pairs) for _ in group.pairs]
    return Example(
        tree=build_tree([e.tokens for e in encoded]),
        labels=labels,
        label_weights=label_weights,
        pairs=pairs,
        pair_weights=pair_weights,
        tokens=sum(len(e.tokens) for e in encoded),
        cut=sum(e.cut for e in encoded),
    )


def _ranked(group: Group, settings: TrainSettings) -> list[tuple[int, int]]:
    """The group's (chosen, rejected) pairs; those of SA the other way round where `strict_first` says so."""
    if settings.strict_first and group.branches[0].source == "sa":
        return [(rejected, chosen) for chosen, rejected in group.pairs]
    return list(group.pairs)


def sort_within_batches(examples: Sequence[Example], batch: int) -> list[Example]:
    """Sort each effective batch by length, so that processes side by side wait little; batches stay what they were."""
    ordered: list[Example] = []
    for start in range(0, len(examples), batch):
        ordered += sorted(examples[start : start + batch], key=lambda e: len(e.tree))
    return ordered


def collate_examples(examples: Sequence[Example], batch: int | None = None) -> dict[str, Any]:
    """One forward pass: the trees' tensors, and labels and pairs of their N sequences with their weights.

    Args:
        examples: the units of this forward pass.
        batch: units in the whole effective batch (default: these); every unit weighs 1 / batch.

    Returns:
        `TreeRow` fields, `labels` and `label_weights` (N,), `pairs` (P, 2) as indices, `pair_weights` (P,).
    """
    import torch

    from csrm.train.tree_row import lay_out

    share = 1 / (batch or len(examples))
    labels: list[int] = []
    label_weights: list[float] = []
    pairs: list[tuple[int, int]] = []
    pair_weights: list[float] = []
    for example in examples:
        offset = len(labels)
        labels += example.labels
        label_weights += [share * weight for weight in example.label_weights]
        pairs += [(offset + chosen, offset + rejected) for chosen, rejected in example.pairs]
        pair_weights += [share * weight for weight in example.pair_weights]
    return {
        **lay_out([example.tree for example in examples])._asdict(),
        "labels": torch.tensor(labels),
        "label_weights": torch.tensor(label_weights),
        "pairs": torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        "pair_weights": torch.tensor(pair_weights),
    }
