"""The categories that augmentation may draw, and what is known of a row about each of them.

A held-out family appears in no training text: `Catalogue.standard` and `Catalogue.bank` leave it out unless asked.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple, Protocol

from csrm.configs.safety_config import Category
from csrm.rows import Row

REFUSAL = "refusal"
TOPICS = "topics"
# Families that overlap in content: a response that touches one is no known negative for the others.
OVERLAPS = (
    {"violence", "terrorism", "weapons", "animal_abuse", "child_abuse", "harassment"},
    {"hate_speech", "harassment", "representational", "profanity", "politics"},
    {"sexual", "child_abuse", "trafficking"},
    {"exploits", "privacy", "financial_crime"},
    {"financial_crime", "financial_advice", "legal_advice", "gambling", "finance_investing"},
    {"drugs", "medical_advice", "medication", "alcohol", "fitness_diet"},
    {"history_war", "violence", "weapons", "politics"},
    {"animal_abuse", "pets", "insects", "cooking_meat"},
    {"environment", "ocean", "gardening", "weather"},
    {"sexual", "dating"},
    {"privacy", "social_media"},
    {"exploits", "programming"},
    {"self_harm", "medical_advice", "medication", "violence"},
    {"info_integrity", "politics", "overconfidence"},
)
BROAD = {"unethical", "overconfidence", "profanity"}  # too broad to be absent from a response that violates anything
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')t|can not|won't|will not|must decline|refuse)"
    r"|i apologi[sz]e|as an ai\b.{0,60}\b(?:can(?:no|')t|unable)|not (?:able|willing) to (?:help|assist|provide))",
    re.IGNORECASE | re.DOTALL,
)


class LevelLike(Protocol):
    """A severity level of a taxonomy category, in words."""

    @property
    def severity(self) -> float: ...
    @property
    def phrase(self) -> str: ...


class TaxonomyCategoryLike(Protocol):
    """A category of a taxonomy file (docs/contracts.md)."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def guideline(self) -> str: ...
    @property
    def families(self) -> Sequence[str]: ...
    @property
    def related(self) -> Sequence[str]: ...
    @property
    def levels(self) -> Sequence[LevelLike]: ...


class TaxonomyLike(Protocol):
    """A taxonomy: the categories that a data set labels with."""

    @property
    def categories(self) -> Sequence[TaxonomyCategoryLike]: ...


