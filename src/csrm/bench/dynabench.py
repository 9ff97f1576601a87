"""DynaBench's two protocols: the whole policy on the whole transcript, and BM25 top-20 with every agent turn judged."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any

from csrm.bench.build import label_of
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, Row, ScoreRow

TOP = 20
K1, B = 1.5, 0.75
_WORD = re.compile(r"\w\w+")


def transcript_items(rows: Sequence[Row], benchmark: str) -> tuple[list[Item], dict[str, int]]:
    """One item a conversation under all rules of its policy; a rule is a category without a guideline.

    Returns:
        The items, and how many rows were left out by reason.
    """
    kept, dropped = _usable(rows)
    return [_item(row, f"{benchmark}:{row.id}", len(row.messages), _rules(row)) for row in kept], dropped


def turnwise_items(rows: Sequence[Row], benchmark: str, top: int = TOP) -> tuple[list[Item], dict[str, int]]:
    """One item per agent turn, with the history up to it, under the rules that fit the conversation best (BM25).

    The rules keep the policy's order. `meta["any_turn"]` names the conversation, which is unsafe iff any turn is.

    Returns:
        The items, and how many rows were left out by reason.
    """
    kept, dropped = _usable(rows)
    items = []
    for row in kept:
        rules = _rules(row)
        best = sorted(closest(row.messages, rules)[:top])
        ends = [i + 1 for i, message in enumerate(row.messages) if message.role == "assistant"]
        for end in ends:
            name = f"{benchmark}:{row.id}:{end}"
            items.append(_item(row, name, end, [rules[i] for i in best], any_turn=row.id))
    return items, dropped


def _usable(rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
    reasons = ["dropped_unlabelled" if r.safe is None else "" if _rules(r) else "dropped_without_policy" for r in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    return kept, dict(sorted(Counter(reason for reason in reasons if reason).items()))


def _rules(row: Row) -> list[str]:
    return [rule for rule in row.meta.get("policy") or [] if rule.strip()]


def _item(row: Row, name: str, end: int, rules: Sequence[str], **meta: Any) -> Item:
    return Item(
        id=name,
        prompt_id=row.prompt_id,
        messages=row.messages[:end],
        config=[Category(name=rule) for rule in rules],
        label=label_of(row.safe),
        subset=str(row.meta.get("failure_mode") or "all"),
        cut=row.cut,
        meta=meta,
    )


def closest(messages: Sequence[Message], rules: Sequence[str]) -> list[int]:
    """Positions of all rules, those that fit the whole conversation best (BM25) first; ties in the policy's order."""
    scores = bm25("\n".join(message.content for message in messages), rules)
    return sorted(range(len(rules)), key=lambda i: (-scores[i], i))


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """BM25 of each text for a query (Lucene's form, k1 1.5, b .75); words of two characters or more, case-folded."""
    documents = [Counter(_WORD.findall(text.lower())) for text in texts]
    frequency = Counter(word for document in documents for word in document)
    mean = sum(map(Counter.total, documents)) / max(1, len(documents))
    words = Counter(_WORD.findall(query.lower()))
    scores = []
    for document in documents:
        norm = K1 * (1 - B + B * document.total() / mean) if mean else K1
        found = [
            count * log(1 + (len(texts) - frequency[word] + 0.5) / (frequency[word] + 0.5)) * document[word]
            / (document[word] + norm)
            for word, count in words.items()
            if document[word]
        ]  # fmt: skip
        scores.append(sum(found))
    return scores


def any_turn(items: Sequence[Item], scores: Sequence[ScoreRow], threshold: float) -> tuple[list[Item], list[ScoreRow]]:
    """Turns of one conversation become one item whose score is that of its least safe turn; other items stay.

    A turn without a verdict leaves the conversation without one, unless another turn is unsafe, which decides it. The
    conversation is cut if any turn was, and counts all their tokens.

    Args:
        items: the items, in the order of `scores`.
        scores: one row an item.
        threshold: a turn is unsafe iff its log-odds (nats) are not above it.
    """
    groups: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        groups.setdefault(str(item.meta.get("any_turn") or item.id), []).append(position)
    kept = [items[positions[-1]] for positions in groups.values()]
    merged = [
        _least_safe([scores[i] for i in positions], last.id, threshold)
        for positions, last in zip(groups.values(), kept, strict=True)
    ]
    return kept, merged


def _least_safe(rows: Sequence[ScoreRow], name: str, threshold: float) -> ScoreRow:
    known = [row for row in rows if row.parsed]
    worst = min(known or rows, key=lambda row: row.log_odds)
    decided = len(known) == len(rows) or (bool(known) and worst.log_odds <= threshold)
    update = {
        "id": name,
        "n_tokens": sum(row.n_tokens for row in rows),
        "truncated": any(row.truncated for row in rows),
        "parsed": decided,
    }
    return worst.model_copy(update=update)
