"""Prompts of one policy: half about what is forbidden, half about anything else, split by prompt hash.

Test prompts may come from CoSApien's scenario of the configuration instead, as in the paper (section 4.4).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from csrm.align.prompt_writer import Written, distinct
from csrm.align.schema import TopicFamily
from csrm.augment.encoder import TextEncoder
from csrm.bench.cosa import SCENARIOS
from csrm.configs.safety_config import SafetyConfig
from csrm.files import text_id
from csrm.rows import PromptRow


class Split(NamedTuple):
    """Training and test prompts, which share no normalised prompt."""

    train: list[PromptRow]
    test: list[PromptRow]


class Pool(NamedTuple):
    """Candidates on and off the forbidden topics: prompt id -> (prompt, family or category)."""

    on_topic: dict[str, tuple[str, str]]
    off_topic: dict[str, tuple[str, str]]


def topic_pool(config: SafetyConfig, families: Sequence[TopicFamily], neutral: Sequence[str]) -> Pool:
    """The project's own prompts: of the families that the configuration names by `key`, and those that touch none.

    Raises:
        ValueError: if no category names a topic family.
    """
    banned = [f for f in families if f.family in {c.key for c in config.categories}]
    if not banned:
        known = sorted(f.family for f in families)
        raise ValueError(
            f"configuration {config.name!r}: no category has a `key` among the topic families {known}; "
            "set align.prompts to `generated`"
        )
    on_topic = {text_id(p): (p, f.family) for f in banned for p in f.prompts}
    others = [(p, "neutral") for p in neutral]
    others += [(p, f.family) for f in families if f not in banned for p in f.prompts]
    off_topic = {
        text_id(p): (p, family)
        for p, family in others
        if text_id(p) not in on_topic and not any(f.matches(p) for f in banned)
    }
    return Pool(on_topic, off_topic)


def generated_pool(
    written: Sequence[Written], neutral: Sequence[str], encoder: TextEncoder, similarity: float
) -> tuple[Pool, int]:
    """A language model's prompts without near-duplicates, the borderline and neutral ones off the topics.

    Returns:
        The pool, and how many prompts were left out as near-duplicates.

    Raises:
        ValueError: if there is no prompt on the topics.
    """
    kept = [written[i] for i in distinct([w.prompt for w in written], encoder, similarity)]
    on_topic = {text_id(w.prompt): (w.prompt, w.category) for w in kept if w.side == "on topic"}
    if not on_topic:
        raise ValueError(f"none of {len(written)} generated prompts is on the topics; ask a more capable model")
    others = [(p, "neutral") for p in neutral] + [(w.prompt, "borderline") for w in kept if w.side != "on topic"]
    return Pool(on_topic, {text_id(p): (p, family) for p, family in others}), len(written) - len(kept)


def data_pool(config: SafetyConfig, rows: Sequence[PromptRow], neutral: Sequence[str]) -> Pool:
    """A data set's prompts: of categories that the configuration names by `key`, and, with neutral ones, of no such.

    A prompt whose categories are not known is left out.

    Raises:
        ValueError: if no prompt is of a category of the configuration.
    """
    banned = {category.key for category in config.categories if category.key}
    told = [row for row in rows if row.meta.get("prompt_categories") is not None]
    known = sorted({key for row in told for key in row.meta["prompt_categories"]})
    on_topic, off_topic = {}, {text_id(p): (p, "neutral") for p in neutral}
    for row in told:
        keys = row.meta["prompt_categories"]
        if shared := banned & {*keys}:
            on_topic[row.prompt_id] = (row.prompt, sorted(shared)[0])
        else:
            off_topic[row.prompt_id] = (row.prompt, sorted(keys)[0] if keys else "neutral")
    if not on_topic:
        raise ValueError(
            f"configuration {config.name!r}: none of {len(rows)} prompts is of a category that it names by `key`; "
            f"the data set knows {known}"
        )
    return Pool(on_topic, {key: value for key, value in off_topic.items() if key not in on_topic})


def split_pool(name: str, pool: Pool, train: int, test: int, seed: int) -> Split:
    """Draw `train` and `test` prompts for the policy of the configuration `name`, half of either on the topics.

    Where a side is too short, train and test shrink alike.
    """
    first = _split(_rows(name, pool.on_topic), train - train // 2, test - test // 2, seed)
    second = _split(_rows(name, pool.off_topic), train // 2, test // 2, seed)
    return Split(_merge(first.train, second.train, seed), _merge(first.test, second.test, seed))


def scenario_tests(name: str, rows: Sequence[PromptRow], test: int, seed: int) -> list[PromptRow]:
    """At most `test` distinct prompts of the scenario whose configuration `name` is, in the order of their hashes.

    Raises:
        ValueError: if `rows` hold no prompt of that scenario, or `name` is no scenario's configuration.
    """
    scenario = next((key for key, config in SCENARIOS.items() if config == name), None)
    asked = {row.prompt_id: (row.prompt, str(row.meta["type"])) for row in rows if row.meta["scenario"] == scenario}
    if not asked:
        known = sorted({SCENARIOS.get(row.meta["scenario"], row.meta["scenario"]) for row in rows})
        raise ValueError(
            f"configuration {name!r}: none of {len(rows)} rows of align.test_data is a prompt of its scenario, they "
            f"serve {known}: choose among these, or leave align.test_data at null"
        )
    return sorted(_rows(name, asked), key=lambda row: _hash(row.prompt_id, seed))[:test]


def without(pool: Pool, rows: Sequence[PromptRow]) -> Pool:
    """The pool without the prompts of these rows, whatever their case and spaces.

    Raises:
        ValueError: if nothing on the topics is left.
    """
    taken = {row.prompt_id for row in rows}
    on_topic, off_topic = ({key: side[key] for key in side if key not in taken} for side in pool)
    if not on_topic:
        raise ValueError(f"all {len(pool.on_topic)} prompts on the topics are test prompts: none is left to train on")
    return Pool(on_topic, off_topic)


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
