"""Local baselines without a language model: they show what a benchmark gives away for free."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from csrm.configs.safety_config import Category
from csrm.rows import Item, ScoreRow

if TYPE_CHECKING:
    from csrm.augment.encoder import TextEncoder

_WORD = re.compile(r"[a-z]{4,}")
SIMILARITY_SCALE = 10.0
SIMILARITY_OFFSET = 0.2
CONSTANT = 10.0
TYPICAL_WORDS = 50
CONTEXT_WORDS = 60


def _words(item: Item) -> int:
    return sum(len(message.content.split()) for message in item.messages)


def conversation_text(item: Item) -> str:
    """What similarity sees of an item: the end of the last request, and the response."""
    before = item.messages[-2].content if len(item.messages) > 1 else ""
    return f"{' '.join(before.split()[-CONTEXT_WORDS:])}\n{item.messages[-1].content}".strip()


def category_text(category: Category) -> str:
    """What similarity sees of a category."""
    return f"{category.name}. {category.guideline}" if category.guideline else category.name


def constant_safe(items: Sequence[Item], encoder: "TextEncoder | None") -> list[float]:
    """Everything is safe."""
    return [CONSTANT] * len(items)


def constant_unsafe(items: Sequence[Item], encoder: "TextEncoder | None") -> list[float]:
    """Everything is unsafe."""
    return [-CONSTANT] * len(items)


def length(items: Sequence[Item], encoder: "TextEncoder | None") -> list[float]:
    """Longer responses are less safe: log of typical over actual length, in words; the configuration is not read."""
    return [float(np.log(TYPICAL_WORDS / (1 + len(item.messages[-1].content.split())))) for item in items]


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 4 else word


def keyword(items: Sequence[Item], encoder: "TextEncoder | None") -> list[float]:
    """One minus twice the number of words (4 letters or more) from the category names that the response contains."""
    found = []
    for item in items:
        names = {_stem(word) for c in item.config for word in _WORD.findall(c.name.lower())}
        said = {_stem(word) for word in _WORD.findall(item.messages[-1].content.lower())}
        found.append(1.0 - 2.0 * len(names & said))
    return found


def minilm_similarity(items: Sequence[Item], encoder: "TextEncoder | None") -> list[float]:
    """Ten times (0.2 minus the largest cosine between the conversation and a category of the configuration).

    A ranking, not a calibrated judge: slope and offset are round numbers that no data were used to choose. An item
    without categories counts as cosine 0.
    """
    if encoder is None:
        raise ValueError("baseline 'minilm-similarity' needs --encoder, a model folder or `hash`")
    conversations = encoder.encode([conversation_text(item) for item in items])
    texts = sorted({category_text(c) for item in items for c in item.config})
    index = {text: row for row, text in enumerate(texts)}
    categories = encoder.encode(texts)
    cosines = [
        max((float(conversations[i] @ categories[index[category_text(c)]]) for c in item.config), default=0.0)
        for i, item in enumerate(items)
    ]
    return [SIMILARITY_SCALE * (SIMILARITY_OFFSET - cosine) for cosine in cosines]


Baseline = Callable[[Sequence[Item], "TextEncoder | None"], list[float]]
BASELINES: Mapping[str, Baseline] = {
    "minilm-similarity": minilm_similarity,
    "keyword": keyword,
    "constant-safe": constant_safe,
    "constant-unsafe": constant_unsafe,
    "length": length,
}


def score_baseline(name: str, items: Sequence[Item], encoder: "TextEncoder | None" = None) -> list[ScoreRow]:
    """Scores of a baseline in the same rows as a model's; `n_tokens` counts words.

    Raises:
        ValueError: for an unknown baseline, or one that needs an encoder and got none.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline {name!r} is unknown; choose one of {sorted(BASELINES)}")
    values = BASELINES[name](items, encoder)
    return [
        ScoreRow(id=item.id, log_odds=round(value, 6), n_tokens=_words(item))
        for item, value in zip(items, values, strict=True)
    ]
