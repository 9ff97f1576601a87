"""The reward model as users meet it: load a folder, score conversations under configurations."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from csrm.configs.safety_config import Category, SafetyConfig
from csrm.model.attention import use_grouped_attention
from csrm.model.device import inference_dtype, load_model
from csrm.model.reward import answer_logits, encode_request, safe_log_odds
from csrm.model.tree import Tree, TreeBatch, build_tree, collate
from csrm.model.verbalizer import Verbalizer, resolve_verbalizer
from csrm.rows import Message
from csrm.settings import DType, SectionOrder, TrainSettings, VerbalizerSettings

Conversation = Sequence[Message | dict[str, str]]
Rows = list[tuple[Tree, list[int]]]  # prefix trees, each with the indices of its sequences


class Score(NamedTuple):
    """Reward of one response: safe log-odds (nats), its sigmoid, the label at threshold 0, and the input's size."""

    log_odds: float
    p_safe: float
    label: str
    n_tokens: int
    truncated: bool


class Request(NamedTuple):
    """One response to judge: a conversation and the categories to judge it by."""

    messages: Sequence[Message]
    categories: Sequence[Category]


def model_card(settings: TrainSettings, variant: str) -> dict[str, Any]:
    """Content of `csrm.json`: what a scorer must know to use the model as it was trained."""
    return {
        "format": 1,
        "variant": variant,
        "backbone": settings.backbone,
        "section_order": settings.section_order,
        "verbalizer": settings.verbalizer.model_dump(),
        "max_length": settings.max_length,
    }


class CSRM:
    """A configurable reward model; any causal language model can be loaded as a zero-shot one."""

    def __init__(
        self, model: Any, tokenizer: Any, order: SectionOrder, max_length: int, verbalizer: Verbalizer
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.order = order
        self.max_length = max_length
        self.verbalizer = verbalizer

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        dtype: DType = "float32",
        section_order: SectionOrder = "conversation-first",
        max_length: int = 1024,
        verbalizer: VerbalizerSettings | None = None,
    ) -> "CSRM":
        """Load a trained folder or any causal language model.

        Args:
            folder: local folder, or a hub id for a zero-shot model.
            dtype: number format of the matrix products; scores in bfloat16 differ by up to about 0.03.
            section_order: used when the folder holds no `csrm.json`, otherwise the order it was trained with.
            max_length: longest rendered input, tokens.
            verbalizer: used when the folder holds no `csrm.json` (default: the paper's words), like the order.
        """
        model, tokenizer = load_model(folder, inference_dtype(dtype))
        use_grouped_attention(model)
        path = Path(folder) / "csrm.json"
        if path.exists():
            card = json.loads(path.read_text(encoding="utf-8"))
            section_order = card["section_order"]
            verbalizer = VerbalizerSettings.model_validate(card.get("verbalizer", {}))
        return cls(model, tokenizer, section_order, max_length, resolve_verbalizer(tokenizer, verbalizer))

    def score(self, conversation: Conversation, config: SafetyConfig | str | Path) -> Score:
        """Reward of the last message of `conversation` under `config` (a configuration, or the path of one)."""
        return self.score_many([conversation], [config])[0][0]

    def score_many(
        self, conversations: Sequence[Conversation], configs: Sequence[SafetyConfig | str | Path]
    ) -> list[list[Score]]:
        """Rewards of every conversation under every configuration: `result[conversation][config]`."""
        loaded = [c if isinstance(c, SafetyConfig) else SafetyConfig.load(c) for c in configs]
        read = [[m if isinstance(m, Message) else Message.model_validate(m) for m in turns] for turns in conversations]
        scores = self.score_requests([Request(turns, c.categories) for turns in read for c in loaded])
        return [scores[i : i + len(loaded)] for i in range(0, len(scores), max(1, len(loaded)))]

    def score_requests(
        self, requests: Sequence[Request], token_budget: int = 4096, tree_length: int = 768, progress: bool = False
    ) -> list[Score]:
        """Score requests in their order; neighbours that start alike share the computation of their prefix.

        Args:
            requests: what to judge.
            token_budget: padded tokens in one forward pass; bounds memory.
            tree_length: longest row of shared prefixes, tokens.
            progress: show a progress bar over requests.
        """
        encoded = [
            encode_request(self.tokenizer, r.messages, r.categories, self.order, self.max_length) for r in requests
        ]
        rows = _rows([e.tokens for e in encoded], tree_length)
        log_odds = [math.nan] * len(requests)
        for batch in _bar(_batches(rows, token_budget), len(requests), progress):
            values = self._forward([tree for tree, _ in batch])
            for index, value in zip([i for _, members in batch for i in members], values, strict=True):
                log_odds[index] = value
        return [_score(s, len(e.tokens), e.cut > 0) for s, e in zip(log_odds, encoded, strict=True)]

    @torch.inference_mode()
    def _forward(self, trees: list[Tree]) -> list[float]:
        batch = collate(trees, self.tokenizer.pad_token_id or 0)
        logits = answer_logits(self.model, TreeBatch(*(t.to(self.model.device) for t in batch)))
        values: list[float] = safe_log_odds(logits, self.verbalizer).tolist()
        return values


def _score(log_odds: float, n_tokens: int, truncated: bool) -> Score:
    p_safe = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
    return Score(log_odds, p_safe, "safe" if log_odds > 0 else "unsafe", n_tokens, truncated)


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
