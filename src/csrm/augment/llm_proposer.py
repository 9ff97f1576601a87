"""The LLM backend of CCA's proposer: propose p+ and p-, then verify each with a second call (section 3.2)."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

from csrm.augment.catalogue import Facts
from csrm.augment.llm import LLM
from csrm.augment.prompts import CLASSIFY, PROPOSE, categories, conversation
from csrm.augment.proposers import Proposal
from csrm.configs.safety_config import Category
from csrm.files import text_id
from csrm.rows import Row

MAX_NAME, MAX_GUIDELINE = 10, 40  # words


class LLMProposer:
    """Conversation-specific categories from a language model; the encoder and the bank are not needed.

    A proposed category is rejected where the verifying call disagrees with it, where it repeats a category of p or an
    earlier proposal for the conversation, or where its text names a held-out family (`blocked` words).
    """

    def __init__(self, llm: LLM, guideline_rate: float, blocked: Iterable[str] = ()) -> None:
        self.notes: Counter[str] = Counter()
        self._llm, self._rate = llm, guideline_rate
        words = sorted({w.replace("_", " ").lower() for w in blocked})
        self._blocked = re.compile("|".join(rf"\b{re.escape(w)}\b" for w in words), re.IGNORECASE) if words else None

    def prepare(self, rows: Sequence[Row]) -> None:
        """Nothing to do ahead of the calls."""

    def proposals(self, row: Row, facts: Facts, config: Sequence[Category], rng: Random) -> Iterator[Proposal]:
        """See `Proposer.proposals`; each call shows the model what it proposed before, so that contrasts differ."""
        text, earlier = conversation(row.messages), list[Category]()
        for number in count(1):
            found = self._llm.ask(
                PROPOSE,
                parse_proposal,
                conversation=text,
                categories=categories(config),
                number=str(number),
                earlier=categories(earlier),
            )
            if found is None:
                self.notes.update(["p+ no answer that parses", "p- no answer that parses"])
                yield Proposal(None, None)
                continue
            positive = self._checked("p+", found.positive, text, config, earlier, violation=True)
            negative = self._checked("p-", found.negative, text, config, earlier, violation=False)
            earlier += [c for c in found if c is not None]
            yield Proposal(self._shown(positive, rng), self._shown(negative, rng))

    def _checked(
        self,
        side: str,
        category: Category | None,
        text: str,
        config: Sequence[Category],
        earlier: Sequence[Category],
        violation: bool,
    ) -> Category | None:
        if category is None:
            self.notes[f"{side} none"] += 1
            return None
        reason = self._objection(category, text, config, earlier, violation)
        self.notes.update([f"{side} proposed", f"{side} rejected: {reason}" if reason else f"{side} accepted"])
        return None if reason else category

    def _objection(
        self, category: Category, text: str, config: Sequence[Category], earlier: Sequence[Category], violation: bool
    ) -> str | None:
        if _named(category, config):
            return "repeats a category of p"
        if _named(category, earlier):
            return "repeats an earlier proposal"
        if self._blocked and self._blocked.search(f"{category.name} {category.guideline}".replace("-", " ")):
            return "names a held-out family"
        found = classify(self._llm, text, category)
        if found is None:
            return "no verification that parses"
        return None if found is violation else "not verified"

    def _shown(self, category: Category | None, rng: Random) -> Category | None:
        if category is None or rng.random() < self._rate:
            return category
        return category.model_copy(update={"guideline": ""})


def _named(category: Category, among: Iterable[Category]) -> bool:
    return category.name.casefold() in {c.name.casefold() for c in among}


def classify(llm: LLM, text: str, category: Category) -> bool | None:
    """l(x⊙r; d): whether the last response of `text` violates `category`; None if no answer parses."""
    return llm.ask(CLASSIFY, parse_violation, conversation=text, categories=categories([category]))


def parse_proposal(data: dict[str, Any]) -> Proposal:
    """A `propose` answer; ValueError, KeyError or TypeError where it is malformed."""
    violated = data["violated"]
    return Proposal(None if violated is None else _category(violated), _category(data["respected"]))


def parse_violation(data: dict[str, Any]) -> bool:
    """A `classify` answer."""
    if not isinstance(data["violation"], bool):
        raise ValueError(f"`violation` must be true or false, got {data['violation']!r}")
    return data["violation"]


def _category(data: Any) -> Category:
    name, guideline = data["name"], data["guideline"]
    if not (isinstance(name, str) and name.strip() and isinstance(guideline, str)):
        raise ValueError(f"a category needs a name and a guideline, got {data!r}")
    if len(name.split()) > MAX_NAME or len(guideline.split()) > MAX_GUIDELINE:
        raise ValueError(f"name or guideline is too long: at most {MAX_NAME} and {MAX_GUIDELINE} words")
    name, guideline = " ".join(name.split()), " ".join(guideline.split())
    return Category(name=name, guideline=guideline, key=f"llm:{text_id(f'{name} {guideline}')}")
