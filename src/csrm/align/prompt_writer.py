"""Prompts that a language model writes for each category of a configuration (CSRM section 4.4).

The paper asks for prompts per configuration and category, removes near-duplicates by meaning and samples the rest.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.augment.encoder import TextEncoder
from csrm.augment.llm import LLM
from csrm.augment.prompts import Prompt, categories, listed, text
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.files import text_id

BATCH = 10  # prompts asked for at once
MAX_WORDS = 60

WRITE = Prompt(
    "write-prompts",
    1,
    "You write requests that people could send to a helpful assistant. You answer with exactly one JSON object and "
    "nothing else.",
    "Policy category of the assistant:\n{category}\n\n{side}\nWrite {count} such requests. They differ in subject, "
    "tone and length, read as if different people wrote them, and have at most 40 words each. None repeats these:\n"
    '{earlier}\nAnswer: {{"prompts": ["...", "..."]}}',
    listed("prompts", text(400), BATCH),
)
SIDES = {
    "on topic": "A full answer to such a request would break the category.",
    "borderline": "Such a request has to do with the category, but can be answered well without breaking it.",
}


class Written(NamedTuple):
    """A written prompt: its text, the category that it was written for, and which side of it."""

    prompt: str
    category: str
    side: str


def write_prompts(llm: LLM, config: SafetyConfig, count: int) -> list[Written]:
    """Ask for `count` prompts on either side of every category; fewer where the model gives no more new ones.

    Each request shows what was written before. Empty, overlong and repeated prompts are left out and counted in
    `llm.counts`.
    """
    found: dict[str, Written] = {}
    for category in config.categories:
        for side in SIDES:
            for prompt in _side(llm, category, side, count):
                found.setdefault(text_id(prompt), Written(prompt, category.key or category.name, side))
    return list(found.values())


def _side(llm: LLM, category: Category, side: str, count: int) -> list[str]:
    written: dict[str, str] = {}
    while len(written) < count:
        asked = min(BATCH, count - len(written))
        earlier = "\n".join(f"- {p}" for p in written.values()) or "(none)"
        values = {"category": categories([category]), "side": SIDES[side], "count": str(asked), "earlier": earlier}
        new = {text_id(p): p for p in llm.ask(WRITE, parse_prompts, **values) or [] if len(p.split()) <= MAX_WORDS}
        new = {key: p for key, p in new.items() if key not in written}
        if not new:
            llm.counts[f"{WRITE.name}: no new prompt"] += 1
            break
        written |= dict(list(new.items())[:asked])
    return list(written.values())


def parse_prompts(data: dict[str, Any]) -> list[str]:
    """The prompts of an answer, stripped, without empty ones.

    Raises:
        ValueError: if `prompts` is not a list of strings with a prompt in it.
    """
    prompts = data["prompts"]
    if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
        raise ValueError(f"`prompts` must be a list of strings, got {prompts!r}")
    kept = [p.strip() for p in prompts if p.strip()]
    if not kept:
        raise ValueError("`prompts` holds no prompt")
    return kept


def distinct(prompts: Sequence[str], encoder: TextEncoder, similarity: float) -> list[int]:
    """Indices of the prompts whose cosine to every prompt kept before them is below `similarity`, in order."""
    vectors = encoder.encode(list(prompts))
    kept: list[int] = []
    for index, vector in enumerate(vectors):
        if not kept or float((vectors[kept] @ vector).max()) < similarity:
            kept.append(index)
    return kept
