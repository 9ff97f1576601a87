"""Scoring in this process: transformers, with the prefixes that prompts share computed once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from csrm.model.decoder import Decoder, can_walk, same_bits
from csrm.model.prefixes import PrefixCache
from csrm.model.reward import answer_logits, safe_log_odds, verdict_log_odds
from csrm.model.tree import Tree, TreeBatch, build_tree, collate
from csrm.model.verbalizer import Verbalizer
from csrm.model.walk import common, passes, walk

Rows = list[tuple[Tree, list[int]]]  # prefix trees, each with the indices of its sequences


@dataclass(frozen=True)
class TransformersBackend:
    """A model in memory.

    Attributes:
        model: causal language model in evaluation mode.
        verbalizer: answer tokens.
        pad_token: id that fills batches.
        token_budget: tokens in one forward pass; bounds memory.
        tree_length: longest row of shared prefixes, tokens, of models that are scored with a mask.
        prefixes: keys and values of prefixes that later calls need not compute.
    """

    model: Any
    verbalizer: Verbalizer
    pad_token: int = 0
    token_budget: int = 4096
    tree_length: int = 768
    prefixes: PrefixCache = field(default_factory=PrefixCache)

    def log_odds(self, prompts: Sequence[Sequence[int]], progress: bool = False) -> list[float]:
        """See `Backend.log_odds`; prompts that start alike share the computation of their prefix."""
        values = [float("nan")] * len(prompts)
        read = self._walk if can_walk(self.model) else self._masked
        with _bar(len(prompts), progress) as bar:
            for index, value in read([tuple(prompt) for prompt in prompts]):
                values[index] = value
                bar.update()
        return values

    def warm(self, tokens: Sequence[int]) -> None:
        """Keep keys and values of a prefix for later calls; those at hand, in memory or on disk, are not recomputed.

        Raises:
            ValueError: if the model is of those that are scored with a mask.
        """
        if not can_walk(self.model):
            raise ValueError(
                f"{type(self.model).__name__} on {self.model.device.type} cannot keep prefixes: score without them"
            )
        if self.prefixes.find(self.model, tokens) is None:
            decoder = Decoder(self.model, len(tokens))
            for batch in passes(walk([tokens], self.prefixes.held), self.token_budget):
                decoder.run(batch)
            self.prefixes.keep(self.model, decoder.path.prefix(tokens))

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        found = {"backend": "transformers", "dtype": str(self.model.dtype), "prefixes": can_walk(self.model)}
        return {**found, "same_bits": same_bits(self.model)} if found["prefixes"] else found

    def _walk(self, prompts: Sequence[tuple[int, ...]]) -> Iterable[tuple[int, float]]:
        """Index and log-odds of each prompt, by attention along the paths of the prefix tree."""
        decoder = Decoder(self.model, max(map(len, prompts), default=1))
        head = self.model.get_output_embeddings()
        pieces = walk(prompts, self.prefixes.held)
        self.prefixes.used(piece.known for piece in pieces if piece.known)
        for batch in passes(pieces, self.token_budget):
            ended = [piece.ends for piece in batch if piece.ends]
            scores = verdict_log_odds(decoder.run(batch), head, self.verbalizer)
            for ends, score in zip(ended, scores, strict=True):
                yield from ((index, score) for index in ends)

    def _masked(self, prompts: Sequence[tuple[int, ...]]) -> Iterable[tuple[int, float]]:
        """Index and log-odds of each prompt, by prefix trees in rows with a mask: for any causal language model."""
        for batch in _batches(_rows(prompts, self.tree_length), self.token_budget):
            members = [i for _, row in batch for i in row]
            yield from zip(members, self._forward([tree for tree, _ in batch]), strict=True)

    @torch.inference_mode()
    def _forward(self, trees: list[Tree]) -> list[float]:
        batch = collate(trees, self.pad_token)
        logits = answer_logits(self.model, TreeBatch(*(t.to(self.model.device) for t in batch)))
        values: list[float] = safe_log_odds(logits, self.verbalizer).tolist()
        return values


def _bar(total: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="item", disable=not show)


def _rows(sequences: Sequence[tuple[int, ...]], limit: int) -> Rows:
    """Sequences in lexicographic order, so that shared prefixes are neighbours, laid out in rows of bounded length."""
    rows: Rows = []
    members: list[int] = []
    size = 0
    for index in sorted(range(len(sequences)), key=lambda i: sequences[i]):
        shared = common(sequences[members[-1]], sequences[index]) if members else 0
        extra = len(sequences[index]) - shared
        if members and (size + extra > limit or shared < len(sequences[index]) // 4):
            rows.append((build_tree([sequences[i] for i in members]), members))
            members, size, extra = [], 0, len(sequences[index])
        members.append(index)
        size += extra
    if members:
        rows.append((build_tree([sequences[i] for i in members]), members))
    return rows


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