class BankLike(Protocol):
    """A category of the bank (docs/contracts.md)."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def guideline(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def severity(self) -> int: ...
    @property
    def paraphrase(self) -> str: ...


class Facts(NamedTuple):
    """What is known of a row at a severity threshold.

    `violated`, `absent` and `unknown` partition the keys of the row's taxonomy. `families` are the bank families that
    the row violates; `near` are further families that may be touched, so that none of theirs is a known contrast.
    """

    violated: frozenset[str]
    absent: frozenset[str]
    unknown: frozenset[str]
    families: frozenset[str]
    near: frozenset[str]
    refusal: bool


class Catalogue:
    """Taxonomies, the bank of semantic categories, topic lexicons and the held-out families."""

    def __init__(
        self,
        bank: Iterable[BankLike],
        taxonomies: Mapping[str, TaxonomyLike],
        held_out: Iterable[str] = (),
        touched: Callable[[str], Iterable[str]] = lambda text: (),
    ) -> None:
        """Args: `touched` gives the topic families whose lexicon a text matches."""
        self._bank = sorted(bank, key=lambda c: c.id)
        self._taxonomies = taxonomies
        self.held_out = frozenset(held_out)
        self._touched = touched

    @classmethod
    def load(cls, taxonomies: Iterable[str], held_out: Iterable[str]) -> "Catalogue":
        """The packaged bank and topics, and the named taxonomies with `topics`."""
        from csrm.configs.bank import load_bank
        from csrm.configs.taxonomy import load_taxonomy
        from csrm.configs.topics import load_topics

        names = sorted({*taxonomies, TOPICS})
        return cls(load_bank(), {name: load_taxonomy(name) for name in names}, held_out, load_topics().touched)

    def bank(self, unseen: bool = False) -> list[BankLike]:
        """Bank categories outside (`unseen`: inside) the held-out families."""
        return [c for c in self._bank if (c.family in self.held_out) == unseen]

    def taxonomy(self, name: str) -> list[TaxonomyCategoryLike]:
        """All categories of a taxonomy, held-out ones included.

        Raises:
            ValueError: if the taxonomy is unknown.
        """
        if name not in self._taxonomies:
            raise ValueError(f"taxonomy {name!r} is unknown; choose one of {sorted(self._taxonomies)}")
        return list(self._taxonomies[name].categories)

    def has(self, name: str) -> bool:
        """Whether a taxonomy of this name is loaded."""
        return name in self._taxonomies

    def is_held_out(self, category: TaxonomyCategoryLike) -> bool:
        """Whether a taxonomy category belongs to a held-out family."""
        return not self.held_out.isdisjoint([*category.families, category.key])

    def held_out_names(self) -> list[str]:
        """Names of all loaded taxonomy categories that belong to a held-out family."""
        return [c.name for t in self._taxonomies.values() for c in t.categories if self.is_held_out(c)]

    def standard(self, name: str) -> list[Category]:
        """The standard configuration p of a taxonomy, held-out families removed."""
        return [as_category(c) for c in self.taxonomy(name) if not self.is_held_out(c)]

    def own(self, row: Row) -> list[str]:
        """Keys that the row is labelled with, or that its data set filed it under (`meta`)."""
        filed = {row.meta.get("category"), row.meta.get("family")}
        return [c.key for c in self.taxonomy(row.taxonomy) if c.key in row.harms or c.key in filed]

    def touched(self, text: str) -> frozenset[str]:
        """Topic families whose lexicon matches the text."""
        return frozenset(self._touched(text))

    def facts(self, row: Row, threshold: float) -> Facts:
        """What a row's labels say about each category of its taxonomy (p_rel and its complement).

        A category that the row does not list has severity 0 when the row is exhaustive, safe or a refusal. Otherwise
        it is taken as absent unless it is related to a category with severity > 0, or the row lists nothing.
        """
        taxonomy = self.taxonomy(row.taxonomy)
        violated = frozenset(k for k, severity in row.harms.items() if severity >= threshold)
        touched = {k for k, severity in row.harms.items() if severity > 0}
        related = _related(taxonomy, touched)
        refusal = is_refusal(row)
        harmless = not violated and (row.safe is True or row.refusal is True)
        known = row.exhaustive or harmless
        blank = not row.harms or (row.safe is False and not violated)
        unlisted = {c.key for c in taxonomy} - row.harms.keys()
        unknown = set() if known else unlisted if blank else unlisted & related
        families = _families(taxonomy, violated)
        own = set() if refusal else set(row.harms)
        close = set(families).union(*(group for group in OVERLAPS if group & _families(taxonomy, touched)))
        close |= _families(taxonomy, touched | related | unknown | own) | self.touched(row.messages[-1].content)
        close |= (BROAD if touched or row.safe is False else set()) | ({REFUSAL} if refusal else set())
        return Facts(
            violated=violated & {c.key for c in taxonomy},
            absent=frozenset(c.key for c in taxonomy) - violated - unknown,
            unknown=frozenset(unknown),
            families=families,
            near=frozenset(close) - families,
            refusal=refusal,
        )

    def excludes(self, row: Row, facts: Facts) -> bool:
        """Whether a row may not enter training because it violates a held-out family."""
        return not self.held_out.isdisjoint(facts.families | facts.violated)


def bank_sample(bank: Sequence[BankLike], size: int | None, seed: int) -> list[BankLike]:
    """`size` categories of the bank, each family represented in proportion to its size; None: all.

    Samples of one seed are nested: a larger one holds every smaller one, so that a curve over `size` adds categories
    and takes none away. Each family is shuffled and laid out evenly on [0, 1) from a random start; the first `size`
    places are taken.

    Raises:
        ValueError: if the bank holds fewer than `size` categories.
    """
    if size is None:
        return list(bank)
    if size > len(bank):
        raise ValueError(
            f"augment.bank_size is {size}, but the bank has {len(bank)} categories outside the held-out families: "
            f"choose at most {len(bank)}, or null for all"
        )
    places: list[tuple[float, BankLike]] = []
    for family in sorted({c.family for c in bank}):
        rng = Random(f"{seed}:bank:{family}")
        members = [c for c in bank if c.family == family]
        start = rng.random()
        shuffled = rng.sample(members, len(members))
        places += [((i + start) / len(members), c) for i, c in enumerate(shuffled)]
    chosen = {c.id for _, c in sorted(places, key=lambda place: (place[0], place[1].id))[:size]}
    return [c for c in bank if c.id in chosen]


def as_category(category: TaxonomyCategoryLike) -> Category:
    """A taxonomy category as a configuration shows it."""
    return Category(name=category.name, guideline=category.guideline, key=category.key)


def bank_key(category: BankLike) -> str:
    """Key of a bank category inside configurations."""
    return f"bank:{category.id}"


def is_refusal(row: Row) -> bool:
    """The row's own refusal label, or a heuristic on the start of the response."""
    return row.refusal if row.refusal is not None else bool(_REFUSAL.search(row.messages[-1].content[:200]))


def conversation_text(row: Row, words: int = 60) -> str:
    """Prompt and response as one text for an encoder; the prompt keeps its last `words` words."""
    prompt = " ".join(row.messages[-2].content.split()[-words:])
    return f"{prompt}\n{row.messages[-1].content}"


def _related(taxonomy: Sequence[TaxonomyCategoryLike], keys: Iterable[str]) -> set[str]:
    """Categories that are related to one of `keys`, in either direction."""
    chosen = set(keys)
    forward = {r for c in taxonomy if c.key in chosen for r in c.related}
    return (forward | {c.key for c in taxonomy if chosen & set(c.related)}) - chosen


def _families(taxonomy: Sequence[TaxonomyCategoryLike], keys: Iterable[str]) -> frozenset[str]:
    chosen = set(keys)
    return frozenset(family for c in taxonomy if c.key in chosen for family in c.families)
