"""Prompts of one policy: half about the forbidden topic, half about anything else, split by prompt hash."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from csrm.align.schema import TopicFamily
from csrm.configs.safety_config import SafetyConfig
from csrm.files import text_id
from csrm.rows import PromptRow


class Split(NamedTuple):
    """Training and test prompts, which share no normalised prompt."""

    train: list[PromptRow]
    test: list[PromptRow]


def select_prompts(
    config: SafetyConfig,
    families: Sequence[TopicFamily],
    neutral: Sequence[str],
    train: int,
    test: int,
    seed: int,
) -> Split:
    """Draw `train` and `test` prompts for the policy of `config`.

    Half come from the lists of the families that the configuration names by `key`; the rest are neutral prompts and
    prompts of other families that do not touch the named ones. Where a list is too short, both sides shrink alike.

    Raises:
        ValueError: if no category names a topic family.
    """
    banned = [f for f in families if f.family in {c.key for c in config.categories}]
    if not banned:
        known = sorted(f.family for f in families)
        raise ValueError(f"configuration {config.name!r}: no category has a `key` among the topic families {known}")
    on_topic = {text_id(p): (p, f.family) for f in banned for p in f.prompts}
    others = [(p, "neutral") for p in neutral]
    others += [(p, f.family) for f in families if f not in banned for p in f.prompts]
    off_topic = {
        text_id(p): (p, family)
        for p, family in others
        if text_id(p) not in on_topic and not any(f.matches(p) for f in banned)
    }
    first = _split(_rows(config.name, on_topic), train - train // 2, test - test // 2, seed)
    second = _split(_rows(config.name, off_topic), train // 2, test // 2, seed)
    return Split(_merge(first.train, second.train, seed), _merge(first.test, second.test, seed))


def _rows(config: str, prompts: dict[str, tuple[str, str]]) -> list[PromptRow]:
    return [
        PromptRow(
            id=f"{config}-{prompt_id}",
            dataset="align",
            prompt_id=prompt_id,
            prompt=prompt,
            meta={"config": config, "family": family},
        )
        for prompt_id, (prompt, family) in prompts.items()
    ]


def _split(rows: Iterable[PromptRow], train: int, test: int, seed: int) -> Split:
    """First `test`, then `train` prompts in the order of their hashes; fewer of both where there are too few."""
    ordered = sorted(rows, key=lambda row: _hash(row.prompt_id, seed))
    if len(ordered) < train + test:
        test = len(ordered) * test // (train + test)
        train = len(ordered) - test
    return Split(ordered[test : test + train], ordered[:test])


def _merge(first: list[PromptRow], second: list[PromptRow], seed: int) -> list[PromptRow]:
    return sorted(first + second, key=lambda row: _hash(row.prompt_id, seed))


def _hash(prompt_id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}|{prompt_id}".encode()).hexdigest()
