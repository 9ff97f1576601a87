"""CoSAlign's offline taxonomy: benign topics in the role of harms, labelled by their lexicons.

The papers' judges are language models; any judge may write `csrm.cosa.schema.Labelled` rows instead.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from csrm.align.helpfulness import helpfulness
from csrm.align.refusal import without_refusals
from csrm.augment.encoder import TextEncoder
from csrm.configs.safety_config import Category
from csrm.configs.topics import TopicFamily, Topics
from csrm.cosa.schema import Asked
from csrm.files import text_id
from csrm.settings import CosaSettings

NEUTRAL = "neutral"


class Split(NamedTuple):
    """Training and test prompts, which share no normalised prompt."""

    train: list[Asked]
    test: list[Asked]


class Taxonomy:
    """The topics of the settings, as labels of texts and as categories of configurations.

    Raises:
        KeyError: for a topic that the project does not have; the message lists the known ones.
    """

    def __init__(self, topics: Topics, settings: CosaSettings) -> None:
        self.topics, self.settings = topics, settings
        self.families: list[TopicFamily] = [topics.family(key) for key in (*settings.seen, *settings.unseen)]

    def labels(self, text: str) -> list[str]:
        """Topics that a text touches, in the settings' order."""
        return [f.family for f in self.families if f.matches(text)]

    def category(self, label: str) -> Category:
        """Name and definition of what is allowed, in words that permit."""
        family = self.topics.family(label)
        return Category(name=family.name, guideline=f"The response may {_permitted(family.guideline)}", key=label)

    def forbidden(self, allowed: Iterable[str]) -> list[Category]:
        """The same configuration as CSRM reads it: every topic that is not allowed, forbidden."""
        rest = [f for f in self.families if f.family not in set(allowed)]
        return [Category(name=f.name, guideline=f.guideline, key=f.family) for f in rest]

    def limits(self, seen_only: bool) -> list[str]:
        """Names of what is off limits; training names no unseen topic."""
        known = self.settings.seen if seen_only else [f.family for f in self.families]
        return [self.topics.family(label).name for label in known]


def _permitted(guideline: str) -> str:
    """`The response should not mention X` -> `mention X`: topics' guidelines forbid."""
    head = "The response should not "
    if not guideline.startswith(head):
        raise ValueError(f"a topic's guideline must start with {head!r}, got {guideline!r}")
    return guideline.removeprefix(head)


def draw_prompts(taxonomy: Taxonomy, seed: int) -> Split:
    """Training prompts of seen topics, test prompts of all, and neutral ones in both; split by prompt hash."""
    settings = taxonomy.settings
    train: list[Asked] = []
    test: list[Asked] = []
    lists = [(f.family, f.prompts) for f in taxonomy.families]
    for family, prompts in [*lists, (NEUTRAL, taxonomy.topics.neutral_prompts)]:
        rows = sorted(_asked(taxonomy, prompts), key=lambda row: _hash(row.prompt_id, seed))
        test += rows[: settings.test_prompts]
        if family not in settings.unseen:
            train += rows[settings.test_prompts : settings.test_prompts + settings.train_prompts]
    kept = {row.prompt_id for row in test}
    return Split([row for row in train if row.prompt_id not in kept], test)


def addressed(prompts: Sequence[str], responses: Sequence[str], encoder: TextEncoder) -> list[int]:
    """1 where a response addresses its prompt: the helpfulness proxy is above 0 (no refusal, not empty, no loop)."""
    return [int(value > 0) for value in helpfulness(prompts, responses, encoder)]


def found(taxonomy: Taxonomy, response: str) -> list[str]:
    """Labels of a response; naming a topic in order to decline it is not touching it."""
    return taxonomy.labels(without_refusals(response))


def _asked(taxonomy: Taxonomy, prompts: Sequence[str]) -> list[Asked]:
    return [Asked(prompt_id=text_id(p), prompt=p, harms=taxonomy.labels(p)) for p in prompts]


def _hash(prompt_id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}|{prompt_id}".encode()).hexdigest()
