"""The LLM backend of CCA's proposer: propose p+ and p-, then verify each with a second call (section 3.2)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice
from random import Random
from typing import Any

from csrm.augment.concurrency import ordered_map
from csrm.augment.held_out import HeldOut
from csrm.augment.llm import LLM
from csrm.augment.prompts import CLASSIFY, PROPOSE, categories, conversation
from csrm.augment.proposers import Case, Proposal
from csrm.configs.safety_config import Category
from csrm.files import text_id

MAX_NAME, MAX_GUIDELINE = 10, 40  # words


class LLMProposer:
    """Conversation-specific categories from a language model; the bank is not needed.

    A proposed category is rejected where the verifying call disagrees with it, where it repeats a category of p or an
    earlier proposal for the conversation, or where it belongs to a held-out family.

    Args:
        llm: the model that proposes and verifies.
        guideline_rate: probability that a category is shown with its guideline.
        held_out: the families that may not be proposed (None: there are none).
        workers: conversations that `prepare` asks about at once.
    """

    def __init__(self, llm: LLM, guideline_rate: float, held_out: HeldOut | None = None, workers: int = 1) -> None:
        self.notes: Counter[str] = Counter()
        self._llm, self._rate, self._held_out, self._workers = llm, guideline_rate, held_out, workers
        self._begun: dict[str, Iterator[tuple[Proposal, list[str]]]] = {}

    def prepare(self, cases: Sequence[Case], contrasts: int) -> None:
        """Ask about several conversations at once; alone, they are asked about one by one, when they are needed."""
        if self._workers == 1:
            return
        begun = ordered_map(lambda case: self._begin(case, contrasts), cases, self._workers)
        self._begun = {case.row.id: answers for case, answers in zip(cases, begun, strict=True)}

    def proposals(self, case: Case, rng: Random) -> Iterator[Proposal]:
        """See `Proposer.proposals`; each call shows the model what it proposed before, so that contrasts differ."""
        for found, notes in self._begun.pop(case.row.id, None) or self._answers(case):
            self.notes.update(notes)
            yield Proposal(self._shown(found.positive, rng), self._shown(found.negative, rng))

    def _begin(self, case: Case, contrasts: int) -> Iterator[tuple[Proposal, list[str]]]:
        answers = self._answers(case)
        return chain(list(islice(answers, contrasts)), answers)

    def _answers(self, case: Case) -> Iterator[tuple[Proposal, list[str]]]:
        """Checked proposals without chance, and what to count of each."""
        text, config, earlier = conversation(case.row.messages), case.config, list[Category]()
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
                yield Proposal(None, None), ["p+ no answer that parses", "p- no answer that parses"]
                continue
            notes: list[str] = []
            positive = self._checked("p+", found.positive, text, config, earlier, notes)
            negative = self._checked("p-", found.negative, text, config, earlier, notes)
            earlier += [c for c in found if c is not None]
            yield Proposal(positive, negative), notes

    def _checked(
        self,
        side: str,
        category: Category | None,
        text: str,
        config: Sequence[Category],
        earlier: Sequence[Category],
        notes: list[str],
    ) -> Category | None:
        if category is None:
            notes.append(f"{side} none")
            return None
        reason = self._objection(category, text, config, earlier, violation=side == "p+")
        notes += [f"{side} proposed", f"{side} rejected: {reason}" if reason else f"{side} accepted"]
        return None if reason else category

    def _objection(
        self, category: Category, text: str, config: Sequence[Category], earlier: Sequence[Category], violation: bool
    ) -> str | None:
        if _named(category, config):
            return "repeats a category of p"
        if _named(category, earlier):
            return "repeats an earlier proposal"
        if self._held_out and (reason := self._held_out.objection(category.name, category.guideline)):
            return reason
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
