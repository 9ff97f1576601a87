"""What CoSAlign's labels stand for: benign topics, which lexicons label, in the role of harms, or its own harms."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from csrm.align.refusal import without_refusals
from csrm.configs.safety_config import Category
from csrm.configs.taxonomy import load_taxonomy
from csrm.configs.topics import TopicFamily, Topics
from csrm.cosa.schema import Asked
from csrm.cosa.synthesis import OTHER
from csrm.files import text_id
from csrm.settings import CosaSettings

NEUTRAL = "neutral"


def config_id(allowed: Sequence[str]) -> str:
    """Name of a configuration: what it allows."""
    return "+".join(allowed) or "nothing"


class Split(NamedTuple):
    """Training and test prompts, which share no normalised prompt."""

    train: list[Asked]
    test: list[Asked]


class Taxonomy:
    """The labels of the settings, as labels of texts and as categories of configurations.

    Over `topics` lexicons label texts; the harms of `cosalign` have none: data sets or a language model label them.

    Raises:
        KeyError: for a topic that the project does not have; the message lists the known ones.
        ValueError: for a harm that CoSAlign's taxonomy does not name.
    """

    def __init__(self, topics: Topics, settings: CosaSettings) -> None:
        self.topics, self.settings = topics, settings
        names = (*settings.seen, *settings.unseen)
        self.families: list[TopicFamily] = []
        if settings.taxonomy == "topics":
            self.families = [topics.family(key) for key in names]
            entries = [(family.family, family.name, family.guideline) for family in self.families]
        else:
            harms = load_taxonomy(settings.taxonomy)
            entries = [(key, harms[key].name, harms[key].guideline) for key in names]
        self.categories = {key: Category(name=name, guideline=text, key=key) for key, name, text in entries}

    def labels(self, text: str) -> list[str]:
        """Topics that a text touches, in the settings' order.

        Raises:
            ValueError: over a taxonomy without lexicons.
        """
        if not self.families:
            raise ValueError(
                f"cosa.taxonomy {self.settings.taxonomy} has no lexicons that label texts: set cosa.judge to `llm`"
            )
        return [f.family for f in self.families if f.matches(text)]

    @property
    def judged(self) -> dict[str, Category]:
        """Every label that a judge can give: those of configurations, and other harms over `cosalign`."""
        if self.families:
            return self.categories
        return {**self.categories, OTHER: load_taxonomy(self.settings.taxonomy)[OTHER].category()}

    def category(self, label: str) -> Category:
        """Name and definition of what is allowed, in words that permit."""
        own = self.categories[label]
        return Category(name=own.name, guideline=f"The response may {_permitted(own.guideline)}", key=label)

    def forbidden(self, allowed: Iterable[str]) -> list[Category]:
        """The same configuration as CSRM reads it: every label that is not allowed, forbidden."""
        return [category for label, category in self.categories.items() if label not in set(allowed)]

    def limits(self, seen_only: bool) -> list[str]:
        """Names of what is off limits; training names no unseen label."""
        return [self.categories[label].name for label in (self.settings.seen if seen_only else self.categories)]


def _permitted(guideline: str) -> str:
    """`The response should not mention X` -> `mention X`: guidelines forbid."""
    head = "The response should not "
    if not guideline.startswith(head):
        raise ValueError(f"a guideline must start with {head!r}, got {guideline!r}")
    return guideline.removeprefix(head)


def draw_prompts(taxonomy: Taxonomy, seed: int) -> Split:
    """Training prompts of seen topics, test prompts of all, and neutral ones in both; split by prompt hash."""
    settings = taxonomy.settings
    train: list[Asked] = []
    test: list[Asked] = []
    lists = [(f.family, f.prompts) for f in taxonomy.families]
    for family, prompts in [*lists, (NEUTRAL, taxonomy.topics.neutral_prompts)]:
        rows = sorted(_asked(taxonomy, prompts), key=lambda row: prompt_hash(row.prompt_id, seed))
        test += rows[: settings.test_prompts]
        if family not in settings.unseen:
            train += rows[settings.test_prompts : settings.test_prompts + settings.train_prompts]
    kept = {row.prompt_id for row in test}
    return Split([row for row in train if row.prompt_id not in kept], test)


def found(taxonomy: Taxonomy, response: str) -> list[str]:
    """Labels of a response; naming a topic in order to decline it is not touching it."""
    return taxonomy.labels(without_refusals(response))


def _asked(taxonomy: Taxonomy, prompts: Sequence[str]) -> list[Asked]:
    return [Asked(prompt_id=text_id(p), prompt=p, harms=taxonomy.labels(p)) for p in prompts]


def prompt_hash(prompt_id: str, seed: int) -> str:
    """What orders prompts for a split."""
    return hashlib.sha256(f"{seed}|{prompt_id}".encode()).hexdigest()
