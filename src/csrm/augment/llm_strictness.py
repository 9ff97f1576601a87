"""The LLM backend of Algorithm 1: proposer, sorter by repeated selection, rewriter and classifier."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from csrm.augment.catalogue import TaxonomyCategoryLike, as_category
from csrm.augment.held_out import HeldOut
from csrm.augment.llm import LLM
from csrm.augment.llm_proposer import classify
from csrm.augment.prompts import DESCRIBE, EXTEND, MOST_SEVERE, SUBCATEGORIES, categories, conversation
from csrm.augment.strictness import Rewrite, Subcategory
from csrm.configs.safety_config import Category
from csrm.files import text_id
from csrm.rows import Row


class LLMBackend:
    """Algorithm 1 as in the paper, every function a call of one language model (cached).

    An answer that never parses is handled so that nothing wrong enters training: no subcategory is added, the given
    order is kept, the guideline falls back to a plain listing, and a conversation counts as safe. Subcategories and
    guidelines that belong to a held-out family are rejected; such a guideline falls back to the listing too.
    """

    graded = False

    def __init__(self, category: TaxonomyCategoryLike, llm: LLM, held_out: HeldOut | None = None) -> None:
        self.notes: Counter[str] = Counter()
        self._category, self._llm, self._held_out = as_category(category), llm, held_out
        self._text = categories([self._category])

    def propose(self, pool: Sequence[Row]) -> list[Subcategory]:
        """See `Backend.propose`."""
        if not pool:
            return []
        return self._allowed(self._llm.ask(SUBCATEGORIES, parse_subcategories, categories=self._text) or [])

    def covers(self, row: Row, subcategory: Subcategory) -> bool:
        """See `Backend.covers`."""
        single = Category(name=subcategory.name, key=subcategory.key)
        return classify(self._llm, conversation(row.messages), single) is True

    def extend(self, row: Row, known: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.extend`."""
        text, names = conversation(row.messages), _listed(known)
        found = self._llm.ask(EXTEND, parse_subcategories, categories=self._text, known=names, conversation=text)
        return self._allowed(found or [])

    def sort(self, subcategories: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.sort`: the most severe remaining one is selected again and again."""
        left, ordered = list(subcategories), []
        while len(left) > 1:
            numbered = "\n".join(f"{i}. {s.name}" for i, s in enumerate(left, 1))

            def parse(data: dict[str, Any], size: int = len(left)) -> int:
                number = data["number"]
                if type(number) is not int or not 1 <= number <= size:
                    raise ValueError(f"`number` must be an integer from 1 to {size}, got {number!r}")
                return number

            number = self._llm.ask(MOST_SEVERE, parse, categories=self._text, known=numbered)
            ordered.append(left.pop((number or 1) - 1))
        return ordered + left

    def describe(self, disallowed: Sequence[Subcategory], allowed: Sequence[Subcategory]) -> Category:
        """See `Backend.describe`."""
        unsafe, safe = _listed(disallowed), _listed(allowed)
        written = self._llm.ask(DESCRIBE, parse_guideline, categories=self._text, disallowed=unsafe, allowed=safe)
        if written is None or self._rejects("guideline", written):
            names = [", ".join(s.name for s in side) for side in (disallowed, allowed)]
            guideline = f"Unsafe: {names[0]}. Allowed: {names[1]}."
        else:
            guideline = written
        key = f"{self._category.key}@{text_id(guideline, 8)}"
        return Category(name=self._category.name, guideline=guideline, key=key)

    def unsafe(self, row: Row, rewrite: Rewrite) -> bool:
        """See `Backend.unsafe`."""
        return classify(self._llm, conversation(row.messages), rewrite.category) is True

    def _allowed(self, names: Sequence[str]) -> list[Subcategory]:
        """Different subcategories, without those of held-out families."""
        found = {text_id(name): Subcategory(text_id(name), name) for name in names}
        return [s for s in found.values() if not self._rejects("subcategory", s.name)]

    def _rejects(self, what: str, text: str) -> bool:
        reason = self._held_out.objection(text) if self._held_out else None
        if reason:
            self.notes[f"{what} {reason}"] += 1
        return reason is not None


def parse_subcategories(data: dict[str, Any]) -> list[str]:
    """A `subcategories` or `extend` answer."""
    names = data["subcategories"]
    if not isinstance(names, list) or not all(isinstance(name, str) and _has_letter(name) for name in names):
        raise ValueError(f"`subcategories` must be a list of names, got {names!r}")
    return [" ".join(name.split()) for name in names]


def parse_guideline(data: dict[str, Any]) -> str:
    """A `describe` answer."""
    if not isinstance(data["guideline"], str) or not data["guideline"].strip():
        raise ValueError("`guideline` must be a sentence")
    return " ".join(data["guideline"].split())


def _has_letter(text: str) -> bool:
    """Small models repeat the dots of the prompt's form."""
    return any(map(str.isalpha, text))


def _listed(subcategories: Sequence[Subcategory]) -> str:
    return "\n".join(f"- {s.name}" for s in subcategories) or "(none)"
