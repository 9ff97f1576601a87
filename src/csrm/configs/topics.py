"""Benign topic families: what a configuration may forbid without any harm being involved (`topics.yaml`).

A family's lexicon labels texts: a text that matches none of its terms does not touch the family.
"""

import re
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from csrm.yaml_reader import read_yaml


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TopicCategory(_Frozen):
    """A narrower or reworded category of a family; `paraphrase` is another name for it."""

    name: str = Field(min_length=1)
    guideline: str = Field(min_length=1)
    paraphrase: str = Field(min_length=1)


@cache
def _compiled(lexicon: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(lexicon)})(?!\w)", re.IGNORECASE)


class TopicFamily(_Frozen):
    """One family: how models see it (`name`, `guideline`), how texts are labelled (`lexicon`), and its prompts."""

    family: str = Field(min_length=1)
    name: str = Field(min_length=1)
    guideline: str = Field(min_length=1)
    categories: tuple[TopicCategory, ...] = ()
    lexicon: tuple[str, ...] = Field(min_length=1)
    prompts: tuple[str, ...] = ()

    def matches(self, text: str) -> bool:
        """Whether any term of the lexicon occurs in `text`, at word boundaries and in any case.

        Raises:
            ValueError: if the lexicon does not compile; it is tried here, because who reads names needs none.
        """
        try:
            return _compiled(self.lexicon).search(text) is not None
        except re.error as error:
            raise ValueError(f"topic family {self.family!r}: the lexicon does not compile: {error}") from None


class Topics(_Frozen):
    """All families, and everyday prompts that touch none of them."""

    families: tuple[TopicFamily, ...]
    neutral_prompts: tuple[str, ...]

    @model_validator(mode="after")
    def _unique(self) -> "Topics":
        prompts = [*(p for f in self.families for p in f.prompts), *self.neutral_prompts]
        for what, values in (("family", list(self.keys)), ("prompt", prompts)):
            if repeated := sorted({v for v in values if values.count(v) > 1}):
                raise ValueError(f"topics: {what} given more than once: {repeated}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The family keys, in file order."""
        return tuple(f.family for f in self.families)

    def family(self, key: str) -> TopicFamily:
        """The family `key`.

        Raises:
            KeyError: for an unknown family; the message lists the known ones.
        """
        for family in self.families:
            if family.family == key:
                return family
        raise KeyError(f"topic family {key!r} is unknown; choose one of {list(self.keys)}")

    def touched(self, text: str) -> tuple[str, ...]:
        """Keys of all families that `text` touches, in file order."""
        return tuple(f.family for f in self.families if f.matches(text))


@cache
def load_topics() -> Topics:
    """Read the package's `topics.yaml` (once)."""
    return Topics.model_validate(read_yaml(Path(__file__).with_name("topics.yaml")))
