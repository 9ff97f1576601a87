"""Scoring in this process: transformers, with the prefixes that prompts share computed once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from csrm.model.reward import answer_logits, safe_log_odds
from csrm.model.tree import Tree, TreeBatch, build_tree, collate
from csrm.model.verbalizer import Verbalizer

Rows = list[tuple[Tree, list[int]]]  # prefix trees, each with the indices of its sequences


@dataclass(frozen=True)
class TransformersBackend:
    """A model in memory.

    Attributes:
        model: causal language model in evaluation mode.
        verbalizer: answer tokens.
        pad_token: id that fills batches.
        token_budget: padded tokens in one forward pass; bounds memory.
        tree_length: longest row of shared prefixes, tokens.
    """

    model: Any
    verbalizer: Verbalizer
    pad_token: int = 0
    token_budget: int = 4096
    tree_length: int = 768

    def log_odds(self, prompts: Sequence[Sequence[int]], progress: bool = False) -> list[float]:
        """See `Backend.log_odds`; prompts that start alike share the computation of their prefix."""
        values = [float("nan")] * len(prompts)
        rows = _rows([list(prompt) for prompt in prompts], self.tree_length)
        for batch in _bar(_batches(rows, self.token_budget), len(prompts), progress):
            read = self._forward([tree for tree, _ in batch])
            for index, value in zip([i for _, members in batch for i in members], read, strict=True):
                values[index] = value
        return values

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {"backend": "transformers", "dtype": str(self.model.dtype)}

    @torch.inference_mode()
    def _forward(self, trees: list[Tree]) -> list[float]:
        batch = collate(trees, self.pad_token)
        logits = answer_logits(self.model, TreeBatch(*(t.to(self.model.device) for t in batch)))
        values: list[float] = safe_log_odds(logits, self.verbalizer).tolist()
        return values


def _rows(sequences: Sequence[list[int]], limit: int) -> Rows:
    """Sequences in lexicographic order, so that shared prefixes are neighbours, laid out in rows of bounded length."""
    rows: Rows = []
    members: list[int] = []
    size = 0
    for index in sorted(range(len(sequences)), key=lambda i: sequences[i]):
        shared = _common(sequences[members[-1]], sequences[index]) if members else 0
        extra = len(sequences[index]) - shared
        if members and (size + extra > limit or shared < len(sequences[index]) // 4):
            rows.append((build_tree([sequences[i] for i in members]), members))
            members, size, extra = [], 0, len(sequences[index])
        members.append(index)
        size += extra
    if members:
        rows.append((build_tree([sequences[i] for i in members]), members))
    return rows


def _common(left: list[int], right: list[int]) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length


def _batches(rows: Rows, budget: int) -> Iterable[Rows]:
    """Rows by falling length, as many a batch as the padded budget allows."""
    batch: Rows = []
    for row in sorted(rows, key=lambda r: -len(r[0])):
        if batch and (len(batch) + 1) * len(batch[0][0]) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _bar(batches: Iterable[Rows], total: int, show: bool) -> Iterable[Rows]:
    from tqdm import tqdm

    with tqdm(total=total, unit="item", disable=not show) as bar:
        for batch in batches:
            yield batch
            bar.update(sum(len(members) for _, members in batch))
