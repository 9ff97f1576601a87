"""Helpfulness H: a declared proxy without a language model, or a reward model whose scores are mapped to [0, 1].

The papers use a helpfulness reward model (CSRM section 4.4, not named) and a GPT-4o judge on 0-5 (CoSA). The proxy is 0
for refusals, empty and repetitive answers, else relevance x completeness; it knows nothing of safety or of facts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from csrm.align.helpfulness_metrics import ScoreMap
from csrm.align.helpfulness_model import RewardModel
from csrm.align.refusal import is_refusal
from csrm.augment.encoder import TextEncoder
from csrm.files import read_json

FLOOR = 0.05  # relevance of an answer whose similarity is 0 or less
FULL_WORDS = 12  # from so many words an answer counts as complete
MIN_DISTINCT = 0.5  # below this share of distinct trigrams an answer counts as repetitive


class Helpfulness(Protocol):
    """Gives H of responses to prompts."""

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """H in [0, 1], (n,), of n responses to n prompts."""


class Proxy:
    """The proxy (`helpfulness`) with its encoder."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """See `Helpfulness`."""
        return helpfulness(prompts, responses, self.encoder)


class RewardHelpfulness:
    """A reward model and the map of its scores; an empty response is of no help and gets 0."""

    def __init__(self, model: RewardModel, mapped: ScoreMap) -> None:
        self.model, self.mapped = model, mapped

    @classmethod
    def open(cls, folder: str | Path, map_file: str | Path) -> "RewardHelpfulness":
        """Load a reward model's folder and the map of `csrm map-helpfulness`."""
        mapped = ScoreMap.model_validate(read_json(map_file)["map"])
        return cls(RewardModel.open(folder, mapped.dtype), mapped)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """See `Helpfulness`."""
        values = np.zeros(len(responses))
        kept = [i for i, text in enumerate(responses) if text.strip()]
        if kept:
            values[kept] = self.mapped(self.model.scores([prompts[i] for i in kept], [responses[i] for i in kept]))
        return values


def helpfulness(prompts: Sequence[str], responses: Sequence[str], encoder: TextEncoder) -> NDArray[np.float64]:
    """Proxy helpfulness h in [0, 1] of each response to its prompt.

    Args:
        prompts: n prompts.
        responses: n responses.
        encoder: gives unit vectors, whose product is the cosine similarity.

    Returns:
        (n,) values; 0 for refusals, empty and heavily repetitive responses.
    """
    values = np.zeros(len(responses))
    kept = [i for i, text in enumerate(responses) if answers(text)]
    if kept:
        asked = encoder.encode([prompts[i] for i in kept])
        answered = encoder.encode([responses[i] for i in kept])
        cosines = (asked * answered).sum(axis=1)
        values[kept] = relevance(cosines) * [completeness(responses[i]) for i in kept]
    return values


def relevance(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Similarity clipped to [0, 1] and mapped linearly to [FLOOR, 1]."""
    clipped = np.clip(np.asarray(cosines, dtype=np.float64), 0, 1)
    mapped: NDArray[np.float64] = FLOOR + (1 - FLOOR) * clipped
    return mapped


def completeness(response: str) -> float:
    """1 from `FULL_WORDS` words on, proportionally less below."""
    return min(1.0, len(response.split()) / FULL_WORDS)


def distinct_trigrams(response: str) -> float:
    """Share of distinct word trigrams; 1 for texts of fewer than three words."""
    words = response.casefold().split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0


def answers(response: str) -> bool:
    """Whether a response answers at all, which is where the proxy is above 0: no refusal, not empty, no loop."""
    return bool(response.strip()) and not is_refusal(response) and distinct_trigrams(response) >= MIN_DISTINCT
