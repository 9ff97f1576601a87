"""Proposers of conversation-specific categories for CCA (section 3.2): p+ makes x⊙r unsafe, p- does not.

`BankProposer` is deterministic: it picks from the category bank by meaning (an encoder's similarity) inside the
bounds that human labels set. `csrm.augment.llm_proposer.LLMProposer` asks a language model.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

import numpy as np

from csrm.augment.catalogue import REFUSAL, BankLike, Facts, bank_key, conversation_text
from csrm.augment.encoder import TextEncoder, Vectors
from csrm.configs.safety_config import Category
from csrm.rows import Row
from csrm.settings import AugmentSettings

TOP = 5  # p+ is drawn among so many nearest candidates ...
CLOSE = 0.85  # ... whose cosine is at least this share of the nearest one's
PLAIN = 5  # severity of the refusal categories that every refusal violates; milder ones describe its manner
HARD = 40  # a hard p- is drawn among so many nearest remaining categories
CUT_RATIO, CUT_FLOOR, CUT_DEFAULT = 0.8, 0.2, 0.3  # p- above max(floor, ratio * cos(p+)) may be violated too


class Proposal(NamedTuple):
    """One contrast of a conversation; None where no category of that side is known."""

    positive: Category | None
    negative: Category | None


class Case(NamedTuple):
    """A conversation for which categories are proposed.

    Attributes:
        row: the conversation.
        facts: what is known of it.
        config: p, its standard configuration without categories of unknown status.
    """

    row: Row
    facts: Facts
    config: Sequence[Category]


class Proposer(Protocol):
    """Source of p+ and p- for a labelled conversation."""

    notes: Counter[str]
    """By side (`p+`, `p-`): `proposed`, `none`, `rejected: <reason>` and `accepted`."""

    def prepare(self, cases: Sequence[Case], contrasts: int) -> None:
        """Do the work that is cheaper for all conversations at once, where each will be asked for `contrasts`."""
        ...

    def proposals(self, case: Case, rng: Random) -> Iterator[Proposal]:
        """Contrasts for one conversation, made one by one as they are asked for."""
        ...


class BankProposer:
    """p+ and p- from the category bank (held-out families excluded by the caller), one contrast like the other.

    p+ comes from a family that the row is labelled to violate (or `refusal` for refusals), among the nearest by
    meaning. p- comes from a family that the row neither violates nor touches, below a similarity cut that guards
    against categories that are violated unlabelled: a share `matched_negatives` of them were p+ of other
    conversations, as often as they were, so that a category's name alone does not give the label away; of the rest,
    half are drawn uniformly and half from the nearest remaining ones. Without `semantic` both sides are drawn at random
    within the labels.
    """

    def __init__(self, bank: Sequence[BankLike], encoder: TextEncoder, settings: AugmentSettings) -> None:
        if not bank:
            raise ValueError("the category bank is empty once held-out families are removed; hold out fewer")
        self.notes: Counter[str] = Counter()
        self._used: list[int] = []
        self._encoder, self._settings = encoder, settings
        self._bank = list(bank)
        self._vectors = encoder.encode([f"{c.name}. {c.guideline}" for c in self._bank])

    def prepare(self, cases: Sequence[Case], contrasts: int) -> None:
        """Encode all conversations in one go (the encoder keeps them)."""
        self._encoder.encode([conversation_text(case.row) for case in cases])

    def proposals(self, case: Case, rng: Random) -> Iterator[Proposal]:
        """See `Proposer.proposals`; labels, not a second judgement, verify them, so that none is rejected."""
        similarity = self._vectors @ self._encoder.encode([conversation_text(case.row)])[0]
        while True:
            yield self._proposal(case.facts, similarity, rng)

    def _proposal(self, facts: Facts, similarity: Vectors, rng: Random) -> Proposal:
        positive = self._positive(facts, similarity, rng)
        cut = CUT_DEFAULT if positive is None else max(CUT_FLOOR, CUT_RATIO * float(similarity[positive]))
        negative = self._negative(facts, similarity, cut, rng)
        self._used += [] if positive is None else [positive]
        for side, found in (("p+", positive), ("p-", negative)):
            self.notes.update([f"{side} none"] if found is None else [f"{side} proposed", f"{side} accepted"])
        return Proposal(
            None if positive is None else self.shown(self._bank[positive], rng),
            None if negative is None else self.shown(self._bank[negative], rng),
        )

    def shown(self, category: BankLike, rng: Random) -> Category:
        """A bank category as a configuration shows it: name or paraphrase, with or without guideline."""
        name = category.name if rng.random() < 1 - self._settings.paraphrase_rate else category.paraphrase
        guideline = category.guideline if rng.random() < self._settings.guideline_rate else ""
        return Category(name=name, guideline=guideline, key=bank_key(category))

    def _positive(self, facts: Facts, similarity: Vectors, rng: Random) -> int | None:
        candidates = [i for i, c in enumerate(self._bank) if c.family in facts.families]
        if not facts.families and facts.refusal:
            candidates = [i for i, c in enumerate(self._bank) if c.family == REFUSAL and c.severity == PLAIN]
        if not candidates:
            return None
        if not self._settings.semantic:
            return rng.choice(candidates)
        nearest = sorted(candidates, key=lambda i: (-similarity[i], i))[:TOP]
        floor = CLOSE * float(similarity[nearest[0]])
        return rng.choice([i for i in nearest if similarity[i] >= floor] or nearest[:1])

    def _negative(self, facts: Facts, similarity: Vectors, cut: float, rng: Random) -> int | None:
        closed = facts.families | facts.near
        open_ = [i for i, c in enumerate(self._bank) if c.family not in closed]
        below = [i for i in open_ if similarity[i] < cut or not self._settings.semantic]
        self.notes["p- candidates above the cut"] += len(open_) - len(below)
        if not below:
            return None
        matched = self._settings.matched_negatives
        if matched and rng.random() < matched:
            allowed = set(below)
            return rng.choice([i for i in self._used if i in allowed] or below)
        if not self._settings.semantic or rng.random() < 0.5:
            return rng.choice(below)
        return rng.choice(sorted(below, key=lambda i: (-similarity[i], i))[:HARD])


def nearest(vectors: Vectors, vector: Vectors, among: Sequence[int]) -> int:
    """The index in `among` whose row of `vectors` is most similar to `vector`; the first one on ties."""
    return among[int(np.argmax(vectors[list(among)] @ vector))]
