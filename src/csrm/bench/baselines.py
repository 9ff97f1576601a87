"""Local baselines without a language model: they show what a benchmark gives away for free.

Each is one line of `BASELINES` and one small function from items to safe log-odds. `csrm.bench.probes` fits the
trained ones on the run's augmented training groups.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow

if TYPE_CHECKING:
    from csrm.augment.encoder import TextEncoder
    from csrm.bench.probes import FittedProbe

_WORD = re.compile(r"[a-z]{4,}")
SIMILARITY_SCALE = 10.0
SIMILARITY_OFFSET = 0.2
CONSTANT = 10.0
TYPICAL_WORDS = 50
CONTEXT_WORDS = 60
CHUNK = 256  # items scored between two steps of the progress bar


class Tools(NamedTuple):
    """What a baseline may use beside the items."""

    encoder: "TextEncoder | None" = None
    fitted: "FittedProbe | None" = None


class Baseline(NamedTuple):
    """One line of the registry.

    Attributes:
        score: items -> safe log-odds (nats), one an item.
        encoder: whether it embeds texts.
        trained: whether it is fitted on the training groups.
    """

    score: Callable[[Sequence[Item], Tools], list[float]]
    encoder: bool = False
    trained: bool = False


def _words(item: Item) -> int:
    return sum(len(message.content.split()) for message in item.messages)


def conversation_text(messages: Sequence[Message]) -> str:
    """What text features see of a conversation: the end of the last request, and the response."""
    before = messages[-2].content if len(messages) > 1 else ""
    return f"{' '.join(before.split()[-CONTEXT_WORDS:])}\n{messages[-1].content}".strip()


def category_text(category: Category) -> str:
    """What text features see of a category."""
    return f"{category.name}. {category.guideline}" if category.guideline else category.name


def constant_safe(items: Sequence[Item], tools: Tools) -> list[float]:
    """Everything is safe."""
    return [CONSTANT] * len(items)


def constant_unsafe(items: Sequence[Item], tools: Tools) -> list[float]:
    """Everything is unsafe."""
    return [-CONSTANT] * len(items)


def length(items: Sequence[Item], tools: Tools) -> list[float]:
    """Longer responses are less safe: log of typical over actual length, in words; the configuration is not read."""
    import numpy as np

    return [float(np.log(TYPICAL_WORDS / (1 + len(item.messages[-1].content.split())))) for item in items]


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 4 else word


def keyword(items: Sequence[Item], tools: Tools) -> list[float]:
    """One minus twice the number of words (4 letters or more) from the category names that the response contains."""
    found = []
    for item in items:
        names = {_stem(word) for c in item.config for word in _WORD.findall(c.name.lower())}
        said = {_stem(word) for word in _WORD.findall(item.messages[-1].content.lower())}
        found.append(1.0 - 2.0 * len(names & said))
    return found


def minilm_similarity(items: Sequence[Item], tools: Tools) -> list[float]:
    """Ten times (0.2 minus the largest cosine between the conversation and a category of the configuration).

    A ranking, not a calibrated judge: slope and offset are round numbers that no data were used to choose. An item
    without categories counts as cosine 0.
    """
    if tools.encoder is None:
        raise ValueError("baseline 'minilm-similarity' needs --encoder, a model folder or `hash`")
    conversations = tools.encoder.encode([conversation_text(item.messages) for item in items])
    texts = sorted({category_text(c) for item in items for c in item.config})
    index = {text: row for row, text in enumerate(texts)}
    categories = tools.encoder.encode(texts)
    cosines = [
        max((float(conversations[i] @ categories[index[category_text(c)]]) for c in item.config), default=0.0)
        for i, item in enumerate(items)
    ]
    return [SIMILARITY_SCALE * (SIMILARITY_OFFSET - cosine) for cosine in cosines]


def probe(items: Sequence[Item], tools: Tools) -> list[float]:
    """The decision value of a fitted logistic regression (`csrm.bench.probes`)."""
    if tools.fitted is None:
        raise ValueError("a trained baseline needs --fitted, the file of `csrm fit-baseline`")
    return tools.fitted.log_odds(items, tools.encoder)


BASELINES: Mapping[str, Baseline] = {
    "tfidf-lr": Baseline(probe, trained=True),
    "tfidf-lr-no-config": Baseline(probe, trained=True),
    "minilm-lr": Baseline(probe, encoder=True, trained=True),
    "minilm-lr-no-config": Baseline(probe, encoder=True, trained=True),
    "minilm-similarity": Baseline(minilm_similarity, encoder=True),
    "keyword": Baseline(keyword),
    "length": Baseline(length),
    "constant-safe": Baseline(constant_safe),
    "constant-unsafe": Baseline(constant_unsafe),
}


def get_baseline(name: str) -> Baseline:
    """One baseline by name; an unknown name is answered with the known ones."""
    if name not in BASELINES:
        raise ValueError(f"baseline {name!r} is unknown; choose one of {sorted(BASELINES)}")
    return BASELINES[name]


def score_baseline(
    name: str,
    items: Sequence[Item],
    tools: Tools = Tools(),  # noqa: B008
    progress: bool = False,
) -> list[ScoreRow]:
    """Scores of a baseline in the same rows as a model's.

    `n_tokens` counts words; `truncated` says that the encoder did not see the whole text.

    Raises:
        ValueError: for an unknown baseline, one that needs an encoder or a fitted probe and got none, or a probe
            that was fitted for another baseline.
    """
    from tqdm import tqdm

    baseline = get_baseline(name)
    if baseline.trained and tools.fitted is not None and tools.fitted.name != name:
        raise ValueError(f"the fitted file holds {tools.fitted.name!r}, not {name!r}")
    values = []
    with tqdm(total=len(items), unit="item", disable=not progress) as bar:
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            values += baseline.score(chunk, tools)
            bar.update(len(chunk))
    cut = _cut(items, tools.encoder) if baseline.encoder else [False] * len(items)
    return [
        ScoreRow(id=item.id, log_odds=round(value, 6), n_tokens=_words(item), truncated=truncated)
        for item, value, truncated in zip(items, values, cut, strict=True)
    ]


def _cut(items: Sequence[Item], encoder: "TextEncoder | None") -> list[bool]:
    """Whether each conversation is longer than what the encoder reads."""
    from csrm.augment.encoder import Encoder

    if not isinstance(encoder, Encoder):
        return [False] * len(items)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.path)
    texts = [conversation_text(item.messages) for item in items]
    return [len(ids) > encoder.max_tokens for ids in tokenizer(texts, verbose=False).input_ids]
